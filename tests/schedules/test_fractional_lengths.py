"""Lengths need not be whole (`0.1 * total_steps`), as in optax; nor do powers need to decay."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

import adamx

COUNTS = np.arange(16)
CYCLE = {"init_value": 0.1, "peak_value": 0.7, "warmup_steps": 1.5, "decay_steps": 5.25}

TABLE: dict[str, tuple[str, tuple[Any, ...]]] = {
    "linear": ("linear_schedule", (0.3, 0.7, 7.5, 1.5)),
    "polynomial": ("polynomial_schedule", (0.3, 0.7, 2.0, 7.5, 1.5)),
    "exponential": ("exponential_decay", (0.3, 2.5, 0.5, 1.5)),
    "exponential-staircase": ("exponential_decay", (0.3, 2.5, 0.5, 1.5, True)),
    "cosine": ("cosine_decay_schedule", (0.3, 7.5)),
    "warmup-constant": ("warmup_constant_schedule", (0.1, 0.7, 2.5)),
    "warmup-cosine": ("warmup_cosine_decay_schedule", (0.1, 0.7, 2.5, 9.5, 0.2)),
    "warmup-exponential": ("warmup_exponential_decay_schedule", (0.1, 0.7, 2.5, 3.5, 0.5, 1.25)),
    "piecewise": ("piecewise_constant_schedule", (0.3, {4.1: 0.1, 2.5: 0.5})),
    "interpolate": ("piecewise_interpolate_schedule", ("cosine", 0.3, {4.1: 0.1, 2.5: 0.5})),
    "linear-onecycle": ("linear_onecycle_schedule", (12.5, 0.7)),
    "cosine-onecycle": ("cosine_onecycle_schedule", (1.2e1, 0.7)),
    "sgdr": ("sgdr_schedule", ([CYCLE, CYCLE],)),
    "negative-end": ("warmup_cosine_decay_schedule", (0.1, 0.7, 2, 9, -0.2, 1.7)),
    "negative-throughout": ("warmup_cosine_decay_schedule", (-0.1, -0.7, 2, 9, -0.9)),
    "power-0": ("polynomial_schedule", (0.3, 0.7, 0.0, 7)),
    "exponent-0": ("cosine_decay_schedule", (0.3, 7, 0.1, 0.0)),
    "warmup-exponent-0": ("warmup_cosine_decay_schedule", (0.1, 0.7, 2, 9, 0.2, 0.0)),
}

_values = jax.jit(lambda schedule: jax.vmap(schedule)(COUNTS))


@pytest.mark.parametrize("name", TABLE)
def test_values_are_those_of_optax(name: str) -> None:
    what, arguments = TABLE[name]
    ours, theirs = (getattr(library, what)(*arguments) for library in (adamx, optax))
    expected = np.array([float(theirs(count)) for count in COUNTS.tolist()])
    found = [float(ours(count)) for count in COUNTS.tolist()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(_values(ours), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", TABLE)
def test_they_are_printed_and_stored(name: str) -> None:
    what, arguments = TABLE[name]
    schedule = getattr(adamx, what)(*arguments)
    assert eval(repr(schedule), dict(vars(adamx))) == schedule
    assert adamx.from_config(adamx.get_config(schedule)) == schedule


def test_joins_may_change_between_two_steps() -> None:
    flats = [adamx.constant_schedule(value) for value in (1.0, 2.0)]
    ours, theirs = (library.join_schedules(flats, [2.5]) for library in (adamx, optax))
    assert [float(ours(t)) for t in (2, 3)] == [float(theirs(t)) for t in (2, 3)] == [1.0, 2.0]
