"""ZeRO-1: every device keeps its shard of the state, and says so."""

from __future__ import annotations

import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import adamx
from adamx.sharding import (
    abstract_state,
    init,
    keep_placement,
    placement_table,
    state_sharding,
    zero1_sharding,
)
from tests.sharding.support import mesh, on, specs

pytestmark = pytest.mark.eight_devices

# Large enough for XLA to shard; `odd` cannot be, `long` in its second dimension only.
SHAPES = {"square": (256, 256), "long": (4, 4096), "bias": (64,), "odd": (3, 5)}
RECIPE = adamx.chain(
    adamx.clip_by_global_norm(1.0),
    adamx.multi_steps(adamx.adamw(0.1), 2),
    adamx.ema_params(0.9),
)


def replicated(kind: AxisType = AxisType.Auto, dtype: Any = "float32") -> dict[str, jax.Array]:
    return {
        name: jnp.ones(shape, dtype, device=on(mesh(kind=kind))) for name, shape in SHAPES.items()
    }


def bytes_on(device: Any, tree: Any) -> int:
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(tree)
        for shard in leaf.addressable_shards
        if shard.device == device
    )


def test_every_device_holds_its_shard_of_every_kind_of_state() -> None:
    """Accumulated gradients, both moments and the average; float32 ones of bfloat16 parameters."""
    params = replicated(dtype="bfloat16")
    state = init(RECIPE, params, zero1_sharding(RECIPE, params, "data"))
    names = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)}
    for kind in ("acc_grads", ".mu", ".nu", ".ema"):
        assert any(kind in name for name in names)
    total = odd = scalars = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        odd += leaf.nbytes * ("odd" in name)
        scalars += leaf.nbytes * (leaf.ndim == 0)
        total += leaf.nbytes
    for device in jax.devices():
        assert bytes_on(device, state) == (total - odd - scalars) // 8 + odd + scalars
    table = placement_table(state)
    assert f"\n{bytes_on(device, state):,} bytes per device" in table
    assert table.splitlines()[-1].count("['odd']") == 4


def test_the_largest_dimension_that_can_be_is_sharded() -> None:
    params = replicated()
    mu = zero1_sharding(adamx.scale_by_adam(), params, "data").mu
    assert {name: tuple(sharding.spec) for name, sharding in mu.items()} == {
        "square": ("data", None),
        "long": (None, "data"),
        "bias": ("data",),
        "odd": (),
    }


def test_a_dimension_that_is_cut_already_stays() -> None:
    where = mesh(2, 4)
    w = jnp.ones((16, 8), device=on(where, "model"))
    assert tuple(zero1_sharding(adamx.scale_by_adam(), w, "data").mu.spec) == ("model", "data")


def loss(params: Any, x: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ params["square"] + jnp.tile(params["bias"], 4))
    rest = sum(jnp.sum(params[name] ** 2) for name in ("long", "odd"))
    return jnp.mean(hidden**2) + 1e-3 * rest


def batch() -> jax.Array:
    x = np.random.default_rng(0).normal(size=(16, 256)).astype(np.float32)
    return jax.device_put(x, on(mesh(), "data"))


def collectives(text: str) -> dict[str, list[tuple[int, ...]]]:
    """The shapes that every kind of collective of a compiled program returns."""
    found: dict[str, list[tuple[int, ...]]] = {}
    pattern = (
        r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
    )
    for line in text.splitlines():
        if match := re.search(pattern, line):
            for shape in re.findall(r"\w+\[([\d,]*)\]", match[1]):
                dims = tuple(int(n) for n in shape.split(",") if n)
                found.setdefault(match[2], []).append(dims)
    return found


def compiled(tx: Any, shardings: Any, params: Any) -> Any:
    state = abstract_state(tx, params, shardings)
    return adamx.make_step(loss, tx).lower(params, state, batch()).compile()


def test_the_step_updates_shards_and_gathers_parameters_only() -> None:
    """Gradients are reduced into shards (XLA:CPU writes reduce-scatter as all-reduce and slice)."""
    tx, params = adamx.adamw(0.1), replicated()
    step = compiled(tx, zero1_sharding(tx, params, "data"), params)
    text = step.as_text()
    found = collectives(text)
    # Three of the four leaves are gathered, once each: the new parameters.
    gathered = sorted(found["all-gather"])
    assert gathered == sorted(shape for name, shape in SHAPES.items() if name != "odd")
    assert not {"all-to-all", "collective-permute"} & {*found}
    # Adam's square roots run over shards: nothing is computed eight times but for `odd`.
    roots = {
        tuple(int(n) for n in dims.split(","))
        for dims in re.findall(r"f32\[([\d,]+)\]\S* sqrt\(", text)
    }
    assert roots == {(32, 256), (4, 512), (8,), (3, 5)}


def test_the_step_takes_the_memory_of_a_shard() -> None:
    tx, params = adamx.adamw(0.1), replicated()
    plain = compiled(tx, state_sharding(tx, params), params).memory_analysis()
    sharded = compiled(tx, zero1_sharding(tx, params, "data"), params).memory_analysis()
    divided = sum(4 * np.prod(shape) for name, shape in SHAPES.items() if name != "odd")
    saved = 2 * divided * 7 // 8  # of two moments
    assert plain.argument_size_in_bytes - sharded.argument_size_in_bytes == saved
    # Everything is still updated in place.
    assert plain.alias_size_in_bytes - sharded.alias_size_in_bytes == saved


def test_a_plain_step_moves_nothing_but_gradients() -> None:
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(0.1), adamx.ema_params(0.9))
    params = replicated()
    found = collectives(compiled(tx, state_sharding(tx, params), params).as_text())
    assert {*found} == {"all-reduce"}


@pytest.mark.needs_jax("0.7.0", "the partitioner, GSPMD, exchanges shards of small leaves")
def test_an_elementwise_step_of_cut_parameters_moves_nothing() -> None:
    """Small leaves, too; the norm costs one sum of scalars and gathers nothing."""
    where = mesh(2, 4)
    params = {
        "w": jnp.ones((256, 256), device=on(where, "model", "data")),
        "v": jnp.ones((16, 8), device=on(where, "data", "model")),
        "u": jnp.ones((16, 8), device=on(where, "model", "data")),
    }

    def squares(params: Any) -> jax.Array:
        return sum(jnp.sum(p**2) for p in params.values())

    def text_of(tx: Any) -> str:
        def step(params: Any, state: Any) -> tuple[Any, Any]:
            return tx.step(jax.grad(squares)(params), state, params)

        state = abstract_state(tx, params)
        return keep_placement(step).lower(params, state).compile().as_text()

    elementwise = adamx.chain(adamx.clip(1.0), adamx.adamw(0.1), adamx.ema_params(0.9))
    assert collectives(text_of(elementwise)) == {}
    with_norm = collectives(text_of(adamx.chain(adamx.clip_by_global_norm(1.0), elementwise)))
    assert {*with_norm} == {"all-reduce"}
    assert {*with_norm["all-reduce"]} == {()}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("guarded", [False, True])
def test_the_numbers_are_those_of_a_whole_state(kind: AxisType, guarded: bool) -> None:
    tx = adamx.apply_if_finite(RECIPE) if guarded else RECIPE
    params = replicated(kind)
    results = []
    for shardings in (state_sharding(tx, params), zero1_sharding(tx, params, "data")):
        step = adamx.make_step(loss, tx, donate=False)
        new, state = params, init(tx, params, shardings)
        for _ in range(4):
            new, state, _ = step(
                new, state, jax.device_put(np.asarray(batch()), on(mesh(kind=kind), "data"))
            )
        assert specs(state) == shardings
        results.append(jax.device_get((new, state)))
    chex.assert_trees_all_close(*results, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("tx", "params", "axis", "message"),
    [
        (adamx.adam(0.1), replicated, "batch", "no axis 'batch'; its axes are .'data': 8"),
        (adamx.adam(0.1), replicated, "model", "axis 'model' has size 1"),
        (adamx.scale(1.0), replicated, "data", "no leaf of the state is like a parameter"),
        (
            adamx.adam(0.1),
            lambda: jnp.ones((3, 12), device=on(mesh())),
            "data",
            r"mu of shape \(3, 12\), has no unsharded dimension divisible by 8, the size of 'data'",
        ),
        (
            adamx.adam(0.1),
            lambda: {"w": jnp.ones((8, 8), device=on(mesh(), None, "data"))},
            "data",
            r"\['w'\] of shape \(8, 8\), is sharded along 'data' already",
        ),
        (adamx.adam(0.1), lambda: jnp.ones(8), "data", "on one device, which has no axis 'data'"),
    ],
    ids=["unknown axis", "axis of one", "no state", "indivisible", "sharded already", "one device"],
)
def test_where_it_would_do_nothing_it_says_why(
    tx: Any, params: Any, axis: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        zero1_sharding(tx, params(), axis)
