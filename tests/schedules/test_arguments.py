"""Arguments are checked where they are written, and the error says which, what and what instead."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.versions import enable_x64

CYCLE = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 40}


def constant(_: Any) -> float:
    return 1.0


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("constant_schedule", ("0.1",), {}, TypeError, "`value` must be a number, got '0.1'"),
    ("constant_schedule", (True,), {}, TypeError, "`value` must be a number, got True"),
    ("constant_schedule", (float("nan"),), {}, ValueError, "`value` must be in .*got nan"),
    ("linear_schedule", (1.0, 0.0, -1), {}, ValueError, "`transition_steps` .* at least 0, got -1"),
    ("linear_schedule", (1.0, 0.0, -0.5), {}, ValueError, r"steps` .* in \[0, inf\), got -0.5"),
    ("linear_schedule", (1.0, 0.0, "9"), {}, TypeError, "a whole number, got '9'"),
    ("linear_schedule", (1.0, 0.0, True), {}, TypeError, "a whole number, got True"),
    ("linear_schedule", (1.0, 0.0, float("nan")), {}, ValueError, "`transition_steps` .*got nan"),
    ("linear_schedule", (1.0, 0.0, 10**400), {}, ValueError, "at most 2147483647, got 1000"),
    ("linear_schedule", (10**400, 0.0, 9), {}, ValueError, "that float32 can hold, got 1000"),
    (
        "linear_schedule",
        (np.timedelta64(9, "s"), 0.0, 9),
        {},
        TypeError,
        "`init_value` .* a number",
    ),
    (
        "linear_schedule",
        (1.0, 0.0, np.timedelta64(9, "s")),
        {},
        TypeError,
        "steps` .* a whole number",
    ),
    ("linear_schedule", (jnp.float32(jnp.nan), 0.0, 9), {}, ValueError, "`init_value` .*got .*nan"),
    ("linear_schedule", (1.0, 0.0, 10, -1), {}, ValueError, "`transition_begin` .* 0, got -1"),
    ("linear_schedule", (1.0, float("inf"), 10), {}, ValueError, "`end_value` .* got inf"),
    ("polynomial_schedule", (1.0, 0.0, 2.0, -5), {}, ValueError, "at least 0, got -5"),
    ("polynomial_schedule", (1.0, 0.0, -0.5, 5), {}, ValueError, r"`power` .*\[0, inf\), got -0.5"),
    ("polynomial_schedule", (1.0, 0.0, 1.0, 5), {"cycle": 1}, TypeError, "`cycle` .*True or False"),
    ("power_schedule", (1.0, None), {}, TypeError, "`exponent` must be a number, got None"),
    ("exponential_decay", (1.0, -1, 0.5), {}, ValueError, "`transition_steps` .*at least 0"),
    ("exponential_decay", (1.0, 9, jnp.zeros(())), {}, ValueError, r"`decay_rate` .*\(0, inf\)"),
    ("exponential_decay", (1.0, 10, 0.0), {}, ValueError, r"`decay_rate` .*\(0, inf\), got 0.0"),
    ("exponential_decay", (1.0, 10, -0.5), {}, ValueError, "`decay_rate` .*got -0.5"),
    ("exponential_decay", (1.0, 10, 0.5, -1), {}, ValueError, "`transition_begin` .*got -1"),
    ("exponential_decay", (1.0, 10, 0.5, 0, "yes"), {}, TypeError, "`staircase` .*got 'yes'"),
    (
        "exponential_decay",
        (1.0, 10, 0.5),
        {"end_value": "0"},
        TypeError,
        "`end_value` must be a number or None, got '0'",
    ),
    ("inverse_time_decay", (1.0, -0.1), {}, ValueError, r"`decay_rate` .*\[0, inf\), got -0.1"),
    ("inverse_time_decay", (1.0, 0.1, 0), {}, ValueError, "`decay_steps` .*at least 1, got 0"),
    ("cosine_decay_schedule", (1.0, 0), {}, ValueError, "`decay_steps` .*at least 1, got 0"),
    ("cosine_decay_schedule", (1.0, 10, 0.0, -1.0), {}, ValueError, "`exponent` .*got -1.0"),
    ("cosine_restarts_schedule", (1.0, 0), {}, ValueError, "`first_decay_steps` .*1, got 0"),
    ("cosine_restarts_schedule", (1.0, 9, 0.5), {}, ValueError, r"1 or in \[1.001, inf\), got 0.5"),
    (
        "cosine_restarts_schedule",
        (1.0, 9, jnp.float32(2.0)),
        {},
        TypeError,
        "`t_mul` must be a Python number, got Array",
    ),
    ("cosine_restarts_schedule", (1.0, 9, 2.0, 0.0), {}, ValueError, "`m_mul` .*got 0.0"),
    ("warmup_constant_schedule", (0.0, 1.0, -1), {}, ValueError, "`warmup_steps` .* 0, got -1"),
    (
        "warmup_linear_decay_schedule",
        (0.0, 1.0, 10, 9),
        {},
        ValueError,
        r"includes the warm-up.*at least `warmup_steps` \(10\), got 9",
    ),
    ("warmup_cosine_decay_schedule", (0.0, 1.0, 10, 9), {}, ValueError, r"\(10\), got 9"),
    (
        "warmup_exponential_decay_schedule",
        (0.0, 1.0, 10, -1, 0.5),
        {},
        ValueError,
        "`transition_steps` .*at least 0, got -1",
    ),
    (
        "warmup_exponential_decay_schedule",
        (0.0, 1.0, 10, 5, 0.0),
        {},
        ValueError,
        "`decay_rate` .*got 0.0",
    ),
    ("warmup_stable_decay_schedule", (0.0, 1.0, 1, -1, 1), {}, ValueError, "`stable_steps`.*-1"),
    ("warmup_stable_decay_schedule", (0.0, 1.0, 1, 1, -2), {}, ValueError, "`cooldown_steps`.*-2"),
    (
        "warmup_stable_decay_schedule",
        (0.0, 1.0, 1, 1, 1),
        {"cooldown": "sqrt"},
        ValueError,
        "`cooldown` must be one of 'linear', 'cosine', '1-sqrt', got 'sqrt'",
    ),
    ("inverse_sqrt_schedule", (0.0, 1.0, -1), {}, ValueError, "`warmup_steps` .*got -1"),
    (
        "piecewise_constant_schedule",
        (1.0, {-1: 0.5}),
        {},
        ValueError,
        "`boundary in boundaries_and_scales` must be at least 0, got -1",
    ),
    (
        "piecewise_constant_schedule",
        (1.0, {"1": 0.5}),
        {},
        TypeError,
        "`boundary in boundaries_and_scales` must be a whole number, got '1'",
    ),
    (
        "piecewise_constant_schedule",
        (1.0, {10: -0.5}),
        {},
        ValueError,
        r"`boundaries_and_scales\[10\]` must be in \[0, inf\), got -0.5",
    ),
    ("piecewise_constant_schedule", (1.0, [10, 20]), {}, TypeError, "a dict from boundaries"),
    ("piecewise_constant_schedule", (1.0, 10), {}, TypeError, "a dict from boundaries"),
    (
        "piecewise_constant_schedule",
        (1.0, [(10, 0.5), (10, 0.1)]),
        {},
        ValueError,
        "given once for each boundary",
    ),
    (
        "piecewise_interpolate_schedule",
        ("cubic", 1.0, {}),
        {},
        ValueError,
        "`interpolate_type` must be one of 'linear', 'cosine', got 'cubic'",
    ),
    ("piecewise_interpolate_schedule", (1.0, 1.0), {}, TypeError, "`interpolate_type` .*got 1.0"),
    ("linear_onecycle_schedule", (0, 1.0), {}, ValueError, "`transition_steps` .*at least 1"),
    ("linear_onecycle_schedule", (True, 1.0), {}, TypeError, "a Python number, got True"),
    ("linear_onecycle_schedule", (jnp.int32(9), 1.0), {}, TypeError, "a Python number"),
    ("linear_onecycle_schedule", (9, "1"), {}, TypeError, "`peak_value` .*got '1'"),
    ("linear_onecycle_schedule", (9, 1.0, 1.0), {}, ValueError, r"`pct_start` .*\[0, 1\), got 1.0"),
    (
        "linear_onecycle_schedule",
        (100, 1.0, 0.85, 0.3),
        {},
        ValueError,
        "`pct_start` must be such that the next phase has a step of its 100 left, got 0.85",
    ),
    ("linear_onecycle_schedule", (100, 1.0, 0.5, 0.501), {}, ValueError, "`pct_start`"),
    ("linear_onecycle_schedule", (100, 1.0), {"div_factor": 0.0}, ValueError, "`div_factor`"),
    ("cosine_onecycle_schedule", (0, 1.0), {}, ValueError, "`transition_steps`"),
    ("cosine_onecycle_schedule", (9, 1.0), {"pct_start": None}, TypeError, "a Python number"),
    ("cosine_onecycle_schedule", (9, 1.0), {"final_div_factor": -1.0}, ValueError, "got -1.0"),
    ("sgdr_schedule", (3,), {}, TypeError, "`cosine_kwargs` must be dicts"),
    ("sgdr_schedule", ([3],), {}, TypeError, "`cosine_kwargs` must be dicts"),
    ("sgdr_schedule", ([],), {}, ValueError, "one dict at least"),
    ("sgdr_schedule", ([{**CYCLE, "rise": 1}],), {}, TypeError, "rise"),
    ("sgdr_schedule", ([{**CYCLE, "decay_steps": 4}],), {}, ValueError, "`decay_steps` includes"),
    ("join_schedules", ([], []), {}, ValueError, "`schedules` must be schedules, one at least"),
    ("join_schedules", (3, []), {}, TypeError, "`schedules` must be schedules"),
    ("join_schedules", ([constant, 3.0], [1]), {}, TypeError, r"`schedules\[1\]` .*got 3.0"),
    (
        "join_schedules",
        ([constant, constant], []),
        {},
        ValueError,
        "2 schedules have 1 `boundaries` between them, got 0",
    ),
    ("join_schedules", ([constant, constant], 5), {}, TypeError, "`boundaries` .*got 5"),
    ("join_schedules", ([constant, constant], ["5"]), {}, TypeError, r"`boundaries\[0\]` .*'5'"),
    ("join_schedules", ([constant] * 3, [5.5, 4]), {}, ValueError, "in increasing order"),
    ("join_schedules", ([constant, constant], [-1]), {}, ValueError, r"`boundaries\[0\]` .*-1"),
    ("join_schedules", ([constant] * 3, [5, 4]), {}, ValueError, r"in increasing order.*\[5, 4\]"),
    ("scale_schedule", (0.1, 2.0), {}, TypeError, "`schedule` must be a function .*got 0.1"),
    ("scale_schedule", (constant, None), {}, TypeError, "`factor` must be a number, .*got None"),
    ("scale_schedule", (constant, float("inf")), {}, ValueError, "`factor` .*got inf"),
    ("shift_schedule", (0.1, 2), {}, TypeError, "`schedule` must be a function"),
    ("shift_schedule", (constant, 2.5), {}, TypeError, "`steps` must be a whole number, got 2.5"),
    ("shift_schedule", (constant, -(2**31)), {}, ValueError, "`steps` must be at least"),
]


@pytest.mark.parametrize(
    ("name", "positional", "keywords", "error", "message"),
    BAD,
    ids=[f"{i}-{row[0]}" for i, row in enumerate(BAD)],
)
def test_bad_arguments(
    name: str,
    positional: tuple[Any, ...],
    keywords: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        getattr(adamx, name)(*positional, **keywords)


LENGTHS = [
    ("linear_schedule", (1.0, 0.0, 9), {}, "transition_steps"),
    ("linear_schedule", (1.0, 0.0, 9), {}, "transition_begin"),
    ("polynomial_schedule", (1.0, 0.0, 2.0, 9), {}, "transition_steps"),
    ("exponential_decay", (1.0, 9, 0.5), {}, "transition_steps"),
    ("inverse_time_decay", (1.0, 0.5), {}, "decay_steps"),
    ("cosine_decay_schedule", (1.0, 9), {}, "decay_steps"),
    ("cosine_restarts_schedule", (1.0, 9), {}, "first_decay_steps"),
    ("warmup_constant_schedule", (0.0, 1.0, 9), {}, "warmup_steps"),
    ("warmup_linear_decay_schedule", (0.0, 1.0, 5, 9), {}, "decay_steps"),
    ("warmup_stable_decay_schedule", (0.0, 1.0, 5, 9, 9), {}, "cooldown_steps"),
    ("shift_schedule", (constant, 9), {}, "steps"),
]


@pytest.mark.parametrize("steps", [2**31, 1e10, np.int64(2**40), np.array(2**31)], ids=repr)
@pytest.mark.parametrize("row", LENGTHS, ids=lambda row: f"{row[0]}-{row[3]}")
def test_no_length_is_more_than_the_step_count_holds(row: Any, steps: Any) -> None:
    """It would overflow where the schedule is passed to a compiled function."""
    name, positional, keywords, argument = row
    schedule = getattr(adamx, name)(*positional, **keywords)
    with pytest.raises(ValueError, match=rf"`{argument}` must be at most 2147483647, got"):
        schedule.replace(**{argument: steps})
    with enable_x64(True):
        assert getattr(schedule.replace(**{argument: steps}), argument) == steps


@pytest.mark.parametrize("row", LENGTHS, ids=lambda row: f"{row[0]}-{row[3]}")
def test_the_longest_length_can_be_passed_to_jit(row: Any) -> None:
    name, positional, keywords, argument = row
    schedule = getattr(adamx, name)(*positional, **keywords).replace(**{argument: 2**31 - 1})
    assert np.isfinite(jax.jit(lambda schedule: schedule(3))(schedule))


def test_errors_name_the_schedule() -> None:
    with pytest.raises(ValueError, match=r"^exponential_decay: `decay_rate` must be in \(0, inf\)"):
        adamx.exponential_decay(1.0, 10, 0.0)


def test_numbers_may_be_arrays_or_traced() -> None:
    """Checks are for what can be read where it is written."""

    @jax.jit
    def last(peak, steps):
        return adamx.warmup_linear_decay_schedule(0.0, peak, steps, 2 * steps, peak / 2)(100)

    assert last(3.0, 4) == 1.5
    assert adamx.linear_schedule(np.float32(1.0), jnp.bfloat16(0.5), np.int64(4))(2) == 0.75


def test_dicts_and_pairs_say_the_same() -> None:
    pairs = [(10, 0.5), (5, 2.0)]
    from_pairs = adamx.piecewise_constant_schedule(1.0, pairs)
    assert from_pairs == adamx.piecewise_constant_schedule(1.0, dict(pairs))
    assert repr(from_pairs) == (
        "piecewise_constant_schedule(init_value=1.0, boundaries_and_scales=((5, 2.0), (10, 0.5)))"
    )


def test_any_callable_can_be_joined() -> None:
    counts = []

    def spy(count):
        counts.append(int(count))
        return 1.0 / (1.0 + count)

    schedule = adamx.join_schedules([spy, lambda count: 0.5, spy], [2, 4])
    assert [float(schedule(t)) for t in (0, 1, 2, 4, 5)] == [1.0, 0.5, 0.5, 1.0, 0.5]
    assert min(counts) == 0


def test_whole_floats_are_step_counts() -> None:
    """`1e4` is how people write a number of steps."""
    assert adamx.linear_schedule(1.0, 0.0, 1e4) == adamx.linear_schedule(1.0, 0.0, 10_000)
    assert adamx.linear_onecycle_schedule(1e4, 1.0) == adamx.linear_onecycle_schedule(10_000, 1.0)
