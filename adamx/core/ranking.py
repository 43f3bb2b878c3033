"""The distinct ids of a batch, and the place of each among them, as suits the platform.

XLA:CPU sorts one array several times faster than two together, and a binary search costs it little.
A GPU waits for every round of a search that is a loop (13 to 18 launches, whatever the number of
ids), and sorts two arrays as readily as one.  So on CPU ids are sorted alone and then looked up,
and elsewhere they are sorted together with their places.  Microseconds on an H100:

    ids                    8,192   65,536   262,144
    sorted, looked up        366      379       395
    sorted with places        57      111       247
"""

from __future__ import annotations

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.core import compat
from adamx.core.indexing import like_ids, replicated


def distinct(ids: chex.Array, num_rows: int) -> chex.Array:
    """The different ones among `positions`, in order; place i, if it is left, has `num_rows + i`.

    There are as many places as ids, but at most `num_rows`.
    """
    unique, _ = _distinct_sorted(jnp.sort(replicated(ids), stable=False), num_rows)
    return unique


def rank(ids: chex.Array, num_rows: int) -> tuple[chex.Array, chex.Array]:
    """The `distinct` ones among `positions`, and the place of each id among them.

    The place of an id past the end is the number of places, which is past theirs.
    """
    unique, place = jax.lax.platform_dependent(
        replicated(ids),
        cpu=partial(sort_and_look_up, num_rows=num_rows),
        default=partial(sort_with_places, num_rows=num_rows),
    )
    return unique, like_ids(place, ids)


def sort_and_look_up(ids: chex.Array, *, num_rows: int) -> tuple[chex.Array, chex.Array]:
    """`rank` as suits a CPU."""
    unique = distinct(ids, num_rows)
    return unique, jnp.where(ids < num_rows, compat.searchsorted(unique, ids), len(unique))


def sort_with_places(ids: chex.Array, *, num_rows: int) -> tuple[chex.Array, chex.Array]:
    """`rank` without a loop."""
    places = jnp.arange(len(ids), dtype=jnp.int32)
    ordered, came_from = jax.lax.sort((ids, places), num_keys=1, is_stable=False)
    unique, ranks = _distinct_sorted(ordered, num_rows)
    return unique, jnp.zeros_like(ids).at[came_from].set(ranks, unique_indices=True)


def _distinct_sorted(ordered: chex.Array, num_rows: int) -> tuple[chex.Array, chex.Array]:
    """The `distinct` ones of sorted ids, and the place of each."""
    size = min(len(ordered), num_rows)
    is_first = jnp.concatenate([ordered[:1] >= 0, ordered[1:] != ordered[:-1]])
    ranks = jnp.where(ordered < num_rows, jnp.cumsum(is_first, dtype=jnp.int32) - 1, size)
    unused = num_rows + jnp.arange(size, dtype=jnp.int32)
    return unused.at[ranks].set(ordered, mode="drop"), ranks


def find(ordered: chex.Array, ids: chex.Array) -> chex.Array:
    """The place of each id among ordered ones, or that of the next larger one.

    Off the CPU the search is unrolled, as `jax.numpy.searchsorted` advises for GPU.
    """
    search: Any = compat.searchsorted
    place: chex.Array = jax.lax.platform_dependent(
        ordered, replicated(ids), cpu=search, default=partial(search, method="scan_unrolled")
    )
    return like_ids(place, ids)
