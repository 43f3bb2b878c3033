"""From one value to another along a straight line or a power of it."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import (
    Shares,
    blend,
    fit,
    length,
    proportion,
    step_count,
    steps_since,
    straight,
    to_the_power,
)


def _end(init: Number, end: Number, steps: Any) -> Number:
    """Where a transition ends; one of no steps does not take place, as in optax."""
    if isinstance(steps, (int, float)):
        return end if steps else init
    return jnp.where(steps == 0, init, end)


class LinearSchedule(Schedule):
    """A straight line from `init_value` to `end_value`, constant before and after.

        init_value + (end_value - init_value) * t / transition_steps

    with t = count - transition_begin, held between 0 and `transition_steps`.

    Args:
      init_value: the value up to step `transition_begin`.
      end_value: the value from step `transition_begin + transition_steps` on.
      transition_steps: the length of the line; with 0 the value stays at `init_value`.
      transition_begin: the step at which it begins, at least 0.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a negative number of steps. (optax returns a constant schedule.)

    Example:
      >>> import adamx
      >>> schedule = adamx.linear_schedule(1.0, 0.5, 10, transition_begin=5)
      >>> [float(schedule(t)) for t in (0, 5, 10, 15, 20)]
      [1.0, 1.0, 0.75, 0.5, 0.5]
    """

    init_value: Number = fields.number()
    end_value: Number = fields.number()
    transition_steps: float = fields.child(length(0))
    transition_begin: float = fields.child(length(0), default=0)

    def __call__(self, count: Count) -> chex.Array:
        init, end = scalar(self.init_value, "init_value"), scalar(self.end_value, "end_value")
        return blend(
            init,
            _end(init, end, self.transition_steps),
            straight(step_count(count), self.transition_begin, self.transition_steps),
        )


linear_schedule = LinearSchedule


def _stretched(count: chex.Array, begin: Any, steps: Any) -> Shares:
    """A straight line over the least multiple of `steps` that is not yet over."""
    done, steps = steps_since(count, begin), jnp.maximum(fit(steps, count), 1)
    return proportion(done, jnp.where(done == 0, steps, -done % steps))


class PolynomialSchedule(Schedule):
    """A power of a falling straight line, from `init_value` to `end_value`.

        end_value + (init_value - end_value) * (1 - t / T)**power

    with T = transition_steps and t = count - transition_begin, held between 0 and T.

    Args:
      init_value: the value up to step `transition_begin`.
      end_value: the value from step `transition_begin + transition_steps` on.
      power: the power, >= 0; with 0 the value stays at `init_value`.
      transition_steps: the length T of the transition; with 0 the value stays at `init_value`.
      transition_begin: the step at which it begins, at least 0.
      cycle: instead of staying at `end_value`, start over from a lower value each time it is
        passed: t is not held at T, but T is `transition_steps * max(ceil(t /
        transition_steps), 1)`. This is the `cycle` of `PolynomialDecay` in Keras.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range. (optax returns a constant schedule for negative
        `transition_steps`.)

    Example:
      >>> import adamx
      >>> schedule = adamx.polynomial_schedule(1.0, 0.0, 2.0, 10)
      >>> [float(schedule(t)) for t in (0, 5, 10, 20)]
      [1.0, 0.25, 0.0, 0.0]
      >>> schedule = adamx.polynomial_schedule(1.0, 0.0, 2.0, 10, cycle=True)
      >>> [float(schedule(t)) for t in (0, 5, 10, 15, 20)]
      [1.0, 0.25, 0.0, 0.0625, 0.0]
    """

    init_value: Number = fields.number()
    end_value: Number = fields.number()
    power: Number = fields.number(fields.NONNEGATIVE)
    transition_steps: float = fields.child(length(0))
    transition_begin: float = fields.child(length(0), default=0)
    cycle: bool = fields.switch(default=False, kw_only=True)

    def __call__(self, count: Count) -> chex.Array:
        line = _stretched if self.cycle else straight
        shares = line(step_count(count), self.transition_begin, self.transition_steps)
        init, end = scalar(self.init_value, "init_value"), scalar(self.end_value, "end_value")
        return blend(
            init,
            _end(init, end, self.transition_steps),
            to_the_power(shares, scalar(self.power, "power")),
        )


polynomial_schedule = PolynomialSchedule
