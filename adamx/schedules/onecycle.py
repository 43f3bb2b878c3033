"""One cycle up and down over the whole training (Smith & Topin 2017)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from adamx.core import fields
from adamx.core.fields import Interval, Where
from adamx.core.hyperparameter import Number
from adamx.schedules.piecewise import PiecewiseInterpolateSchedule
from adamx.schedules.shapes import check_length

_PART = Interval(0.0, 1.0)


def _phase_ends(owner: str, transition_steps: Any, **fractions: Any) -> list[float]:
    """The steps at which the phases end, the last one with the cycle itself.

    They are fixed here, so neither the number of steps nor a fraction of it can be traced.
    """
    where = Where(owner, "transition_steps")
    if not fields.is_number(transition_steps):
        raise where.error(TypeError, "a Python number", transition_steps)
    total = check_length(where, transition_steps, 1)
    ends: list[float] = []
    for argument, fraction in fractions.items():
        where = Where(owner, argument)
        if not fields.is_number(fraction):
            raise where.error(TypeError, "a Python number", fraction)
        ends.append(int(fields.check_number(where, fraction, _PART) * total))
    ends.append(total)
    for (argument, fraction), (end, next_end) in zip(
        fractions.items(), pairwise(ends), strict=True
    ):
        if end >= next_end:
            wanted = f"such that the next phase has a step of its {total} left"
            raise Where(owner, argument).error(ValueError, wanted, fraction)
    return ends


def _factors(owner: str, **arguments: Any) -> list[Any]:
    """Positive numbers or arrays."""
    return [
        fields.check_number(Where(owner, argument), value, fields.POSITIVE)
        for argument, value in arguments.items()
    ]


def linear_onecycle_schedule(
    transition_steps: float,
    peak_value: Number,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> PiecewiseInterpolateSchedule:
    """Straight lines up to `peak_value`, back down, and on to almost nothing.

        step                               value
        0                                  peak_value / div_factor
        int(pct_start * transition_steps)  peak_value
        int(pct_final * transition_steps)  peak_value / div_factor
        transition_steps, and later        peak_value / (div_factor * final_div_factor)

    Args:
      transition_steps: the length of the cycle, at least 1.
      peak_value: the greatest value.
      pct_start: where the value has risen to its peak, as a fraction in [0, 1) of the cycle.
      pct_final: where it is back at its initial value, as a fraction in [0, 1) of the cycle.
      div_factor: the peak over the initial value, > 0.
      final_div_factor: the initial over the final value, > 0.

    Returns:
      The `piecewise_interpolate_schedule` of these boundaries.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range, or fractions between which there is no whole step.

    Reference:
      Smith & Topin, Super-Convergence, 2017, section 3.

    Example:
      >>> import adamx
      >>> schedule = adamx.linear_onecycle_schedule(100, 1.0, div_factor=4.0)
      >>> [round(float(schedule(t)), 4) for t in (0, 15, 30, 85, 100)]
      [0.25, 0.625, 1.0, 0.25, 0.0]
    """
    owner = "linear_onecycle_schedule"
    rise, fall, end = _phase_ends(owner, transition_steps, pct_start=pct_start, pct_final=pct_final)
    factor, final = _factors(owner, div_factor=div_factor, final_div_factor=final_div_factor)
    peak = fields.check_number(Where(owner, "peak_value"), peak_value, fields.REAL)
    return PiecewiseInterpolateSchedule(
        "linear", peak / factor, {rise: factor, fall: 1.0 / factor, end: 1.0 / final}
    )


def cosine_onecycle_schedule(
    transition_steps: float,
    peak_value: Number,
    pct_start: float = 0.3,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> PiecewiseInterpolateSchedule:
    """Half a cosine up to `peak_value`, and half a cosine down to almost nothing.

        step                               value
        0                                  peak_value / div_factor
        int(pct_start * transition_steps)  peak_value
        transition_steps, and later        peak_value / (div_factor * final_div_factor)

    Args:
      transition_steps: the length of the cycle, at least 1.
      peak_value: the greatest value.
      pct_start: where the value has risen to its peak, as a fraction in [0, 1) of the cycle.
      div_factor: the peak over the initial value, > 0.
      final_div_factor: the initial over the final value, > 0.

    Returns:
      The `piecewise_interpolate_schedule` of these boundaries.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range, or a fraction that leaves a phase without a step.

    Reference:
      Smith & Topin, Super-Convergence, 2017, section 3.

    Example:
      >>> import adamx
      >>> schedule = adamx.cosine_onecycle_schedule(100, 1.0, div_factor=4.0)
      >>> [round(float(schedule(t)), 4) for t in (0, 15, 30, 65, 100)]
      [0.25, 0.625, 1.0, 0.5, 0.0]
    """
    owner = "cosine_onecycle_schedule"
    rise, end = _phase_ends(owner, transition_steps, pct_start=pct_start)
    factor, final = _factors(owner, div_factor=div_factor, final_div_factor=final_div_factor)
    peak = fields.check_number(Where(owner, "peak_value"), peak_value, fields.REAL)
    return PiecewiseInterpolateSchedule(
        "cosine", peak / factor, {rise: factor, end: 1.0 / (factor * final)}
    )
