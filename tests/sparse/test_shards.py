"""A table that is sharded over a mesh: every device steps its own shard, to the same result."""

import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import adamx
from tests.selection import full, one_in

pytestmark = pytest.mark.eight_devices

V, D, N = 4096, 16, 32
TABLE = np.random.default_rng(0).normal(size=(V, D)).astype(np.float32)
IDS = np.random.default_rng(1).integers(-2, V + 2, (4, N)).astype(np.int32)
IDS[:, : N // 2] %= 7  # Some rows again and again.
AXES = {"rows": PartitionSpec("shard", None), "columns": PartitionSpec(None, "shard")}
MODES = ("lazy", "rowwise", "exact", "counted")
OTHER_AXIS = "every mode along both axes"


def loss(params: Any, ids: jax.Array) -> jax.Array:
    read = adamx.sparse.lookup(params["table"], ids)
    return jnp.mean(jnp.tanh(read @ params["w"]) ** 2)


def placed(shards: int, axis: str) -> dict[str, jax.Array]:
    mesh = jax.make_mesh((shards,), ("shard",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, AXES[axis])
    replicated = NamedSharding(mesh, PartitionSpec())
    return {
        "table": jax.device_put(TABLE, spread),
        "w": jax.device_put(np.ones((D, 2), np.float32) / D, replicated),
    }


def optimizer(mode: str) -> adamx.GradientTransformation:
    return adamx.chain(
        adamx.clip_by_global_norm(0.01),
        adamx.sparse.adamw(0.1, {"table": mode}, weight_decay=0.1),
    )


@functools.cache
def trained(shards: int, axis: str, mode: str) -> tuple[Any, Any]:
    tx, params = optimizer(mode), placed(shards, axis)
    state = adamx.sharding.init(tx, params)
    step = adamx.make_step(loss, tx, tables={"table": lambda ids: ids})
    for ids in IDS:
        params, state, _ = step(params, state, ids)
    assert params["table"].sharding.spec == AXES[axis]
    return params, state


@pytest.mark.parametrize(
    ("shards", "axis", "mode"),
    [
        (2, "rows", "lazy"),
        *((8, "rows", mode) for mode in MODES),
        *one_in(4, ((8, "columns", mode) for mode in MODES), OTHER_AXIS, first=2),
    ],
)
def test_the_result_does_not_depend_on_the_number_of_shards(
    shards: int, axis: str, mode: str
) -> None:
    got, wanted = trained(shards, axis, mode), trained(1, "rows", mode)
    chex.assert_trees_all_close(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("axis", "mode"),
    [
        ("rows", "lazy"),
        ("columns", "exact"),
        *full([("rows", "exact"), ("columns", "lazy")], OTHER_AXIS),
    ],
)
def test_only_rows_that_are_read_travel(axis: str, mode: str) -> None:
    tx, params = optimizer(mode), placed(8, axis)
    state = adamx.sharding.init(tx, params)
    step = adamx.make_step(loss, tx, tables={"table": lambda ids: ids})
    program = step.lower(params, state, IDS[0]).compile()
    travelling = re.findall(
        r"= \(?(.*?)\)? (?:all-gather|all-reduce|all-to-all|collective-permute)", program.as_text()
    )
    assert travelling
    shapes = [s for found in travelling for s in re.findall(r"\w+\[([\d,]*)\]", found)]
    sizes = [int(np.prod([int(n) for n in shape.split(",") if n])) for shape in shapes]
    assert max(sizes) <= (N + V // 512 + 1) * D * 2
    memory = program.memory_analysis()
    assert memory.temp_size_in_bytes < TABLE.nbytes / 2
    assert memory.alias_size_in_bytes >= 2 * TABLE.nbytes / 8


@pytest.mark.needs_jax("0.7.1", "`.at[].set` cannot be told where its result goes")
@pytest.mark.parametrize(
    ("axis", "mode"),
    [("rows", "lazy"), ("columns", "exact"), *full([("rows", "exact")], OTHER_AXIS)],
)
def test_shardings_that_are_part_of_the_type(axis: str, mode: str) -> None:
    """The mesh of newer versions of `jax.make_mesh`: JAX asks where rows go, and gets an answer."""
    mesh = jax.make_mesh((4, 2), ("shard", "batch"), axis_types=(AxisType.Explicit,) * 2)
    tx = adamx.sparse.adamw(0.1, mode, weight_decay=0.1)
    step = adamx.make_step(
        lambda t, ids: jnp.sum(jnp.tanh(adamx.sparse.lookup(t, ids)) ** 2),
        tx,
        tables={"": lambda ids: ids},
    )

    def run(table: jax.Array, ids: Any) -> tuple[Any, Any, Any]:
        table, state, _ = step(table, adamx.sharding.init(tx, table), ids[0])
        table, state, value = step(table, state, ids[1])
        return jax.jit(adamx.eval_params)(state, table), table.sharding, value

    with jax.set_mesh(mesh):
        ids = jax.device_put(IDS, NamedSharding(mesh, PartitionSpec(None, "batch")))
        got, sharding, value = run(jax.device_put(TABLE, NamedSharding(mesh, AXES[axis])), ids)
    assert sharding.spec == AXES[axis]
    wanted, _, same = run(jnp.asarray(TABLE), IDS)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, same, rtol=1e-5)


@pytest.mark.parametrize("mode", ["lazy", "exact"])
def test_devices_with_batches_of_their_own(mode: str) -> None:
    """`axis_name`: every device gets the rows of all, and steps as for the whole batch."""
    mesh = jax.make_mesh((8,), ("device",), axis_types=(AxisType.Auto,))
    params = {"table": jnp.asarray(TABLE[:64]), "w": jnp.ones((D, 2)) / D}
    ids = jnp.asarray(IDS % 64)

    def plain(params: Any, ids: jax.Array) -> jax.Array:
        return jnp.mean(jnp.tanh(params["table"][ids] @ params["w"]) ** 2)

    tx = adamx.chain(
        adamx.clip_by_global_norm(0.01),
        adamx.sparse.adamw(0.1, {"table": mode}, weight_decay=0.1),
    )
    tables = {"table": lambda ids: ids}
    own = adamx.make_step(plain, tx, tables=tables, axis_name="device", donate=False)
    everywhere, sharded = PartitionSpec(), PartitionSpec("device")
    together = jax.jit(
        jax.shard_map(
            own,
            mesh=mesh,
            in_specs=(everywhere, everywhere, sharded),
            out_specs=(everywhere, everywhere, everywhere),
        )
    )
    alone = adamx.make_step(plain, tx, tables=tables, donate=False)
    got = wanted = (params, tx.init(params))
    for batch in ids[:3]:
        *got, loss = together(*got, batch)
        *wanted, same = alone(*wanted, batch)
    np.testing.assert_allclose(loss, same, rtol=1e-5)
    chex.assert_trees_all_close(got, wanted, rtol=1e-5, atol=1e-6)
