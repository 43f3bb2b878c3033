"""Norms of trees, summed in float32 or better."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from adamx.core import numerics
from adamx.core.rows import SparseRows

# XLA:CPU materialises the squares of a reduction over fewer elements than this.
_FUSED_REDUCTION = 4096
# How many leaves one loop reads at once.
_AT_ONCE = 24
# XLA:CPU sums a leaf of this many elements faster alone, at the price of 64 bytes for its sum: so
# this is done unless there are many of a kind.
_LARGE, _FEW = 2**18, 8


def squared_norm(x: chex.Array | SparseRows) -> chex.Array:
    """The sum of |x_i|**2 over one leaf; a float16 leaf does not overflow."""
    return _sum_of_squares([_summed(x)])


def _summed(x: Any) -> Any:
    """The values of sparse rows after summing up duplicates; anything else as it is."""
    return x.coalesce().values if isinstance(x, SparseRows) else x


def _sum_of_squares(leaves: list[Any]) -> chex.Array:
    """The sum over leaves of one shape, added up elementwise before they are summed."""
    wide = [numerics.widen(jnp.asarray(x)) for x in leaves]
    if wide[0].size > 1 and _is_small_and_whole(wide[0]):
        wide = [jnp.pad(x.ravel(), (0, _FUSED_REDUCTION - x.size)) for x in wide]
    squares = [numerics.squared_magnitude(x) for x in wide]
    return jnp.sum(sum(squares[1:], start=squares[0]))


def _is_small_and_whole(x: Any) -> bool:
    """Whether one device has all of a leaf that is smaller than a loop is worth."""
    mesh = jax.typeof(x).sharding.mesh
    whole = mesh.empty or all(kind == AxisType.Manual for kind in mesh.axis_types)
    return bool(jnp.size(x) < _FUSED_REDUCTION and whole)


def _alike(tree: chex.ArrayTree) -> Iterator[list[Any]]:
    """The floating leaves in groups of one shape that are surely placed alike.

    Small leaves of one device go by shape alone.  Others must also have the same names on their
    path, so that they are the same weight of several layers: adding leaves that are sharded
    differently would make XLA move one of them.
    """
    groups = defaultdict(list)
    flat, _ = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda x: isinstance(x, SparseRows)
    )
    for path, leaf in flat:
        if numerics.is_inexact(leaf):
            x = _summed(leaf)
            name = "" if _is_small_and_whole(x) else re.sub(r"\d+", "", jax.tree_util.keystr(path))
            groups[jax.typeof(x), getattr(x, "sharding", None), name].append(x)
    for group in groups.values():
        most = 1 if jnp.size(group[0]) >= _LARGE and len(group) <= _FEW else _AT_ONCE
        yield from (group[i : i + most] for i in range(0, len(group), most))


def safe_sqrt(x: chex.Array) -> chex.Array:
    """The square root with derivative 0, not infinity, at 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), jnp.where(x == 0.0, 0.0, x))


def global_norm(tree: chex.ArrayTree) -> chex.Array:
    """The Euclidean norm of all floating and complex leaves together.

    sqrt(sum over leaves and elements of |x|**2), computed in at least float32.

    Args:
      tree: any pytree; integer, `None` and `float0` leaves do not count.  The duplicates of
        `SparseRows` are summed up first.

    Returns:
      A scalar; 0 for a tree without floating leaves.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.global_norm({"a": jnp.array([3.0]), "b": jnp.array(4.0)})
      Array(5., dtype=float32)
    """
    squares = [_sum_of_squares(group) for group in _alike(tree)]
    if not squares:
        return jnp.zeros((), jnp.float32)
    # The barrier keeps XLA from repeating these additions inside every loop that reads the norm.
    return jax.lax.optimization_barrier(safe_sqrt(jnp.sum(jnp.stack(squares))))
