"""Numbers of rows, and reading and writing the rows of an array wherever its shards lie.

A number past the end stands for no row: it is read as a constant, and what is written there is
dropped.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from adamx.core import compat


def positions(ids: chex.Array, num_rows: int) -> chex.Array:
    """Integers of any dtype as int32, with `num_rows` in place of those outside of a table."""
    if ids.dtype.itemsize < 4:
        ids = ids.astype(jnp.int32)
    inside = (ids >= 0) & (ids < num_rows)
    return jnp.where(inside, ids, num_rows).astype(jnp.int32)


def replicated(ids: chex.Array) -> chex.Array:
    """The same ids on all devices, where the type says that each has some of them."""
    own = _sharded(ids, slice(None))
    everywhere: chex.Array = ids if own is None else compat.reshard(ids, PartitionSpec())
    return everywhere


def like_ids(places: chex.Array, ids: chex.Array) -> chex.Array:
    """The result computed `replicated` of ids, back where these ids are."""
    own = _sharded(ids, slice(None))
    return places if own is None else compat.reshard(places, own.spec)


def sharded_like(x: chex.Array, like: chex.Array) -> chex.Array:
    """`x` sharded as `like` is, where shardings are part of the type."""
    own, wanted = (jax.typeof(y).sharding for y in (x, like))
    if own.spec == wanted.spec or wanted.mesh.empty:
        return x
    moved: chex.Array = compat.reshard(x, wanted)
    return moved


def zero_rows(like: chex.Array, n: int) -> chex.Array:
    """Zeros in the place of `n` rows, whose columns lie where those of `like` do."""
    sharding: Any = jax.typeof(like).sharding
    columns = PartitionSpec(None, *sharding.spec[1:])
    shape = (n, *like.shape[1:])
    if _sharded(like, slice(1, None)) is None:
        return compat.full_like(like, 0, shape=shape)
    return compat.zeros_at(like, shape, NamedSharding(sharding.mesh, columns))


def gather(table: chex.Array, ids: chex.Array, fill: float = 0, **facts: bool) -> chex.Array:
    """Rows of a table; `fill` for ids past its end.  `facts` about the ids are those of `.at`."""
    table = jnp.asarray(table)
    placed = compat.out_sharding(_where_read(table, ids))
    return table.at[ids].get(mode="fill", fill_value=fill, **placed, **facts)


def scatter(table: chex.Array, ids: chex.Array, rows: chex.Array, **facts: bool) -> chex.Array:
    """The table with some rows replaced; ids past its end are dropped."""
    table = jnp.asarray(table)
    placed = compat.out_sharding(_sharded(table))
    return table.at[ids].set(rows.astype(table.dtype), mode="drop", **placed, **facts)


def scatter_add(table: chex.Array, ids: chex.Array, rows: chex.Array, **facts: bool) -> chex.Array:
    """The table with something added to some rows; ids past its end are dropped."""
    table = jnp.asarray(table)
    placed = compat.out_sharding(_sharded(table))
    return table.at[ids].add(rows.astype(table.dtype), mode="drop", **placed, **facts)


def _sharded(x: chex.Array, axes: slice = slice(0, 1)) -> NamedSharding | None:
    """The sharding of what is sharded in these dimensions, where shardings are part of the type."""
    sharding: Any = jax.typeof(x).sharding
    is_sharded = any(axis is not None for axis in sharding.spec[axes])
    return sharding if is_sharded else None


def _where_read(table: chex.Array, ids: chex.Array) -> NamedSharding | None:
    """Where rows go that are read: where their ids are.  JAX asks if either is sharded."""
    one = _sharded(table) or _sharded(ids, slice(None))
    if one is None:
        return None
    specs: list[Any] = [jax.typeof(x).sharding.spec for x in (ids, table)]
    return NamedSharding(one.mesh, PartitionSpec(*specs[0], *specs[1][1:]))


def beside(scalar: chex.Array, x: chex.Array) -> chex.Array:
    """One number a row, in a shape that broadcasts against rows."""
    return scalar.reshape(scalar.shape + (1,) * (x.ndim - scalar.ndim))
