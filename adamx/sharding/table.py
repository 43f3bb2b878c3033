"""Where a state is, as a table to read."""

from __future__ import annotations

import math
from typing import Any

import jax

from adamx.core.transformation import State
from adamx.sharding.meshes import common_mesh, entries, sharding_at


def _size(shape: tuple[int, ...], leaf: Any) -> int:
    return math.prod(shape) * int(leaf.dtype.itemsize)


def placement_table(state: State) -> str:
    """Every leaf of a state with its shape, its specification and its bytes on each device.

    The last lines are the sum, and the leaves that are arrays and still whole on every device.

    Args:
      state: a state, or what `abstract_state` returned; any other tree of placed arrays will do.

    Returns:
      Lines of text.

    Raises:
      TypeError: a leaf that is nowhere, such as a NumPy array.
      ValueError: leaves on different meshes.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> whole = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec())
      >>> params = {"w": jnp.ones((4, 256), device=whole), "b": jnp.ones(4, device=whole)}
      >>> tx = adamx.ema_params(0.99)
      >>> cut = adamx.sharding.zero1_sharding(tx, params, "data")
      >>> print(adamx.sharding.placement_table(adamx.sharding.abstract_state(tx, params, cut)))
      leaf       shape     dtype    cut by           bytes per device
      .count     ()        int32    -                               4
      .weight    ()        float32  -                               4
      .ema['b']  (4,)      float32  -                              16
      .ema['w']  (4, 256)  float32  (None, 'data')                512
      536 bytes per device, 13 % of 4,120 in all
      whole on every device: .ema['b']
    """
    owner = "placement_table"
    heads = ("leaf", "shape", "dtype", "cut by", "bytes per device")
    rows, whole, placed = [], [], []
    here = total = 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path) or "<the whole state>"
        sharding = sharding_at(owner, name, leaf)
        placed.append((name, sharding))
        piece = sharding.shard_shape(leaf.shape)
        if leaf.ndim and piece == leaf.shape:
            whole.append(name)
        spec = entries(sharding, leaf.ndim)
        cut = str(spec) if any(spec) else "-"
        rows.append((name, str(leaf.shape), str(leaf.dtype), cut, f"{_size(piece, leaf):,}"))
        here += _size(piece, leaf)
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
    if whole:
        lines.append(f"whole on every device: {', '.join(whole)}")
    return "\n".join(lines)
