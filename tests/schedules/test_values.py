"""Every schedule has the values of its definition, and of optax, before, at and after each step
at which it changes, however far away."""

import functools
import inspect

import jax
import numpy as np
import optax
import pytest

import adamx
from tests.schedules.cases import CASES, SMALL, Case
from tests.versions import enable_x64

# Of the largest value of the schedule.
FLOAT32_TOLERANCE = 2e-6
FLOAT64_TOLERANCE = 1e-13

# Below this, the formulas of optax are as exact as ours in float64.
OPTAX_TOLERANCE = 1e-12

OPTAX_NAMES = sorted(
    name
    for name in vars(optax)
    if hasattr(adamx, name) and (name.endswith("_schedule") or "exponential_decay" in name)
)


def values(schedule, counts: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(schedule))(counts))


@functools.cache
def float32_values(case: Case) -> np.ndarray:
    return values(case.build(), case.counts)


def distance(ours: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference, relative to the largest value. NaN counts as infinite."""
    gap = np.abs(np.float64(ours) - exact).max() / np.abs(exact).max()
    return float(np.nan_to_num(gap, nan=np.inf))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32(case: Case) -> None:
    ours = float32_values(case)
    assert ours.dtype == np.float32
    assert distance(ours, case.oracle()) <= FLOAT32_TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float64(case: Case) -> None:
    """With the int32 counts of an optimizer's state."""
    with enable_x64(True):
        ours = values(case.build(), case.counts.astype(np.int32))
        assert ours.dtype == np.float64
        assert distance(ours, case.oracle()) <= FLOAT64_TOLERANCE


@pytest.mark.parametrize("case", [case for case in CASES if case.knots], ids=str)
def test_meets_its_knots_exactly(case: Case) -> None:
    by_step = dict(zip(case.counts.tolist(), float32_values(case), strict=True))
    met = {step: by_step[step] for step in case.knots}
    assert met == {step: np.float32(value) for step, value in case.knots.items()}


@pytest.mark.parametrize("case", [case for case in SMALL if case.in_optax], ids=str)
def test_agrees_with_optax_in_float64(case: Case) -> None:
    with enable_x64(True):
        theirs = np.broadcast_to(values(case.build(optax), case.counts), case.counts.shape)
        assert distance(values(case.build(), case.counts), theirs) <= OPTAX_TOLERANCE


@pytest.mark.parametrize("case", [case for case in SMALL if case.in_optax], ids=str)
def test_agrees_with_optax_around_its_boundaries(case: Case) -> None:
    """In float32 and called with Python integers, as in a loop that logs the learning rate."""
    ours, theirs = case.build(), case.build(optax)
    scale = np.abs(case.oracle()).max()
    for boundary in case.boundaries:
        for count in (boundary - 1, boundary, boundary + 1):
            gap = abs(float(ours(count)) - float(theirs(count)))
            assert gap <= FLOAT32_TOLERANCE * scale, (count, ours(count), theirs(count))


@pytest.mark.parametrize("name", OPTAX_NAMES)
def test_signature_is_that_of_optax(name: str) -> None:
    theirs = inspect.signature(getattr(optax, name)).parameters
    ours = inspect.signature(getattr(adamx, name)).parameters
    positional = {n: p for n, p in ours.items() if p.kind is not p.KEYWORD_ONLY}
    assert {n: p.default for n, p in positional.items()} == {
        n: p.default for n, p in theirs.items()
    }
    assert list(positional) == list(theirs)


def test_every_schedule_of_optax_is_here() -> None:
    named = {name for name in vars(optax) if name.endswith("_schedule")}
    assert named - set(OPTAX_NAMES) == set()
    assert {"exponential_decay", "join_schedules"} <= set(vars(adamx))


def test_small_values_are_as_accurate_as_large_ones() -> None:
    """The end of a cosine and the beginning of a warm-up, relative to themselves."""
    steps = 1_000_000
    fall = adamx.cosine_decay_schedule(1.0, steps)
    exact = np.sin(np.pi / 2 * 10 / steps) ** 2
    np.testing.assert_allclose(fall(steps - 10), exact, rtol=1e-6)
    rise = adamx.warmup_constant_schedule(0.0, 1.0, steps)
    np.testing.assert_allclose(rise(7), 7 / steps, rtol=1e-6)


def test_the_transformer_schedule_is_a_shifted_inverse_root() -> None:
    d_model, warmup_steps = 512, 400
    inverse = adamx.inverse_sqrt_schedule(0.0, (d_model * warmup_steps) ** -0.5, warmup_steps)
    n = np.arange(1, 2000)
    exact = d_model**-0.5 * np.minimum(n**-0.5, n * warmup_steps**-1.5)
    assert distance(values(adamx.shift_schedule(inverse, -1), n - 1), exact) <= FLOAT32_TOLERANCE


@pytest.mark.parametrize("steps", [60, 1000])
def test_the_end_of_a_root_is_no_nan(steps: int) -> None:
    """A compiled `1 - count / steps` can be less than 0 at the end; optax takes the root of it."""
    arguments = (1.0, 0.25, 0.5, steps)
    assert np.isnan(jax.jit(optax.polynomial_schedule(*arguments))(steps))
    assert jax.jit(adamx.polynomial_schedule(*arguments))(steps) == 0.25


class TestDepartures:
    """Where optax does something else, on purpose."""

    def test_no_warmup_starts_at_the_peak(self) -> None:
        assert optax.warmup_constant_schedule(0.0, 0.1, 0)(5) == 0.0
        assert adamx.warmup_constant_schedule(0.0, 0.1, 0)(0) == np.float32(0.1)

    def test_a_peak_of_zero_still_ends_at_the_end_value(self) -> None:
        arguments = (0.1, 0.0, 4, 8, 0.3)
        assert optax.warmup_cosine_decay_schedule(*arguments)(8) == 0.0
        assert adamx.warmup_cosine_decay_schedule(*arguments)(8) == np.float32(0.3)

    def test_staircases_far_out_are_on_time(self) -> None:
        arguments = {"init_value": 1.0, "transition_steps": 10_000_019, "decay_rate": 0.5}
        last_of_its_stair = 5 * 10_000_019 - 1
        theirs = optax.exponential_decay(**arguments, staircase=True)(last_of_its_stair)
        ours = adamx.exponential_decay(**arguments, staircase=True)(last_of_its_stair)
        assert (theirs, ours) == (0.5**5, 0.5**4)

    def test_a_rate_near_one_is_not_rounded(self) -> None:
        exact = 0.9999**10_000
        theirs = optax.exponential_decay(1.0, 1, 0.9999)(10_000)
        ours = adamx.exponential_decay(1.0, 1, 0.9999)(10_000)
        assert abs(theirs - exact) > 5e-5
        assert abs(ours - exact) < 1e-7
