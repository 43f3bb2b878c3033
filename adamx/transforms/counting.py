"""Counting elements without storing which ones they are."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np


def count_both(first: chex.Array, second: chex.Array) -> tuple[chex.Array, chex.Array]:
    """How many elements of two boolean arrays of one shape are True, as float32 scalars.

    Both are counted in one loop that reads what they were computed from.  XLA:CPU would first
    write a comparison out, as large as the gradient, if only one of them were summed.
    """
    if first.size > np.iinfo(np.int32).max:
        return jnp.sum(first, dtype=jnp.float32), jnp.sum(second, dtype=jnp.float32)
    zero = jnp.zeros((), jnp.int32)
    a, b = jax.lax.reduce(
        (first.astype(jnp.int32), second.astype(jnp.int32)),
        (zero, zero),
        lambda x, y: (x[0] + y[0], x[1] + y[1]),
        tuple(range(first.ndim)),
    )
    return a.astype(jnp.float32), b.astype(jnp.float32)
