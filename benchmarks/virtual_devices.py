"""The process behind the suite `devices`: one number of devices, rows as JSON on stdout."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import adamx
from benchmarks import recipes, transformer
from benchmarks.peers.adamx_peer import RECIPES
from benchmarks.peers.jax_peer import temporary_bytes
from benchmarks.rows import Row
from benchmarks.transformer import Sizes

SIZES = Sizes(vocabulary=4096, width=256, layers=2, heads=4, length=64, batch=8)
COLLECTIVES = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")


def _bytes_per_device(tree: Any) -> int:
    return sum(
        int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def _row(placement: str, tx: Any, params: Any, state: Any, tokens: Any) -> Row:
    def step(params: Any, state: Any, tokens: jax.Array) -> tuple[Any, Any]:
        grads = jax.grad(transformer.loss)(params, tokens, SIZES.heads)
        stepped: tuple[Any, Any] = tx.step(grads, state, params)
        return stepped

    shardings = jax.tree.map(lambda x: x.sharding, (params, state))
    jitted = jax.jit(step, donate_argnums=(0, 1), out_shardings=shardings)
    compiled = jitted.lower(params, state, tokens).compile()
    program = compiled.as_text() or ""
    counts = {name: len(re.findall(rf" {name}(?:-start)?\(", program)) for name in COLLECTIVES}
    return Row(
        suite="devices",
        shape=f"transformer, {len(jax.tree.leaves(params))} leaves on N devices",
        size=jax.device_count(),
        case=recipes.AVERAGED.name,
        peer=f"adamx {placement}",
        persistent_bytes=_bytes_per_device((params, state)),
        temporary_bytes=temporary_bytes(compiled),
        extra={
            "MB of state": _bytes_per_device(state) / 1e6,
            **{name: count for name, count in counts.items() if count},
        },
    )


def rows() -> list[Row]:
    """Both placements on all devices of this process."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    replicated, sharded = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    params, tokens = (
        jax.tree.map(
            lambda x, place=place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree
        )
        for tree, place in ((SIZES.parameters(), replicated), (SIZES.tokens(0), sharded))
    )
    tx = RECIPES[recipes.AVERAGED.name]()
    placements = {"replicated": adamx.sharding.state_sharding(tx, params)}
    if jax.device_count() > 1:
        placements["ZeRO-1"] = adamx.sharding.zero1_sharding(tx, params, "data")
    return [
        _row(placement, tx, params, adamx.sharding.abstract_state(tx, params, shardings), tokens)
        for placement, shardings in placements.items()
    ]


if __name__ == "__main__":
    json.dump([row.to_json() for row in rows()], sys.stdout)
