"""Norms of trees, summed in float32 or better."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.core import numerics, xla
from adamx.core.checks import check_arrays
from adamx.core.rows import SparseRows


def squared_norm(x: chex.Array | SparseRows) -> chex.Array:
    """The sum of |x_i|**2 over one leaf; a float16 leaf does not overflow."""
    return xla.sum_of_squares([_summed(x)])


def _summed(x: Any) -> Any:
    """The values of sparse rows after summing up duplicates; anything else as it is."""
    return x.coalesce().values if isinstance(x, SparseRows) else x


def safe_sqrt(x: chex.Array) -> chex.Array:
    """The square root with derivative 0, not infinity, at 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), jnp.where(x == 0.0, 0.0, x))


def bounded(norm: chex.Array) -> chex.Array:
    """A norm of finite numbers may be infinite, and the ratio of two such no number: the largest
    float in its place."""
    return jnp.minimum(norm, jnp.finfo(norm.dtype).max)


def global_norm(updates: chex.ArrayTree) -> jax.Array:
    """The Euclidean norm of all floating and complex leaves together.

    sqrt(sum over leaves and elements of |x|**2), computed in at least float32.

    Args:
      updates: any pytree; integer, `None` and `float0` leaves do not count.  The duplicates of
        `SparseRows` are summed up first.

    Returns:
      A scalar; 0 for a tree without floating leaves.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.global_norm({"a": jnp.array([3.0]), "b": jnp.array(4.0)})
      Array(5., dtype=float32)
    """
    check_arrays("global_norm", "updates", updates)
    flat, _ = jax.tree_util.tree_flatten_with_path(
        updates, is_leaf=lambda x: isinstance(x, SparseRows)
    )
    leaves = [(path, _summed(leaf)) for path, leaf in flat if numerics.is_inexact(leaf)]
    squares = [xla.sum_of_squares(group) for group in xla.groups_alike(leaves)]
    if not squares:
        return jnp.zeros((), jnp.float32)
    norm: jax.Array = safe_sqrt(jnp.sum(jnp.stack(squares)))
    return norm
