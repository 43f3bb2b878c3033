"""Changing the rows of a table that a gradient touches, in place.

A gradient has as many places as a batch has ids, and often few are needed: of 65,536 tokens about
14,000 are distinct.  How many is not known to the compiler.  So on CPU the rows, of which the
needed ones are in front, are worked through in pieces, and those in which none is needed are passed
over; also, what is computed for a piece stays in the cache.  On GPU and TPU, where many small steps
take longer than one large, all are computed at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics
from adamx.core.indexing import gather, scatter
from adamx.core.rows import SparseRows
from adamx.transforms.mapped_axes import vary_like

# Elements of one array in a piece: 512 kB of float32, of which a core's cache holds a few.
_PIECE = 2**17
# As the number of a row: none of any table, and none that is counted from its end.
_NOWHERE = int(np.iinfo(np.int32).min)


class LeafState(NamedTuple):
    """What is remembered about one table."""

    mu: chex.Array  # first moment, like the table
    nu: chex.Array  # second moment, like the table but real; shape (num_rows,) in mode `rowwise`
    memory: Any = None


Gradient: TypeAlias = chex.Array | SparseRows

# From rows of the gradient, of the table and of its state, all in at least float32: what to add to
# the rows of the table, and the rows of the new state.
Move: TypeAlias = Callable[[chex.Array, chex.Array, LeafState], tuple[chex.Array, LeafState]]


def take(x: chex.Array, ids: chex.Array, fill: float) -> chex.Array:
    """Rows of `x`, at least float32; `fill` for ids past its end.  Ids are distinct and sorted."""
    return numerics.widen(gather(x, ids, fill, indices_are_sorted=True, unique_indices=True))


def put(x: chex.Array, ids: chex.Array, rows: chex.Array) -> chex.Array:
    """`x` with some rows replaced; ids past its end are dropped.  Ids are distinct and sorted."""
    return scatter(x, ids, rows, indices_are_sorted=True, unique_indices=True)


def _move(
    move: Move, ids: chex.Array, g: chex.Array, table: chex.Array, state: LeafState
) -> tuple[chex.Array, LeafState]:
    """`move` of the rows with these ids, at least float32."""
    # A row past the end has nu = 1, so that its step is 0 also without epsilon.
    old = jax.tree.map(lambda x: take(x, ids, 1), state._replace(mu=None))
    return move(g, take(table, ids, 0), old._replace(mu=take(state.mu, ids, 0)))


def _store(ids: chex.Array, rows: LeafState, state: LeafState) -> LeafState:
    after: LeafState = jax.tree.map(lambda x, changed: put(x, ids, changed), state, rows)
    return after


def _move_pieces(
    move: Move, size: int, gradient: SparseRows, table: chex.Array, state: LeafState
) -> tuple[chex.Array, LeafState]:
    """The same in pieces of `size` rows, without those in which none is needed."""
    ids, n = gradient.indices, len(gradient.indices)

    def change_piece(i: int, carry: tuple[chex.Array, LeafState]) -> tuple[chex.Array, LeafState]:
        g, state = carry
        begin = i * size
        # The last piece begins earlier, so as to end with the rows; what is done is left out.
        start = jnp.minimum(begin, n - size)
        within = jnp.arange(size, dtype=jnp.int32)
        is_new = start + within >= begin
        places = jnp.where(is_new, start + within, _NOWHERE + within)
        rows = jnp.where(is_new, jax.lax.dynamic_slice_in_dim(ids, start, size), places)

        def needed() -> tuple[chex.Array, LeafState]:
            return _move(move, rows, take(g, places, 0), table, state)

        def not_needed() -> Any:
            return jax.tree.map(jnp.zeros_like, jax.eval_shape(needed))

        change, moved = jax.lax.cond(ids[begin] < gradient.num_rows, needed, not_needed)
        # The change of a row takes the place of its gradient; it is 0 where that is not needed.
        return put(g, places, change), _store(rows, moved, state)

    carry = (gradient.values, state)
    carry = vary_like(carry, jax.eval_shape(partial(change_piece, 0), carry))
    changed: tuple[chex.Array, LeafState] = jax.lax.fori_loop(0, -(-n // size), change_piece, carry)
    return changed


def move_rows(
    move: Move, gradient: Gradient, table: chex.Array, state: LeafState
) -> tuple[Gradient, LeafState]:
    """What to add to the table, and its new state, in place if both may be overwritten.

    A gradient that is an array moves all rows; `SparseRows` have to be coalesced.
    """
    wide = numerics.widen(gradient.values if isinstance(gradient, SparseRows) else gradient)
    if not isinstance(gradient, SparseRows):
        change, new = move(wide, *jax.tree.map(numerics.widen, (table, state)))
        return change, jax.tree.map(lambda x, old: x.astype(old.dtype), new, state)

    # Changes take the place of gradients.
    wide = wide.astype(jnp.promote_types(wide.dtype, numerics.widen(table).dtype))
    given = gradient.replace(values=wide)

    def at_once(
        given: SparseRows, table: chex.Array, state: LeafState
    ) -> tuple[chex.Array, LeafState]:
        change, rows = _move(move, given.indices, given.values, table, state)
        return change, _store(given.indices, rows, state)

    size = max(_PIECE // math.prod(wide.shape[1:], start=1), 1) if wide.size else len(wide)
    # Outside of `jit` every call would compile the loop anew.
    if size >= len(wide) or not isinstance(wide, jax.core.Tracer):
        change, state = at_once(given, table, state)
    else:
        in_pieces = partial(_move_pieces, move, size)
        change, state = jax.lax.platform_dependent(
            given, table, state, cpu=in_pieces, default=at_once
        )
    return gradient.replace(values=change), state
