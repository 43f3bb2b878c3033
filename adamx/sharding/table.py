"""Where a state is, as a table to read."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from adamx.core import numerics, tree
from adamx.core.checks import check_depth
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.format import Joint
from adamx.core.kept import kept_bytes, per_parameter
from adamx.core.transformation import GradientTransformation, Params, State, walk
from adamx.sharding.meshes import common_mesh, entries, sharding_at

# How many leaves the last line names.
_LISTED = 6


def _size(shape: tuple[int, ...], leaf: Any) -> int:
    return math.prod(shape) * int(leaf.dtype.itemsize)


def _kept_floats(tx: GradientTransformation, state: State) -> set[int]:
    """The `id`s of float32 arrays in fields whose format makes words of the larger ones."""
    found: set[int] = set()
    for visit in walk(tx, state):
        for slot in visit.transformation.slots():
            if isinstance(slot.format, Joint) and slot.is_in(visit.state):
                leaves = jax.tree.leaves(getattr(visit.state, slot.name))
                found |= {id(leaf) for leaf in leaves if leaf.dtype == jnp.float32}
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _of_parameters(
    tx: GradientTransformation | None, params: Params | None, state: State, names: dict[int, str]
) -> list[str]:
    """The lines that only the transformation and the parameters can tell."""
    if (tx is None) != (params is None):
        raise TypeError("placement_table: give `tx` and `params` together, or neither")
    if tx is None:
        return []
    tx = as_transformation(Where("placement_table", "tx"), tx)
    parameters = sum(leaf.size for leaf in tree.flatten(params)[0] if numerics.is_inexact(leaf))
    lines = [f"bytes per parameter, {per_parameter(kept_bytes(tx, params), max(parameters, 1))}"]
    floats = _kept_floats(tx, state)
    if left := [name for leaf, name in names.items() if leaf in floats]:
        lines.append(f"left in float32, as they are small: {_listed(left)}")
    return lines


def placement_table(
    state: State, tx: GradientTransformation | None = None, params: Params | None = None
) -> str:
    """Every leaf of a state with its shape, its specification and its bytes on each device.

    The last lines are the sum, and the arrays that are still replicated; with `tx` and `params`
    also what one parameter costs on all devices together (`kept_bytes`), and which leaves the
    format `pair` has left in float32.

    Args:
      state: a state, or what `abstract_state` returned; any other tree of placed arrays will do.
      tx, params: the transformation that the state belongs to and the parameters (or their shapes).

    Returns:
      Lines of text.

    Raises:
      TypeError: a leaf that is nowhere, such as a NumPy array; `tx` without `params`.
      ValueError: leaves on different meshes.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> replicated = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec())
      >>> params = {"w": jnp.ones((4, 256), device=replicated), "b": jnp.ones(4, device=replicated)}
      >>> tx = adamx.scale_by_adam(state_format=adamx.pair_format(min_size=1024))
      >>> placed = adamx.sharding.zero1_sharding(tx, params, "data")
      >>> state = adamx.sharding.abstract_state(tx, params, placed)
      >>> print(adamx.sharding.placement_table(state, tx, params))
      leaf      shape     dtype    sharded by      bytes per device
      .count    ()        int32    -                              4
      .mu['b']  (4,)      float32  -                             16
      .mu['w']  (4, 256)  uint16   (None, 'data')               256
      .nu['b']  (4,)      float32  -                             16
      292 bytes per device, 14 % of 2,084 in all
      replicated: .mu['b'], .nu['b']
      bytes per parameter, 6.03: params 4, mu 2.01, nu 0.0156, other 0.00389
      left in float32, as they are small: .mu['b'], .nu['b']
    """
    owner = "placement_table"
    check_depth(owner, state)
    heads = ("leaf", "shape", "dtype", "sharded by", "bytes per device")
    rows, replicated, placed, names = [], [], [], {}
    here = total = 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path) or "<the whole state>"
        sharding = sharding_at(owner, name, leaf)
        placed.append((name, sharding))
        names[id(leaf)] = name
        shard = sharding.shard_shape(leaf.shape)
        if leaf.ndim and shard == leaf.shape:
            replicated.append(name)
        spec = entries(sharding, leaf.ndim)
        axes = str(spec) if any(spec) else "-"
        rows.append((name, str(leaf.shape), str(leaf.dtype), axes, f"{_size(shard, leaf):,}"))
        here += _size(shard, leaf)
        total += _size(leaf.shape, leaf)
    common_mesh(owner, placed)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if head == heads[-1] else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        )
        for row in (heads, *rows)
    ]
    share = f"{100 * here / total:.3g} % of {total:,} in all" if total else "nothing at all"
    lines.append(f"{here:,} bytes per device, {share}")
    if replicated:
        lines.append(f"replicated: {', '.join(replicated)}")
    return "\n".join([*lines, *_of_parameters(tx, params, state, names)])
