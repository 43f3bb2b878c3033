"""Norms of trees whose leaves may be pieces of larger arrays: `shard_map`, `pmap`, `vmap`."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.core import numerics
from adamx.core.fields import AxisName
from adamx.core.norms import global_norm, safe_sqrt
from adamx.core.rows import SparseRows
from adamx.core.tree import flatten, is_leaf


def _varying(x: Any) -> frozenset[str]:
    """The mapped axes over which JAX knows that `x` differs."""
    kind: Any = jax.typeof(x)
    # Older versions of JAX call it `vma`.
    tracked = kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma
    return frozenset(tracked)


class Pieces:
    """Sums over the pieces of a leaf, one piece per index of the named mapped axes.

    `shard_map` tracks which values differ between devices, so a replicated leaf counts once.
    Where nothing is tracked (`pmap`, `vmap`, `shard_map(..., check_vma=False)`) every leaf counts
    as a piece.
    """

    def __init__(self, axis_name: AxisName) -> None:
        self._names = (axis_name,) if isinstance(axis_name, str) else tuple(axis_name or ())
        self._tracked = {name for name in self._names if name in _index_varies_over(name)}

    def _axes(self, leaf: Any) -> tuple[str, ...]:
        x = leaf.values if isinstance(leaf, SparseRows) else leaf
        return tuple(n for n in self._names if n not in self._tracked or n in _varying(x))

    def number(self, leaf: Any) -> int:
        """How many pieces the whole of `leaf` has."""
        axes = self._axes(leaf)
        return int(jax.lax.axis_size(axes)) if axes else 1

    def total(self, x: chex.Array, leaf: Any) -> chex.Array:
        """The sum of `x`, which was computed from the piece `leaf`, over all pieces."""
        axes = self._axes(leaf)
        summed: chex.Array = jax.lax.psum(x, axes) if axes else x
        return summed

    def global_norm(self, tree: chex.ArrayTree) -> chex.Array:
        """The Euclidean norm of all leaves, each made whole."""
        if not self._names:
            return global_norm(tree)
        leaves = [x for x in flatten(tree)[0] if numerics.is_inexact(x)]
        # Leaves that are cut alike keep their places in the tree: `global_norm` reads the paths.
        squares = [jnp.zeros((), jnp.float32)]
        for axes in sorted({self._axes(x) for x in leaves}):
            alike = jax.tree.map(
                lambda x, axes=axes: (
                    x if numerics.is_inexact(x) and self._axes(x) == axes else None
                ),
                tree,
                is_leaf=is_leaf,
            )
            square = jnp.square(global_norm(alike))
            squares.append(jax.lax.psum(square, axes) if axes else square)
        return safe_sqrt(sum(squares[1:], start=squares[0]))


def _index_varies_over(name: str) -> frozenset[str]:
    """The position along an axis differs along it, so this is empty where nothing is tracked."""
    try:
        return _varying(jax.lax.axis_index(name))
    except NameError:
        raise ValueError(
            f"axis_name={name!r} names no axis here: use it inside a `shard_map`, `pmap` or `vmap` "
            "over that axis (under `jit` with shardings nothing needs to be said)"
        ) from None
