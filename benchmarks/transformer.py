"""A small decoder-only transformer in plain JAX, for a whole training step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Sizes(NamedTuple):
    """Of the model and its batch."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    length: int
    batch: int

    def parameters(self) -> Any:
        """Shapes of the leaves."""
        d = self.width
        layer = {
            "norm_1": (d,),
            "qkv": (d, 3 * d),
            "out": (d, d),
            "norm_2": (d,),
            "up": (d, 4 * d),
            "down": (4 * d, d),
        }
        shapes = {
            "tokens": (self.vocabulary, d),
            "positions": (self.length, d),
            "layers": [layer] * self.layers,
            "norm": (d,),
        }
        return jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, jnp.dtype("float32")),
            shapes,
            is_leaf=lambda x: isinstance(x, tuple),
        )

    def tokens(self, seed: int) -> jax.Array:
        """A batch of random tokens, one longer than what is predicted."""
        shape = (self.batch, self.length + 1)
        random = np.random.default_rng(seed)
        return jnp.asarray(random.integers(0, self.vocabulary, shape, np.int32))


def _normalise(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x * scale * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


def _attend(x: jax.Array, layer: Any, heads: int) -> jax.Array:
    batch, length, width = x.shape
    qkv = (x @ layer["qkv"]).reshape(batch, length, 3, heads, width // heads)
    q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    attended: jax.Array = mixed.reshape(batch, length, width) @ layer["out"]
    return attended


def loss(params: Any, tokens: jax.Array, heads: int) -> jax.Array:
    """The mean cross-entropy of the next token."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    x = params["tokens"][inputs] + params["positions"]
    for layer in params["layers"]:
        x = x + _attend(_normalise(x, layer["norm_1"]), layer, heads)
        hidden = jax.nn.gelu(_normalise(x, layer["norm_2"]) @ layer["up"])
        x = x + hidden @ layer["down"]
    logits = _normalise(x, params["norm"]) @ params["tokens"].T
    log_probabilities = jax.nn.log_softmax(logits)
    right: jax.Array = jnp.take_along_axis(log_probabilities, targets[..., None], axis=-1)
    return -jnp.mean(right)
