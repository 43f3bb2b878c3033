"""A phase of no steps is left out, whether its length is known or traced, and never makes a NaN."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

import adamx
from tests.schedules.cases import LARGEST_COUNT

COUNTS = np.array([*range(12), LARGEST_COUNT], np.int32)
TOLERANCE = 2e-6

# Where optax takes a length of 0, the values are optax's.
AS_IN_OPTAX: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": (
        "linear_schedule",
        {"init_value": 0.3, "end_value": 0.7, "transition_steps": 0},
    ),
    "linear-late": (
        "linear_schedule",
        {"init_value": 0.3, "end_value": 0.7, "transition_steps": 0, "transition_begin": 5},
    ),
    "linear-at-once": (
        "linear_schedule",
        {"init_value": 0.3, "end_value": 0.7, "transition_steps": 4, "transition_begin": 0},
    ),
    "polynomial": (
        "polynomial_schedule",
        {
            "init_value": 0.3,
            "end_value": 0.7,
            "power": 2.0,
            "transition_steps": 0,
            "transition_begin": 3,
        },
    ),
    "exponential": (
        "exponential_decay",
        {"init_value": 0.3, "transition_steps": 0, "decay_rate": 0.5},
    ),
    "exponential-staircase": (
        "exponential_decay",
        {"init_value": 0.3, "transition_steps": 0, "decay_rate": 2.0, "staircase": True},
    ),
    "warmup-cosine": (
        "warmup_cosine_decay_schedule",
        {"init_value": 0.1, "peak_value": 0.7, "warmup_steps": 0, "decay_steps": 9},
    ),
    "warmup-exponential": (
        "warmup_exponential_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.7,
            "warmup_steps": 0,
            "transition_steps": 5,
            "decay_rate": 0.5,
        },
    ),
    "warmup-exponential-without-decay": (
        "warmup_exponential_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.7,
            "warmup_steps": 3,
            "transition_steps": 0,
            "decay_rate": 0.5,
        },
    ),
    "onecycle-without-rise": (
        "linear_onecycle_schedule",
        {"transition_steps": 10, "peak_value": 0.7, "pct_start": 0.0},
    ),
    "sgdr-without-warmup": (
        "sgdr_schedule",
        {
            "cosine_kwargs": [
                {"init_value": 0.1, "peak_value": peak, "warmup_steps": 0, "decay_steps": 4}
                for peak in (0.7, 0.3)
            ]
        },
    ),
}

# What optax refuses or lacks: the value goes on with what follows the phase.
OURS: dict[str, tuple[Any, dict[int, float]]] = {
    "warmup-constant": (
        adamx.warmup_constant_schedule(0.1, 0.7, 0),
        {0: 0.7, 9: 0.7},
    ),
    "warmup-linear-without-fall": (
        adamx.warmup_linear_decay_schedule(0.1, 0.7, 4, 4, 0.2),
        {0: 0.1, 2: 0.4, 4: 0.2, 5: 0.2},
    ),
    "warmup-linear-without-both": (
        adamx.warmup_linear_decay_schedule(0.1, 0.7, 0, 0, 0.2),
        {0: 0.2, 5: 0.2},
    ),
    "warmup-cosine-without-fall": (
        adamx.warmup_cosine_decay_schedule(0.1, 0.7, 4, 4, 0.2, 1.5),
        {0: 0.1, 2: 0.4, 4: 0.2, 5: 0.2},
    ),
    "stable-without-cooldown": (
        adamx.warmup_stable_decay_schedule(0.1, 0.7, 2, 3, 0, 0.2, "1-sqrt"),
        {1: 0.4, 2: 0.7, 4: 0.7, 5: 0.2, 6: 0.2},
    ),
    "stable-without-anything": (
        adamx.warmup_stable_decay_schedule(0.1, 0.7, 0, 0, 0, 0.2),
        {0: 0.2, 6: 0.2},
    ),
    "polynomial-cycle": (
        adamx.polynomial_schedule(0.3, 0.7, 2.0, 0, cycle=True),
        {0: 0.3, 6: 0.3},
    ),
    "inverse-sqrt": (
        adamx.inverse_sqrt_schedule(0.1, 0.7, 0),
        {0: 0.7, 1: 0.7, 4: 0.35},
    ),
    "join": (
        adamx.join_schedules(
            [adamx.linear_schedule(0.0, 0.7, 0), adamx.constant_schedule(0.7)], [0]
        ),
        {0: 0.7, 6: 0.7},
    ),
    "interpolate": (
        adamx.piecewise_interpolate_schedule("cosine", 0.1, {0: 7.0}),
        {0: 0.7, 6: 0.7},
    ),
}

_values = jax.jit(lambda schedule: jax.vmap(schedule)(COUNTS))
SCHEDULES = {name: getattr(adamx, what)(**a) for name, (what, a) in AS_IN_OPTAX.items()}
SCHEDULES |= {name: schedule for name, (schedule, _) in OURS.items()}


@pytest.mark.parametrize("name", AS_IN_OPTAX)
def test_values_are_those_of_optax(name: str) -> None:
    what, arguments = AS_IN_OPTAX[name]
    theirs = getattr(optax, what)(**arguments)
    expected = [float(theirs(count)) for count in COUNTS.tolist()]
    ours = [float(SCHEDULES[name](count)) for count in COUNTS.tolist()]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", OURS)
def test_the_value_goes_on_with_what_follows(name: str) -> None:
    schedule, expected = OURS[name]
    found = {count: float(schedule(count)) for count in expected}
    assert found == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_traced_length_of_no_steps_is_one_too(name: str) -> None:
    """Also in the gradient: the branch that is not taken must not divide by zero."""
    schedule = SCHEDULES[name]
    known = np.array([float(schedule(count)) for count in COUNTS.tolist()])
    np.testing.assert_allclose(_values(schedule), known, rtol=0, atol=TOLERANCE)
    leaves, structure = jax.tree.flatten(schedule)

    @jax.jit
    def slopes(numbers):
        def total(numbers):
            given = iter(numbers)
            filled = [next(given) if isinstance(leaf, float) else leaf for leaf in leaves]
            return jax.vmap(structure.unflatten(filled))(COUNTS).sum()

        return jax.grad(total)(numbers)

    assert np.isfinite(slopes([leaf for leaf in leaves if isinstance(leaf, float)])).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cosine_decay_schedule", (0.3, 0)),
        ("linear_onecycle_schedule", (0, 0.3)),
        ("cosine_onecycle_schedule", (0, 0.3)),
    ],
)
def test_what_has_no_phase_left_is_refused_as_in_optax(name: str, arguments: Any) -> None:
    for library in (optax, adamx):
        with pytest.raises(ValueError, match="_steps"):
            getattr(library, name)(*arguments)
