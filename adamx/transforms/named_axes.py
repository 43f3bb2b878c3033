"""Named axes of `shard_map`, `pmap` and `vmap`, and what JAX knows about who differs along them.

`shard_map` tracks which values differ between the devices of an axis (they *vary* over it).
Nothing is tracked in `pmap`, in `vmap`, and in `shard_map(..., check_vma=False)`.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import numpy as np

from adamx.core import compat
from adamx.core.compat import varying_axes
from adamx.core.fields import AxisName


def names_of(axis_name: AxisName) -> tuple[str, ...]:
    """One name, several or None as a tuple."""
    return (axis_name,) if isinstance(axis_name, str) else tuple(axis_name or ())


def tracked(axis_name: AxisName) -> frozenset[str]:
    """The axes along which JAX tracks who differs.

    Raises:
      ValueError: an axis that is not mapped here.
    """
    # The position along an axis differs along it, so this is empty where nothing is tracked.
    return frozenset(name for name in names_of(axis_name) if name in varying_axes(_index(name)))


def _vary(x: Any, axes: frozenset[str]) -> Any:
    missing = tuple(axes - varying_axes(x)) if axes else ()
    return compat.vary(x, missing) if missing else x


def varying_copies(params: chex.ArrayTree, axis_name: AxisName) -> Any:
    """The parameters as each device's own copies, so that `jax.grad` adds up nothing by itself."""
    known = tracked(axis_name)
    return jax.tree.map(lambda x: _vary(x, known), params)


def vary_like(values: chex.ArrayTree, others: chex.ArrayTree) -> Any:
    """Arrays as what differs where others do: a loop asks that of what it begins with."""
    return jax.tree.map(lambda x, other: _vary(x, varying_axes(other)), values, others)


def on_all_devices(condition: jax.Array, axis_name: AxisName) -> jax.Array:
    """Whether a condition holds on all devices along the axes.

    Raises:
      ValueError: an axis that is not mapped here.
    """
    if not axis_name:
        return condition
    tracked(axis_name)
    agreed: jax.Array = jax.lax.pmin(condition.astype(np.int32), axis_name) > 0
    return agreed


def _index(name: str) -> jax.Array:
    try:
        index: jax.Array = jax.lax.axis_index(name)
    except NameError:
        raise ValueError(
            f"axis_name={name!r} names no axis here: use it inside a `shard_map`, `pmap` or `vmap` "
            "over that axis (under `jit` with shardings nothing needs to be said)"
        ) from None
    return index
