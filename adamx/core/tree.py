"""Trees of parameters, gradients and states: their leaves, and functions of them.

`None` counts as a leaf everywhere: a `None` gradient is legal and leaves its parameter alone.  So
does `SparseRows`, in the place of a gradient of a table.  A function of leaves is given the dense
array (`map_leaves`) unless it is known to leave rows of zeros alone (`map_rows`).  What is refused
of a tree is in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef

from adamx.core import numerics
from adamx.core.rows import SparseRows

# The place of the only leaf, in errors.
WHOLE = "<the whole tree>"


def is_leaf(x: object) -> bool:
    """Whether something is a leaf besides arrays and numbers."""
    return x is None or isinstance(x, SparseRows)


def dense(x: Any) -> Any:
    """Sparse rows as the array they stand for; anything else as it is."""
    return x.to_dense() if isinstance(x, SparseRows) else x


def flatten(tree: chex.ArrayTree) -> tuple[list[Any], PyTreeDef]:
    """The leaves, `None` included, and the structure."""
    return jax.tree.flatten(tree, is_leaf=is_leaf)


def flatten_with_paths(tree: chex.ArrayTree) -> list[tuple[str, Any]]:
    """Pairs of a printable path such as `['layer']['w']` and a leaf."""
    with_paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    return [(jax.tree_util.keystr(path) or WHOLE, leaf) for path, leaf in with_paths]


def map_trained(f: Callable[..., Any], tree: chex.ArrayTree, *rest: chex.ArrayTree) -> Any:
    """`jax.tree.map` over the floating and complex leaves; the others are returned as they are."""

    def apply(x: Any, *xs: Any) -> Any:
        return f(x, *xs) if numerics.is_inexact(x) else x

    return jax.tree.map(apply, tree, *rest, is_leaf=is_leaf)


def map_leaves(f: Callable[..., Any], tree: chex.ArrayTree, *rest: chex.ArrayTree) -> Any:
    """As `map_trained`, with sparse rows made dense."""
    return map_trained(lambda *xs: f(*map(dense, xs)), tree, *rest)


def map_rows(
    f: Callable[..., Any], tree: chex.ArrayTree, *rest: chex.ArrayTree, linear: bool = False
) -> Any:
    """As `map_leaves`, for an `f` that works row by row and leaves rows of zeros alone.

    Sparse rows stay sparse: `f` gets their values, which are summed up first unless it is linear.
    """

    def apply(x: Any, *xs: Any) -> Any:
        if not isinstance(x, SparseRows):
            return f(x, *xs)
        rows = x if linear else x.coalesce()
        return rows.replace(values=f(rows.values, *xs))

    return map_trained(apply, tree, *rest)


def coalesced(tree: chex.ArrayTree) -> Any:
    """The tree with every row of sparse rows at most once."""
    return jax.tree.map(
        lambda x: x.coalesce() if isinstance(x, SparseRows) else x, tree, is_leaf=is_leaf
    )


def densified(tree: chex.ArrayTree) -> Any:
    """The tree with arrays in place of sparse rows."""
    return jax.tree.map(dense, tree, is_leaf=is_leaf)


def partition(tree: chex.ArrayTree, like: chex.ArrayTree) -> Any:
    """`tree` with `None` wherever the leaf of `like` is not floating or complex."""
    return jax.tree.map(
        lambda x, y: y if numerics.is_inexact(x) else None, like, tree, is_leaf=is_leaf
    )


def combine(tree: chex.ArrayTree, like: chex.ArrayTree) -> Any:
    """`tree` with the leaves of `like` wherever those are not floating or complex."""
    return jax.tree.map(
        lambda x, y: y if numerics.is_inexact(x) else x, like, tree, is_leaf=is_leaf
    )


def widened(tree: chex.ArrayTree) -> Any:
    """Leaves narrower than 32 bits as float32."""
    return map_trained(widen_leaf, tree)


def widen_leaf(x: Any) -> Any:
    """A floating array, or the values of sparse rows, in at least float32."""
    if isinstance(x, SparseRows):
        return x.replace(values=numerics.widen(x.values))
    return numerics.widen(jnp.asarray(x))


def rounded(updates: chex.ArrayTree, like: chex.ArrayTree, wider: chex.ArrayTree | None) -> Any:
    """Updates in the dtypes of `like`, or the wider of those and those of `wider`."""

    def cast(u: Any, x: Any, *others: Any) -> Any:
        return round_leaf(
            u, jnp.result_type(jax.dtypes.result_type(x), *map(jnp.result_type, others))
        )

    return map_trained(cast, updates, *((like,) if wider is None else (like, wider)))


def rounded_where_alike(updates: chex.ArrayTree, like: chex.ArrayTree) -> Any:
    """Updates in the dtypes of `like`, if they still have its structure."""
    alike = flatten(updates)[1] == flatten(like)[1]
    return rounded(updates, like, None) if alike else updates


def round_leaf(u: Any, dtype: np.dtype) -> Any:
    """An update in another dtype; sums of sparse rows are rounded once, as in the dense array."""
    if not isinstance(u, SparseRows):
        return jnp.asarray(u).astype(dtype)
    return u if u.dtype == dtype else u.coalesce().astype(dtype)


def with_dtypes_of(reference: chex.ArrayTree, updates: chex.ArrayTree) -> Any:
    """The updates rounded to the dtypes of `reference`; a leaf that it does not have stays."""

    def cast(u: Any, x: Any) -> Any:
        return round_leaf(u, jax.dtypes.result_type(x)) if numerics.is_inexact(x) else u

    return map_trained(cast, updates, reference)


def unshared(tree: chex.ArrayTree, other: chex.ArrayTree) -> Any:
    """`tree` with copies of the arrays that it shares with `other`, which may be donated."""
    theirs = {id(leaf) for leaf in jax.tree.leaves(other)}

    def own(x: Any) -> Any:
        is_array = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
        return jnp.array(x, copy=True) if is_array and id(x) in theirs else x

    return jax.tree.map(own, tree)
