"""Laws that hold for all numbers; the numbers are data, so each law is compiled once."""

import json
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import adamx
from tests.compiling import AS_FOR_USERS
from tests.oracles import schedules as oracles

LAST = 300
COUNTS = np.arange(LAST, dtype=np.int32)
# What float32 rounding can do to a sum of two values, of the largest value.
ROUNDING = 5e-7
TOLERANCE = 2e-6

_values = jax.jit(
    lambda schedule: jax.vmap(schedule)(COUNTS),
    compiler_options=AS_FOR_USERS,  # Joined schedules have the very numbers of their members.
)
_at = jax.jit(lambda schedule, count: schedule(count))

# Exact in float32, and no product of them too small for it.
numbers = st.integers(-10_000, 10_000).map(lambda n: n / 1024)
rates = st.floats(2.0**-10, 10.0, width=32)
lengths = st.integers(1, 200)
begins = st.integers(0, 100)
shapes = st.sampled_from(["linear", "cosine"])
laws = settings(max_examples=60, deadline=None)


def values(schedule: Any) -> np.ndarray:
    return np.asarray(_values(schedule))


def close(ours: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    expected = np.float64(expected)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def check_moves_one_way(path: np.ndarray, start: float, end: float) -> None:
    """Never away from the end, never beyond either of the two values."""
    slack = ROUNDING * max(abs(start), abs(end))
    low, high = min(start, end), max(start, end)
    assert low - slack <= path.min()
    assert path.max() <= high + slack
    steps = np.diff(np.float64(path)) * np.sign(end - start)
    assert (steps >= -slack).all()


@laws
@given(numbers, numbers, lengths, begins)
def test_linear_is_monotone(start: float, end: float, steps: int, begin: int) -> None:
    check_moves_one_way(values(adamx.linear_schedule(start, end, steps, begin)), start, end)


@laws
@given(numbers, numbers, st.floats(0.125, 8.0, width=32), lengths, begins)
def test_polynomial_is_monotone(
    start: float, end: float, power: float, steps: int, begin: int
) -> None:
    schedule = adamx.polynomial_schedule(start, end, power, steps, begin)
    check_moves_one_way(values(schedule), start, end)


@laws
@given(rates, lengths, st.floats(0.0, 1.0, width=32), st.floats(0.125, 8.0, width=32))
def test_cosine_is_monotone(start: float, steps: int, alpha: float, exponent: float) -> None:
    schedule = adamx.cosine_decay_schedule(start, steps, alpha, exponent)
    check_moves_one_way(values(schedule), start, alpha * start)


@laws
@given(rates, lengths, st.floats(0.125, 1.0, width=32), begins, st.booleans())
def test_exponential_decay_is_monotone(
    start: float, steps: int, rate: float, begin: int, staircase: bool
) -> None:
    path = values(adamx.exponential_decay(start, steps, rate, begin, staircase))
    check_moves_one_way(path, start, 0.0)


@laws
@given(rates, st.floats(0.0, 10.0, width=32), lengths, st.booleans())
def test_inverse_time_decay_is_monotone(
    start: float, rate: float, steps: int, staircase: bool
) -> None:
    check_moves_one_way(values(adamx.inverse_time_decay(start, rate, steps, staircase)), start, 0.0)


@laws
@given(numbers, numbers, numbers, begins, begins, lengths, st.sampled_from(["linear", "1-sqrt"]))
def test_trapezoid_is_monotone_in_each_phase(
    start: float, peak: float, end: float, rise: int, flat: int, fall: int, cooldown: str
) -> None:
    path = values(adamx.warmup_stable_decay_schedule(start, peak, rise, flat, fall, end, cooldown))
    check_moves_one_way(path[: rise + 1], start if rise else peak, peak)
    np.testing.assert_array_equal(path[rise : rise + flat + 1], peak)
    check_moves_one_way(path[rise + flat :], peak, end)


@laws
@given(numbers, numbers, numbers, begins, lengths, rates)
def test_warmup_cosine_is_its_definition(
    start: float, peak: float, end: float, rise: int, fall: int, exponent: float
) -> None:
    arguments = (start, peak, rise, rise + fall, end, exponent)
    exact = [oracles.warmup_cosine_decay_schedule(t, *arguments) for t in range(LAST)]
    largest = max(abs(start), abs(peak), abs(end))
    ours = values(adamx.warmup_cosine_decay_schedule(*arguments))
    np.testing.assert_allclose(ours, exact, rtol=0, atol=TOLERANCE * largest)


@laws
@given(shapes, numbers, st.lists(begins, min_size=2, max_size=2, unique=True), rates, rates)
def test_piecewise_meets_its_plateaus(
    shape: str, start: float, boundaries: list[int], first: float, second: float
) -> None:
    scales = dict(zip(sorted(boundaries), (first, second), strict=True))
    steps = values(adamx.piecewise_constant_schedule(start, scales))
    curve = values(adamx.piecewise_interpolate_schedule(shape, start, scales))
    for boundary in scales:
        assert curve[boundary] == steps[boundary]
    assert curve[-1] == steps[-1]


@laws
@given(numbers, numbers, begins, begins, lengths)
def test_join_is_its_members(start: float, end: float, first: int, second: int, n: int) -> None:
    members = [
        adamx.constant_schedule(start),
        adamx.linear_schedule(start, end, n),
        adamx.cosine_decay_schedule(end, n),
    ]
    joined = values(adamx.join_schedules(members, [first, first + second]))
    paths = [values(member) for member in members]
    cut = first + second
    np.testing.assert_array_equal(joined[:first], paths[0][:first])
    np.testing.assert_array_equal(joined[first:cut], paths[1][:second])
    np.testing.assert_array_equal(joined[cut:], paths[2][: LAST - cut])


@laws
@given(numbers, numbers, numbers, begins, lengths)
def test_warmups_are_joins(start: float, peak: float, end: float, rise: int, fall: int) -> None:
    warmup = adamx.warmup_constant_schedule(start, peak, rise)
    linear = adamx.join_schedules([warmup, adamx.linear_schedule(peak, end, fall)], [rise])
    close(
        values(adamx.warmup_linear_decay_schedule(start, peak, rise, rise + fall, end)),
        values(linear),
    )
    decay = adamx.join_schedules([warmup, adamx.exponential_decay(peak, fall, 0.5)], [rise])
    close(
        values(adamx.warmup_exponential_decay_schedule(start, peak, rise, fall, 0.5)),
        values(decay),
    )


@laws
@given(numbers, numbers, lengths)
def test_a_power_of_one_is_a_line(start: float, end: float, steps: int) -> None:
    line = values(adamx.linear_schedule(start, end, steps))
    ours = values(adamx.polynomial_schedule(start, end, 1.0, steps))
    slack = ROUNDING * max(abs(start), abs(end))
    np.testing.assert_allclose(ours, line, rtol=0, atol=slack)


@laws
@given(rates, st.integers(1, 40), st.floats(0.0, 1.0, width=32))
def test_restarts_are_joined_cosines(start: float, first: int, alpha: float) -> None:
    for growth in (1, 2):
        cycles = [
            {
                "init_value": 0.0,
                "peak_value": start,
                "warmup_steps": 0,
                "decay_steps": first * growth**i,
                "end_value": alpha * start,
            }
            for i in range(5)
        ]
        inside = sum(cycle["decay_steps"] for cycle in cycles)
        restarts = adamx.cosine_restarts_schedule(start, first, float(growth), alpha=alpha)
        close(values(restarts)[:inside], values(adamx.sgdr_schedule(cycles))[:inside])


@laws
@given(numbers, numbers, numbers, numbers)
def test_scaling(start: float, end: float, a: float, b: float) -> None:
    schedule = adamx.linear_schedule(start, end, 100)
    once = values(adamx.scale_schedule(schedule, a))
    close(once, np.float64(values(schedule)) * a)
    twice = values(adamx.scale_schedule(adamx.scale_schedule(schedule, a), b))
    close(twice, np.float64(once) * b)
    line = adamx.linear_schedule(a, b, 50)
    product = values(adamx.scale_schedule(schedule, line))
    close(product, np.float64(values(schedule)) * np.float64(values(line)))


@laws
@given(numbers, numbers, lengths, begins, begins)
def test_shifting(start: float, end: float, steps: int, a: int, b: int) -> None:
    schedule = adamx.linear_schedule(start, end, steps)
    path = values(schedule)

    def shifted(*by: int) -> np.ndarray:
        moved: Any = schedule
        for step in by:
            moved = adamx.shift_schedule(moved, step)
        return values(moved)

    np.testing.assert_array_equal(shifted(a), path[np.maximum(COUNTS - a, 0)])
    np.testing.assert_array_equal(shifted(-a)[: LAST - a], path[a:])
    np.testing.assert_array_equal(shifted(a, b), shifted(a + b, 0))
    np.testing.assert_array_equal(shifted(-a, -b), shifted(-a - b, 0))
    # Later and back again is where it was; the other way round, the first steps are lost.
    np.testing.assert_array_equal(shifted(a, -a), path)
    # A late start is what `transition_begin` says.
    np.testing.assert_array_equal(
        shifted(a), values(adamx.linear_schedule(start, end, steps, transition_begin=a))
    )


@laws
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), lengths, begins, st.booleans())
def test_any_number_survives_printing_and_storing(
    number: float, steps: int, begin: int, staircase: bool
) -> None:
    schedules = [
        adamx.exponential_decay(number, steps, 0.5, begin, staircase, number),
        adamx.piecewise_constant_schedule(number, {begin: abs(number), begin + steps: 0.1}),
        adamx.shift_schedule(adamx.constant_schedule(number), begin - 50),
    ]
    joined = adamx.join_schedules(schedules, [begin, begin + steps])
    for schedule in (*schedules, joined):
        assert eval(repr(schedule), dict(vars(adamx))) == schedule
        stored = json.dumps(adamx.get_config(schedule))
        assert adamx.from_config(json.loads(stored)) == schedule


@laws
@given(st.integers(1, 2**30), st.integers(0, 40))
def test_restarts_begin_on_time_at_any_count(first: int, periods: int) -> None:
    start = first * (2**periods - 1)
    assume(0 < start < 2**31)
    schedule = adamx.cosine_restarts_schedule(1.0, first)
    before, at = _at(schedule, start - 1), _at(schedule, start)
    assert at == 1.0
    # The last step of a period has a small value, unless the period is a few steps short.
    length = first * 2 ** (periods - 1)
    assert before == pytest.approx(np.sin(np.pi / 2 / length) ** 2, abs=TOLERANCE)
