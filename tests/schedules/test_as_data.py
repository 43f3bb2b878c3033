"""Schedules are values: printed, compared, stored, and passed to `jit` as data."""

import copy
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.core.hyperparameter import Schedule
from tests.schedules.cases import CASES, SMALL, Case

COMPOSED = {
    "join": adamx.join_schedules(
        [adamx.linear_schedule(0.0, 1.0, 10), adamx.cosine_decay_schedule(1.0, 90)], [10]
    ),
    "join-one": adamx.join_schedules([adamx.constant_schedule(1.0)], []),
    "scale": adamx.scale_schedule(adamx.exponential_decay(1.0, 10, 0.5, end_value=0.1), 0.3),
    "product": adamx.scale_schedule(
        adamx.inverse_sqrt_schedule(0.0, 1.0, 10), adamx.linear_schedule(1.0, 0.0, 100)
    ),
    "shift": adamx.shift_schedule(adamx.cosine_restarts_schedule(1.0, 10), -7),
}
ALL = {str(case): case.build() for case in CASES} | COMPOSED

each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL.keys())


@each
def test_repr_is_the_recipe(schedule: Schedule) -> None:
    assert eval(repr(schedule), dict(vars(adamx))) == schedule


@each
def test_configuration_round_trip(schedule: Schedule) -> None:
    config = json.loads(json.dumps(adamx.get_config(schedule)))
    assert adamx.from_config(config) == schedule


@each
def test_copies_are_equal(schedule: Schedule) -> None:
    for other in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert other == schedule
        assert hash(other) == hash(schedule)
    assert schedule.replace() == schedule


def test_all_are_different() -> None:
    assert len(set(ALL.values())) == len(ALL)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_one_trace_for_all_numbers(case: Case) -> None:
    traces = []

    @jax.jit
    def values(schedule, counts):
        traces.append(schedule)
        return jax.vmap(schedule)(counts)

    # The numbers of an argument are rounded to float32, so this is not exact to the last bit.
    exact = case.oracle()
    ours = np.float64(values(case.build(), case.counts))
    np.testing.assert_allclose(ours, exact, rtol=0, atol=2e-6 * np.abs(exact).max())
    for factor in (2, 3):
        # Every number doubled, then tripled: lengths and boundaries stay in order.
        values(jax.tree.map(lambda leaf, by=factor: leaf * by, case.build()), case.counts)
    assert len(traces) == 1


def test_a_sweep_is_a_vmap() -> None:
    peaks = jnp.array([0.1, 0.2, 0.4])
    schedule = adamx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)
    swept = jax.vmap(lambda peak: schedule.replace(peak_value=peak)(10))(peaks)
    np.testing.assert_array_equal(swept, peaks)


def test_a_schedule_passed_to_jit_counts_beyond_float32() -> None:
    boundary = 2**24 + 1
    schedule = adamx.piecewise_constant_schedule(1.0, {boundary: 0.5})
    value = jax.jit(lambda schedule, count: schedule(count))
    assert [float(value(schedule, boundary + d)) for d in (-1, 0)] == [1.0, 0.5]
    restarts = adamx.cosine_restarts_schedule(1.0, 10_000_019)
    assert value(restarts, 70_000_133) == 1.0
    assert value(restarts, 70_000_132) < 1e-6


def test_drives_a_transformation() -> None:
    tx = adamx.scale_by_schedule(adamx.piecewise_constant_schedule(1.0, {2: 0.5}))
    state, steps = tx.init(0.0), []
    for _ in range(4):
        update, state = tx.update(1.0, state)
        steps.append(float(update))
    assert steps == [1.0, 1.0, 0.5, 0.5]
