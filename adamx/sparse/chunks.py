"""Changing the rows of a table that a gradient touches, in place.

A gradient has as many places as a batch has ids, and often few are needed: of 65,536 tokens about
14,000 are distinct.  How many is not known to the compiler.  So on CPU the rows, of which the
needed ones are in front, are worked through in chunks, and those in which none is needed are passed
over; also, what is computed for a chunk stays in the cache.  On GPU and TPU, where many small steps
take longer than one large, all are computed at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import compat, numerics
from adamx.core.indexing import gather, scatter
from adamx.core.rows import SparseRows
from adamx.transforms.named_axes import vary_like

# Elements of one array in a chunk: 512 kB of float32, of which a core's cache holds a few.
_CHUNK = 2**17
# As the number of a row: none of any table, and none that is counted from its end.
_NOWHERE = int(np.iinfo(np.int32).min)

Gradient: TypeAlias = chex.Array | SparseRows
# Arrays with one entry for each row of a table, as a pytree; and what stands for a row past the
# end of each, as a pytree of numbers of the same structure.
RowArrays: TypeAlias = Any
# From the numbers of rows (None for all), rows of the gradient and of the table in at least
# float32, and rows of its arrays as they are stored: what to add to the rows of the table, and the
# new rows of its arrays.
Move: TypeAlias = Callable[
    [chex.Array | None, chex.Array, chex.Array, RowArrays], tuple[chex.Array, RowArrays]
]


def take(x: chex.Array, ids: chex.Array, fill: float) -> chex.Array:
    """Rows of `x`; `fill` for ids past its end.  Ids are distinct and sorted."""
    return gather(x, ids, fill, indices_are_sorted=True, unique_indices=True)


def put(x: chex.Array, ids: chex.Array, rows: chex.Array) -> chex.Array:
    """`x` with some rows replaced; ids past its end are dropped.  Ids are distinct and sorted."""
    return scatter(x, ids, rows, indices_are_sorted=True, unique_indices=True)


def _move(
    move: Move, fills: Any, ids: chex.Array, g: chex.Array, table: chex.Array, arrays: RowArrays
) -> tuple[chex.Array, RowArrays]:
    """`move` of the rows with these ids."""
    old = jax.tree.map(lambda x, fill: take(x, ids, fill), arrays, fills)
    return move(ids, g, numerics.widen(take(table, ids, 0)), old)


def _store(ids: chex.Array, rows: RowArrays, arrays: RowArrays) -> RowArrays:
    return jax.tree.map(lambda x, changed: put(x, ids, changed), arrays, rows)


def _move_chunks(
    move: Move, fills: Any, size: int, gradient: SparseRows, table: chex.Array, arrays: RowArrays
) -> tuple[chex.Array, RowArrays]:
    """The same in chunks of `size` rows, without those in which none is needed."""
    ids, n = gradient.indices, len(gradient.indices)

    def change_chunk(i: int, carry: tuple[chex.Array, RowArrays]) -> tuple[chex.Array, RowArrays]:
        g, arrays = carry
        begin = i * size
        # The last chunk begins earlier, so as to end with the rows; what is done is left out.
        start = jnp.minimum(begin, n - size)
        within = jnp.arange(size, dtype=jnp.int32)
        is_new = start + within >= begin
        places = jnp.where(is_new, start + within, _NOWHERE + within)
        rows = jnp.where(is_new, jax.lax.dynamic_slice_in_dim(ids, start, size), places)

        def needed() -> tuple[chex.Array, RowArrays]:
            return _move(move, fills, rows, take(g, places, 0), table, arrays)

        def not_needed() -> Any:
            return jax.tree.map(lambda x: compat.full_like(x, 0), compat.eval_shape(needed))

        change, moved = jax.lax.cond(ids[begin] < gradient.num_rows, needed, not_needed)
        # The change of a row takes the place of its gradient; it is 0 where that is not needed.
        return put(g, places, change), _store(rows, moved, arrays)

    carry = (gradient.values, arrays)
    carry = vary_like(carry, compat.eval_shape(partial(change_chunk, 0), carry))
    changed: tuple[chex.Array, RowArrays] = jax.lax.fori_loop(0, -(-n // size), change_chunk, carry)
    return changed


def move_rows(
    move: Move, gradient: Gradient, table: chex.Array, arrays: RowArrays, fills: Any
) -> tuple[Gradient, RowArrays]:
    """The change of the table, and its new arrays, in place if both may be overwritten.

    A gradient that is an array moves all rows; `SparseRows` have to be coalesced.
    """
    wide = numerics.widen(gradient.values if isinstance(gradient, SparseRows) else gradient)
    if not isinstance(gradient, SparseRows):
        change, new = move(None, wide, numerics.widen(table), arrays)
        return change, jax.tree.map(
            lambda x, old: x.astype(jax.dtypes.result_type(old)), new, arrays
        )

    # Changes take the place of gradients.
    wide = wide.astype(jnp.promote_types(wide.dtype, numerics.widen(table).dtype))
    given = gradient.replace(values=wide)

    def at_once(
        given: SparseRows, table: chex.Array, arrays: RowArrays
    ) -> tuple[chex.Array, RowArrays]:
        change, rows = _move(move, fills, given.indices, given.values, table, arrays)
        return change, _store(given.indices, rows, arrays)

    size = max(_CHUNK // math.prod(wide.shape[1:], start=1), 1) if wide.size else len(wide)
    # Outside of `jit` every call would compile the loop anew.
    if size >= len(wide) or not isinstance(wide, jax.core.Tracer):
        change, arrays = at_once(given, table, arrays)
    else:
        in_chunks = partial(_move_chunks, move, fills, size)
        change, arrays = jax.lax.platform_dependent(
            given, table, arrays, cpu=in_chunks, default=at_once
        )
    return gradient.replace(values=change), arrays
