"""Norms of trees whose leaves may be shards of larger arrays: `shard_map`, `pmap`, `vmap`."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.core import numerics
from adamx.core.compat import varying_axes
from adamx.core.fields import AxisName
from adamx.core.norms import global_norm, safe_sqrt
from adamx.core.rows import SparseRows
from adamx.core.tree import flatten, is_leaf
from adamx.transforms.named_axes import names_of, tracked


class Shards:
    """Sums over the shards of a leaf, one shard per index of the named mapped axes.

    Where `shard_map` tracks which values differ between devices, a replicated leaf counts once;
    where nothing is tracked, every leaf counts as a shard.
    """

    def __init__(self, axis_name: AxisName) -> None:
        self._names = names_of(axis_name)
        self._tracked = tracked(axis_name)

    def _axes(self, leaf: Any) -> tuple[str, ...]:
        x = leaf.values if isinstance(leaf, SparseRows) else leaf
        return tuple(n for n in self._names if n not in self._tracked or n in varying_axes(x))

    def number(self, leaf: Any) -> int:
        """How many shards there are of the array of which `leaf` is one."""
        axes = self._axes(leaf)
        return int(jax.lax.axis_size(axes)) if axes else 1

    def total(self, x: chex.Array, leaf: Any) -> chex.Array:
        """The sum of `x`, which was computed from the shard `leaf`, over all shards."""
        axes = self._axes(leaf)
        summed: chex.Array = jax.lax.psum(x, axes) if axes else x
        return summed

    def global_norm(self, tree: chex.ArrayTree) -> chex.Array:
        """The Euclidean norm of all leaves, all shards of each included."""
        if not self._names:
            return global_norm(tree)
        leaves = [x for x in flatten(tree)[0] if numerics.is_inexact(x)]
        # Leaves that are sharded alike keep their places, as `global_norm` reads the paths.
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
