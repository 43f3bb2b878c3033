"""The process behind the suite `topology`: one step of a model on many chips, compiled only.

Parameters are sharded four ways over the axis `model`; along `data`, each part of the batch has
gradients of its own, which the step averages.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import adamx
from benchmarks import recipes
from benchmarks.ahead_of_time import compiled, devices
from benchmarks.peers.adamx_peer import RECIPES
from benchmarks.rows import Row

MODEL_AXIS = 4
REPLICATED, ZERO1 = "replicated", "ZeRO-1"
PLACEMENTS = (REPLICATED, ZERO1)


class Sizes(NamedTuple):
    """Of a decoder with gated layers, which are stacked: a leaf holds the same weight of all."""

    layers: int
    width: int
    hidden: int
    vocabulary: int

    def parameters(self) -> dict[str, tuple[tuple[int, ...], PartitionSpec]]:
        """The shape of every leaf, and how it is sharded."""
        n, d, f, v = self
        replicated = PartitionSpec()
        column, row = PartitionSpec(None, None, "model"), PartitionSpec(None, "model", None)
        return {
            "tokens": ((v, d), PartitionSpec("model", None)),
            "norm_1": ((n, d), replicated),
            "query": ((n, d, d), column),
            "key": ((n, d, d), column),
            "value": ((n, d, d), column),
            "out": ((n, d, d), row),
            "norm_2": ((n, d), replicated),
            "gate": ((n, d, f), column),
            "up": ((n, d, f), column),
            "down": ((n, f, d), row),
            "norm": ((d,), replicated),
            "head": ((d, v), PartitionSpec(None, "model")),
        }


SEVEN_BILLION = Sizes(layers=32, width=4096, hidden=11008, vocabulary=32000)


def _bytes_per_chip(tree: Any) -> int:
    return sum(
        int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def row(topology: str, placement: str, sizes: Sizes) -> Row:
    """One step on all chips of a topology."""
    chips = devices(topology)
    mesh = Mesh(np.array(chips).reshape(-1, MODEL_AXIS), ("data", "model"))

    def placed(shape: tuple[int, ...], spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))

    leaves = sizes.parameters()
    params = {name: placed(shape, spec) for name, (shape, spec) in leaves.items()}
    grads = {
        name: placed((mesh.shape["data"], *shape), PartitionSpec("data", *spec))
        for name, (shape, spec) in leaves.items()
    }
    tx = RECIPES[recipes.CLIPPED.name]()
    place = adamx.sharding.state_sharding(tx, params)
    if placement == ZERO1:
        place = adamx.sharding.zero1_sharding(tx, params, "data")
    state = adamx.sharding.abstract_state(tx, params, place)

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        mean = jax.tree.map(lambda g: jnp.mean(g, 0), grads)
        stepped: tuple[Any, Any] = tx.step(mean, state, params)
        return stepped

    shardings = jax.tree.map(lambda x: x.sharding, (params, state))
    start = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=(0, 1), out_shardings=shardings).lower(
        params, state, grads
    )
    program = compiled(lowered, in_place=(params, state))
    seconds = time.perf_counter() - start
    moved: dict[str, float] = {}
    for collective in program.collectives:
        name = f"GB in {collective.kind}"
        moved[name] = moved.get(name, 0.0) + collective.bytes / 1e9
    count = sum(int(np.prod(shape)) for shape, _ in leaves.values())
    return Row(
        suite="topology",
        shape=f"{count / 1e9:.1f} B parameters, {len(leaves)} leaves, on N chips of "
        f"{chips[0].device_kind}",
        size=len(chips),
        case=recipes.CLIPPED.name,
        peer=f"adamx {placement}",
        persistent_bytes=_bytes_per_chip((params, state)),
        temporary_bytes=program.temporary_bytes,
        extra={
            "GB of state": _bytes_per_chip(state) / 1e9,
            "GB of gradients": _bytes_per_chip(grads) / 1e9,
            **moved,
            "of arguments updated in place": program.aliased / program.in_place,
            "compile s": seconds,
        },
    )
