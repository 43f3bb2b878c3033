"""Schedules made of schedules: one after the other, scaled, shifted in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Count,
    ScalarOrSchedule,
    Schedule,
    as_schedule,
    scalar,
)
from adamx.schedules.shapes import check_length, fit, largest, step_count, steps_since

_FARTHEST = 2**31 - 1  # as an int32 on every device


def _check_schedules(where: Where, value: object) -> tuple[Schedule, ...]:
    given = fields.items(where, "schedules, one at least", value)
    if not given:
        raise where.error(ValueError, "schedules, one at least", value)
    return tuple(
        as_schedule(Where(where.owner, f"{where.argument}[{i}]"), schedule)
        for i, schedule in enumerate(given)
    )


def _check_boundaries(where: Where, value: object) -> tuple[float, ...]:
    boundaries = tuple(
        check_length(Where(where.owner, f"{where.argument}[{i}]"), boundary, 0)
        for i, boundary in enumerate(fields.items(where, "numbers of steps", value))
    )
    for before, after in pairwise(boundaries):
        if fields.is_number(before) and fields.is_number(after) and after < before:
            raise where.error(ValueError, "in increasing order", value)
    return boundaries


class JoinSchedules(Schedule):
    """One schedule after the other.

        schedules[0](count)                       for count < boundaries[0]
        schedules[i + 1](count - boundaries[i])   for boundaries[i] <= count < boundaries[i + 1]

    Each schedule counts from its own start, and never sees a negative count.

    Args:
      schedules: schedules, or other functions of the step count.
      boundaries: the steps at which the second and later ones start, one fewer than schedules.

    Raises:
      TypeError: something that is not a function, or a boundary that is not a number.
      ValueError: a wrong number of boundaries, a negative one, or boundaries that decrease.

    Example:
      >>> import adamx
      >>> flat = adamx.constant_schedule(1.0)
      >>> schedule = adamx.join_schedules([flat, adamx.linear_schedule(1.0, 0.0, 4)], [10])
      >>> [float(schedule(t)) for t in (0, 9, 10, 11, 14)]
      [1.0, 1.0, 1.0, 0.75, 0.0]
    """

    schedules: Iterable[Callable[[Any], Any]] = fields.child(_check_schedules)
    boundaries: Iterable[float] = fields.child(_check_boundaries)

    def check_together(self) -> None:
        schedules, boundaries = tuple(self.schedules), tuple(self.boundaries)
        if len(boundaries) != len(schedules) - 1:
            raise ValueError(
                f"{self.public_name}: {len(schedules)} schedules have "
                f"{len(schedules) - 1} `boundaries` between them, got {len(boundaries)}"
            )

    def __call__(self, count: Count) -> chex.Array:
        count = step_count(count)
        first, *others = self.schedules
        value: chex.Array = first(count)
        for boundary, schedule in zip(self.boundaries, others, strict=True):
            later = schedule(steps_since(count, boundary))
            value = jnp.where(count < fit(boundary, count), value, later)
        return value


join_schedules = JoinSchedules


class ScaleSchedule(Schedule):
    """A schedule times a number, or times another schedule: `schedule(count) * factor`.

    Args:
      schedule: a schedule, or another function of the step count.
      factor: a number, a scalar array or a schedule.

    Raises:
      TypeError: `schedule` is not a function; `factor` is not a number, array or schedule.
      ValueError: an infinite `factor`.

    Example:
      >>> import adamx
      >>> schedule = adamx.scale_schedule(adamx.linear_schedule(1.0, 0.0, 4), 0.5)
      >>> float(schedule(2))
      0.25
    """

    schedule: Callable[[Any], Any] = fields.child(as_schedule)
    factor: ScalarOrSchedule = fields.hyperparameter()

    def __call__(self, count: Count) -> chex.Array:
        factor = self.factor(count) if callable(self.factor) else scalar(self.factor, "factor")
        value: chex.Array = self.schedule(count) * factor
        return value


scale_schedule = ScaleSchedule


class ShiftSchedule(Schedule):
    """A schedule that starts later, or in its middle: `schedule(max(count - steps, 0))`.

    Args:
      schedule: a schedule, or another function of the step count.
      steps: how many steps later it starts; a negative number skips its first steps, as when
        training goes on with a new count.

    Raises:
      TypeError: `schedule` is not a function, or `steps` is not a whole number.
      ValueError: `steps` below -(2**31 - 1).

    Example:
      >>> import adamx
      >>> schedule = adamx.shift_schedule(adamx.linear_schedule(1.0, 0.0, 4), -2)
      >>> [float(schedule(t)) for t in (0, 1, 2)]
      [0.5, 0.25, 0.0]
    """

    schedule: Callable[[Any], Any] = fields.child(as_schedule)
    steps: int = fields.count(-_FARTHEST)

    def __call__(self, count: Count) -> chex.Array:
        own = step_count(count)
        steps = fit(self.steps, own)
        # Shifted to the left, a count near the largest integer stays there instead of wrapping.
        room = jnp.asarray(largest(own), own.dtype) + jnp.minimum(steps, 0)
        value: chex.Array = self.schedule(steps_since(jnp.minimum(own, room), steps))
        return value


shift_schedule = ShiftSchedule
