"""Wherever parameters, state and batch are: the trajectory of one device.

One row of the table, every layout.  The state is where it was put after every step, and the second
step is the program of the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import adamx
from tests.contract.table import CASES, Case
from tests.sharding.support import batch, loss, mesh, on, params, specs

pytestmark = pytest.mark.eight_devices

STEPS = 2
LAYOUTS: dict[str, Any] = {}


def layout(run: Callable[..., Any]) -> Callable[..., Any]:
    LAYOUTS[run.__name__] = run
    return run


class Counted:
    """The loss, counting how often it is traced."""

    def __init__(self) -> None:
        self.traces = 0

    def __call__(self, *args: Any) -> jax.Array:
        self.traces += 1
        return loss(*args)


def train(tx: Any, placed: Any, state: Any, x: Any) -> Any:
    """`make_step`; where everything is placed is all it knows about the mesh."""
    before, counted = (specs(placed), specs(state)), Counted()
    step = adamx.make_step(counted, tx)
    value = None
    for _ in range(STEPS):
        placed, state, value = step(placed, state, x)
        assert (specs(placed), specs(state)) == before
    assert counted.traces == 1
    return placed, state, value


def replicated_params() -> Any:
    return jax.device_put(params(), on(mesh()))


@layout
def data_parallel_zero1(tx: Any) -> Any:
    """With ZeRO-1 wherever there is a state that can be sharded."""
    placed = replicated_params()
    shardings = None
    if any(leaf.ndim for leaf in jax.tree.leaves(jax.eval_shape(tx.init, placed))):
        with contextlib.suppress(ValueError):
            shardings = adamx.sharding.zero1_sharding(tx, placed, "data")
    state = adamx.sharding.init(tx, placed, shardings)
    return train(tx, placed, state, jax.device_put(batch(), on(mesh(), "data")))


@layout
def two_by_four(tx: Any) -> Any:
    where = mesh(2, 4)
    shardings = {"b": on(where, "model"), "w": on(where, None, "model")}
    placed = jax.device_put(params(), shardings)
    state = adamx.sharding.init(tx, placed)
    return train(tx, placed, state, jax.device_put(batch(), on(where, "data")))


@layout
def shard_map(tx: Any) -> Any:
    replicated, sharded = PartitionSpec(), PartitionSpec("data")
    step = jax.shard_map(
        adamx.make_step(loss, tx, axis_name="data"),
        mesh=mesh(),
        in_specs=(replicated, replicated, sharded),
        out_specs=replicated,
    )
    compiled = jax.jit(step)
    placed, state = jax.device_put((params(), tx.init(params())), on(mesh()))
    value = None
    for _ in range(STEPS):
        placed, state, value = compiled(placed, state, batch())
    assert compiled._cache_size() <= 1
    return placed, state, value


@layout
def pmap(tx: Any) -> Any:
    step = jax.pmap(adamx.make_step(loss, tx, axis_name="data"), axis_name="data")
    placed, state = jax.tree.map(lambda x: np.stack([x] * 8), (params(), tx.init(params())))
    value = None
    for _ in range(STEPS):
        placed, state, value = step(placed, state, batch()[:, None])
    copies = jax.tree.map(np.asarray, (placed, state, value))
    chex.assert_trees_all_equal(*(jax.tree.map(lambda x, i=i: x[i], copies) for i in range(8)))
    return jax.tree.map(lambda x: x[0], copies)


def one_device(tx: Any) -> Any:
    step = adamx.make_step(loss, tx)
    placed = jax.tree.map(jnp.asarray, params())
    state = tx.init(placed)
    for _ in range(STEPS):
        placed, state, value = step(placed, state, batch())
    return placed, state, value


@layout
def replicated(tx: Any) -> Any:
    placed = replicated_params()
    return train(tx, placed, adamx.sharding.init(tx, placed), jax.device_put(batch(), on(mesh())))


@layout
def data_parallel(tx: Any) -> Any:
    placed = replicated_params()
    x = jax.device_put(batch(), on(mesh(), "data"))
    return train(tx, placed, adamx.sharding.init(tx, placed), x)


# By default one row that couples the leaves, and one whose state is not like the parameters.
SMOKE = {"lamb", "apply_if_finite"}
eight_programs = pytest.mark.full("eight programs for every row")
ROWS = [
    case if case.id in SMOKE else pytest.param(case, marks=eight_programs)
    for case in CASES
    if case.costly
]


# A number that is read on the host before every step cannot be inside of a program.
INSIDE, READ_ON_THE_HOST = {"shard_map", "pmap"}, {"adam-callable"}


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_every_layout_gives_the_trajectory_of_one_device(case: Case) -> None:
    tx = case.make()
    expected = one_device(tx)
    for name, run in LAYOUTS.items():
        if name in INSIDE and case.id in READ_ON_THE_HOST:
            continue
        chex.assert_trees_all_close(run(tx), expected, rtol=1e-6, atol=1e-6, custom_message=name)
