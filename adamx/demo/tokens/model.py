"""A network that guesses the next token from the embeddings of the last few."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adamx import sparse
from adamx.demo.tokens.corpus import RARE

CONTEXT = 8
WIDTH = 128
HIDDEN = 128
# The network tells only the most frequent tokens apart; all others count as one.
OUTPUTS = 1024


def init(rng: np.random.Generator, vocabulary: int) -> dict[str, Any]:
    """Normal weights, and zero biases; drawn on the host, the same on every device."""

    def normal(std: float, *shape: int) -> jax.Array:
        return jnp.asarray(std * rng.standard_normal(shape, np.float32), jnp.float32)

    inputs = CONTEXT * WIDTH
    return {
        "embed": normal(0.1, vocabulary, WIDTH),
        "hidden": {"w": normal(math.sqrt(1.0 / inputs), inputs, HIDDEN), "b": jnp.zeros(HIDDEN)},
        "output": {"w": normal(math.sqrt(1.0 / HIDDEN), HIDDEN, OUTPUTS), "b": jnp.zeros(OUTPUTS)},
    }


def loss(params: Any, contexts: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy in nats, the mean over the batch.

    Args:
      params: of `init`; the table may also be the rows that `sparse.value_and_grad` has read.
      contexts: int32[batch, CONTEXT], the tokens before.
      targets: int32[batch], the tokens to be guessed.
    """
    read = sparse.lookup(params["embed"], contexts)
    x = read.reshape(len(contexts), -1)
    # Smooth: a kink would turn differences in rounding into different curves.
    x = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    logits = x @ params["output"]["w"] + params["output"]["b"]
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    told_apart = jnp.where(targets < OUTPUTS, targets, RARE)
    return -jnp.mean(jnp.take_along_axis(log_probabilities, told_apart[:, None], axis=1))


def read_rows(contexts: jax.Array, targets: jax.Array) -> jax.Array:
    """Which rows of the table the loss of a batch reads."""
    return contexts


def windows(tokens: jax.Array, places: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The tokens before each of some places, at least `CONTEXT`, and the token at it."""
    before = places[:, None] - CONTEXT + jnp.arange(CONTEXT)
    return tokens[before], tokens[places]
