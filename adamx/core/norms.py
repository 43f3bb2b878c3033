"""Norms of trees, summed in float32 or better."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from adamx.core import numerics


def squared_norm(x: chex.Array) -> chex.Array:
    """The sum of |x_i|**2 over one leaf; a float16 leaf does not overflow."""
    return jnp.sum(numerics.squared_magnitude(numerics.widen(jnp.asarray(x))))


def safe_sqrt(x: chex.Array) -> chex.Array:
    """The square root with derivative 0, not infinity, at 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), jnp.where(x == 0.0, 0.0, x))


def global_norm(tree: chex.ArrayTree) -> chex.Array:
    """The Euclidean norm of all floating and complex leaves together.

    sqrt(sum over leaves and elements of |x|**2), computed in at least float32.

    Args:
      tree: any pytree; integer, `None` and `float0` leaves do not count.

    Returns:
      A scalar; 0 for a tree without floating leaves.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.global_norm({"a": jnp.array([3.0]), "b": jnp.array(4.0)})
      Array(5., dtype=float32)
    """
    squares = [squared_norm(x) for x in jax.tree.leaves(tree) if numerics.is_inexact(x)]
    return safe_sqrt(sum(squares, start=jnp.zeros((), jnp.float32)))
