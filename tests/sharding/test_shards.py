"""Parameters sharded over named axes: all shards are measured together, and all devices agree."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import adamx
from adamx.core.value import Value
from tests.contract.table import CASES, FORMATS, Case
from tests.selection import in_turn, one_in
from tests.sharding.support import mesh, on, params

pytestmark = pytest.mark.eight_devices

SHARDED, REPLICATED = PartitionSpec("data"), PartitionSpec()
HOW = pytest.mark.parametrize("how", ["tracked", "untracked", "pmap"])


def has_axis(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(has_axis, value))
    if not isinstance(value, Value):
        return False
    inside = value.field_values()
    return "axis_name" in inside or any(map(has_axis, inside.values()))


def over(axis: str, value: Any) -> Any:
    """The transformation with every `axis_name` set."""
    if isinstance(value, tuple):
        return tuple(over(axis, part) for part in value)
    if not isinstance(value, Value):
        return value
    inside = {name: over(axis, part) for name, part in value.field_values().items()}
    return type(value)(**{**inside, **({"axis_name": axis} if "axis_name" in inside else {})})


def steps(tx: Any, grads: Any, params: Any) -> Any:
    """The parameters after a few steps with growing gradients, and what there is to log."""
    state = tx.init(params)
    for scale in (0.1, 1.0, 30.0):
        params, state = tx.step(jax.tree.map(lambda g, s=scale: s * g, grads), state, params)
    return params, adamx.metrics(state)


def in_shards(f: Any, how: str, *trees: Any) -> Any:
    """f of trees sharded over eight devices: its first result gathered, the others of one."""
    if how == "pmap":
        shards = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), trees)
        own, *same = jax.pmap(f, axis_name="data")(*shards)
        gathered = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), own)
        same = jax.device_get(same)
        for device in range(8):
            chex.assert_trees_all_equal(
                *(jax.tree.map(lambda x, i=i: x[i], same) for i in (0, device))
            )
        return gathered, *jax.tree.map(lambda x: x[0], same)
    mapped = jax.shard_map(
        f,
        mesh=mesh(),
        in_specs=SHARDED,
        out_specs=(SHARDED, REPLICATED),
        check_vma=how == "tracked",
    )
    return jax.jit(mapped)(*trees)


AGGREGATIONS = ("psum", "pmean", "aggregate")  # they have nothing to do with shards
MEASURING = [
    case
    for case in CASES
    if has_axis(case.make()) and case.same_bits_in_shards and not case.id.startswith(AGGREGATIONS)
]


def test_the_table_has_them_all() -> None:
    names = {case.id.partition("-")[0] for case in MEASURING}
    assert names >= {
        "clip_by_global_norm",
        "clip_by_norm",
        "clip_by_block_rms",
        "adaptive_grad_clip",
        "clip_spikes",
        "scale_by_trust_ratio",
        "lamb",
        "record_metrics",
        "apply_if_finite",
        "skip_spikes",
        "dynamic_loss_scale",
    }


@pytest.mark.parametrize(
    ("case", "how"), in_turn(MEASURING, ["tracked", "pmap"], "both ways for each"), ids=str
)
def test_shards_give_what_one_device_gives(case: Case, how: str) -> None:
    # Two rows on every device: one row of a matrix could be a vector.
    shapes = {"b": (16,), "w": (16, 8)}
    grads, start = params(shapes, seed=3), params(shapes)
    expected = jax.jit(lambda *trees: steps(case.make(), *trees))(grads, start)
    tx = over("data", case.make())
    got = in_shards(lambda *trees: steps(tx, *trees), how, grads, start)
    chex.assert_trees_all_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.full("a format is nothing new to a norm")
@pytest.mark.parametrize("name", FORMATS)
def test_a_norm_of_shards_that_are_rounded_at_random_is_that_of_all(name: str) -> None:
    """Their bits are others than those of one device; how far LAMB goes does not depend on them."""
    tx = adamx.lamb(0.1, axis_name="data", state_format=FORMATS[name])
    sizes = 2.0 ** np.arange(8)
    start = {"w": np.outer(sizes, np.ones(96)).astype(np.float32)}
    grads = params({"w": (8, 96)}, seed=3)
    for how in ("tracked", "untracked", "pmap"):
        got, *_ = in_shards(lambda g, p: (tx.step(g, tx.init(p), p)[0], {}), how, grads, start)
        moved = np.linalg.norm(got["w"] - start["w"], axis=1)
        expected = 0.1 * np.linalg.norm(start["w"])
        np.testing.assert_allclose(np.linalg.norm(moved), expected, rtol=1e-5)
        # And each shard goes as far as any other, however large it is.
        np.testing.assert_allclose(moved, expected / np.sqrt(8), rtol=0.1)


def test_a_shard_that_may_be_a_vector_or_a_row_needs_an_axis() -> None:
    tx = adamx.adaptive_grad_clip(0.1, axis_name="data")
    w = {"w": params()["w"]}
    with pytest.raises(ValueError, match=r"\['w'\]: a shard of shape \(1, 16\) may be.*`axis`"):
        in_shards(lambda g, p: (tx.update(g, tx.init(p), p)[0], ()), "tracked", w, w)
    said, plain = tx.replace(axis=0), adamx.adaptive_grad_clip(0.1)
    got, _ = in_shards(lambda g, p: (said.update(g, (), p)[0], ()), "tracked", w, w)
    chex.assert_trees_all_close(got, plain.update(w, (), w)[0], rtol=1e-6)


GUARDS = {
    "apply_if_finite": lambda: adamx.apply_if_finite(adamx.adam(0.1), axis_name="data"),
    "dynamic_loss_scale": lambda: adamx.dynamic_loss_scale(adamx.adam(0.1), 8.0, axis_name="data"),
    "skip_spikes": lambda: adamx.skip_spikes(adamx.adam(0.1), axis_name="data"),
}


@pytest.mark.parametrize("bad", one_in(2, [np.nan, np.inf], "another number that is not finite"))
@pytest.mark.parametrize("name", GUARDS)
@HOW
def test_one_device_sees_a_nan_and_all_skip(name: str, how: str, bad: float) -> None:
    tx, start = GUARDS[name](), {"w": np.ones((8, 2), np.float32)}
    rows = np.where(np.arange(8) == 5, bad, 1.0)
    grads = {"w": np.stack([rows, rows], axis=1).astype(np.float32)}

    def run(grads: Any, params: Any) -> Any:
        state = tx.init(params)
        for step in range(3):
            # The second gradient is bad on the sixth device alone.
            now = jax.tree.map(lambda g, s=step: jnp.where(s == 1, g, 1.0), grads)
            params, state = tx.step(now, state, params)
        return params, (state.skipped_steps, state.inner_state[0].count)

    got, (skipped, count) = in_shards(run, how, grads, start)
    assert (int(skipped), int(count)) == (1, 2)
    # As if the bad batch had never come, on every device.
    expected, state = start, tx.inner.init(start)
    # A loss scale of 8 is halved by the bad step.
    for scale in (8.0, 4.0) if name == "dynamic_loss_scale" else (1.0, 1.0):
        expected, state = tx.inner.step(
            {"w": np.full((8, 2), 1 / scale, np.float32)}, state, expected
        )
    chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.parametrize("name", GUARDS)
def test_under_jit_with_shardings_nothing_needs_to_be_said(name: str) -> None:
    tx = GUARDS[name]().replace(axis_name=None)
    params = {"w": jnp.ones((8, 2), device=on(mesh(), "data"))}
    grads = {"w": params["w"].at[5, 0].set(jnp.nan)}
    state = adamx.sharding.init(tx, params)
    step = jax.jit(tx.step)
    new, state = step(grads, state, params)
    assert int(state.skipped_steps) == 1
    chex.assert_trees_all_equal(jax.device_get(new), jax.device_get(params))


@pytest.mark.parametrize(
    "make", [*GUARDS.values(), lambda: adamx.clip_by_global_norm(1.0, axis_name="data")]
)
def test_an_axis_that_does_not_exist(make: Any) -> None:
    tx = make()
    params = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="axis_name='data' names no axis here"):
        tx.update(params, tx.init(params), params)
