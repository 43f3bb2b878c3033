"""A network of three dense layers, as pure functions of its parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Layer: TypeAlias = dict[str, jax.Array]  # "w": float32[inputs, outputs], "b": float32[outputs]
Params: TypeAlias = list[Layer]


def init(rng: np.random.Generator, sizes: Sequence[int]) -> Params:
    """Normal weights of variance 2 / inputs (He et al. 2015, equation 10), and zero biases.

    Args:
      rng: drawn from on the host: the same numbers on every device, and nothing to compile.
      sizes: the widths of the layers, that of the input first.
    """

    def weights(inputs: int, outputs: int) -> jax.Array:
        normal = rng.standard_normal((inputs, outputs), dtype=np.float32)
        return jnp.asarray(normal * np.float32(math.sqrt(2.0 / inputs)))

    return [
        {"w": weights(inputs, outputs), "b": jnp.zeros(outputs)}
        for inputs, outputs in itertools.pairwise(sizes)
    ]


def logits(params: Params, images: jax.Array) -> jax.Array:
    """float32[batch, pixels] -> float32[batch, classes]."""
    *hidden, last = params
    x = images
    for layer in hidden:
        x = jax.nn.gelu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy in nats, the mean over the batch; labels are int32[batch]."""
    log_probabilities = jax.nn.log_softmax(logits(params, images))
    return -jnp.mean(jnp.take_along_axis(log_probabilities, labels[:, None], axis=1))


def correct(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    """How many images are read correctly."""
    return jnp.sum(jnp.argmax(logits(params, images), axis=1) == labels)
