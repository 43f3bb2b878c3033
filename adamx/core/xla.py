"""Code written so that XLA compiles it well: all such tricks, each with its reason.

None changes a result.  tests/core/test_xla.py shows for each what it prevents.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from adamx.core import numerics

# XLA:CPU materialises the squares of a reduction over fewer elements than this.
_FUSED_REDUCTION = 4096
# How many leaves one loop reads at once.
_AT_ONCE = 24
# XLA:CPU sums a leaf of this many elements faster alone, at the price of 64 bytes for its sum: so
# this is done unless there are many of a kind.
_LARGE, _FEW = 2**18, 8


def formed_once(x: Any) -> Any:
    """Numbers that XLA is to form once: it would repeat a sum inside every loop that reads it, and
    store what the two share."""
    return jax.lax.optimization_barrier(x)


def apart(x: Any) -> Any:
    """The same arrays, for a reading of their own: XLA would store what two readings share."""
    return jax.lax.optimization_barrier(x)


def after_reading(change: chex.Array, read: chex.Array) -> chex.Array:
    """A change of rows as what follows from the rows that were read.

    XLA then reads before it writes, and writes in place, where it would copy the table.  To a row
    that is not a number it makes no difference that its change is none either.
    """
    return jnp.where(read == read, change, jnp.nan)


def count_both(first: chex.Array, second: chex.Array) -> tuple[chex.Array, chex.Array]:
    """How many elements of two boolean arrays of one shape are True, as float32 scalars.

    Both are counted in one loop that reads what they were computed from.  XLA:CPU would first
    write a comparison out, as large as the gradient, if only one of them were summed.
    """
    if first.size > np.iinfo(np.int32).max:
        return jnp.sum(first, dtype=jnp.float32), jnp.sum(second, dtype=jnp.float32)
    zero = jnp.zeros((), jnp.int32)
    a, b = jax.lax.reduce(
        (first.astype(jnp.int32), second.astype(jnp.int32)),
        (zero, zero),
        lambda x, y: (x[0] + y[0], x[1] + y[1]),
        tuple(range(first.ndim)),
    )
    return a.astype(jnp.float32), b.astype(jnp.float32)


def sum_of_squares(leaves: list[Any]) -> chex.Array:
    """The sum over leaves of one shape, added up elementwise before they are summed.

    One form serves CPU and TPU: in a clipped step of GPT-2's 148 leaves for a v5e the compiler
    estimates 9.77 million cycles with groups and padding, as many without padding, and 10.71
    million leaf by leaf.
    """
    wide = [numerics.widen(jnp.asarray(x)) for x in leaves]
    if wide[0].size > 1 and _is_small_and_replicated(wide[0]):
        wide = [jnp.pad(x.ravel(), (0, _FUSED_REDUCTION - x.size)) for x in wide]
    squares = [numerics.squared_magnitude(x) for x in wide]
    return jnp.sum(sum(squares[1:], start=squares[0]))


def _is_small_and_replicated(x: Any) -> bool:
    """Whether one device has all of a leaf that is smaller than a loop is worth."""
    mesh = jax.typeof(x).sharding.mesh
    replicated = mesh.empty or all(kind == AxisType.Manual for kind in mesh.axis_types)
    return bool(jnp.size(x) < _FUSED_REDUCTION and replicated)


def groups_alike(leaves: Iterable[tuple[Any, Any]]) -> Iterator[list[Any]]:
    """Leaves, given with their paths, in groups of one shape that are surely placed alike.

    Small leaves of one device go by shape alone.  Others must also have the same names on their
    path, so that they are the same weight of several layers: adding leaves that are sharded
    differently would make XLA move one of them.
    """
    groups = defaultdict(list)
    for path, x in leaves:
        name = "" if _is_small_and_replicated(x) else re.sub(r"\d+", "", jax.tree_util.keystr(path))
        groups[jax.typeof(x), getattr(x, "sharding", None), name].append(x)
    for group in groups.values():
        most = 1 if jnp.size(group[0]) >= _LARGE and len(group) <= _FEW else _AT_ONCE
        yield from (group[i : i + most] for i in range(0, len(group), most))
