"""Exponential decay, with and without a warm-up before it."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import geometric, length, periods, step_count, steps_since
from adamx.schedules.warmup import WarmupSchedule


def _check_bound(where: Where, value: object) -> Any:
    if value is None:
        return None
    return fields.check_number(where, value, fields.REAL, "a number or None")


def _decayed(init: Number, passed: chex.Array, rate: Number, bound: Number | None) -> chex.Array:
    """The value after `passed` periods, not beyond the bound."""
    value = init * geometric(rate, passed)
    if bound is None:
        return value
    bound = scalar(bound, "end_value")
    return jnp.where(rate < 1.0, jnp.maximum(value, bound), jnp.minimum(value, bound))


class ExponentialDecay(Schedule):
    """Multiplication by `decay_rate` every `transition_steps` steps, gradually or in stairs.

        init_value * decay_rate**(t / transition_steps)

    with t = max(count - transition_begin, 0); rounded down to whole periods with `staircase`.

    Args:
      init_value: the value up to step `transition_begin`.
      transition_steps: the length of a period; with 0 nothing decays.
      decay_rate: the factor of one period, > 0.
      transition_begin: the step at which the decay begins, at least 0.
      staircase: decay at the end of each period instead of gradually.
      end_value: the least value if `decay_rate` is below 1, the greatest otherwise.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range. (optax returns a constant schedule for a
        `decay_rate` of 0 or negative `transition_steps`.)

    Example:
      >>> import adamx
      >>> schedule = adamx.exponential_decay(1.0, 10, 0.25)
      >>> [round(float(schedule(t)), 4) for t in (0, 5, 10, 20)]
      [1.0, 0.5, 0.25, 0.0625]
    """

    init_value: Number = fields.number()
    transition_steps: float = fields.child(length(0))
    decay_rate: Number = fields.number(fields.POSITIVE)
    transition_begin: float = fields.child(length(0), default=0)
    staircase: bool = fields.switch(default=False)
    end_value: Number | None = fields.child(_check_bound, default=None)

    def __call__(self, count: Count) -> chex.Array:
        passed = periods(
            step_count(count), self.transition_begin, self.transition_steps, self.staircase
        )
        init, rate = scalar(self.init_value, "init_value"), scalar(self.decay_rate, "decay_rate")
        return _decayed(init, passed, rate, self.end_value)


exponential_decay = ExponentialDecay


class WarmupExponentialDecaySchedule(WarmupSchedule):
    """A straight line to `peak_value` over the warm-up, then exponential decay.

        t < warmup_steps:  init_value + (peak_value - init_value) * t / warmup_steps
        otherwise:         peak_value * decay_rate**(s / transition_steps)

    with s = max(t - warmup_steps - transition_begin, 0).

    Args:
      init_value: the value at step 0.
      peak_value: the value at step `warmup_steps`.
      warmup_steps: the length of the rise, at least 0.
      transition_steps, decay_rate, transition_begin, staircase, end_value: as in
        `exponential_decay`, with `transition_begin` counted from the end of the warm-up.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range.

    Reference:
      Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2 (warm-up).

    Example:
      >>> import adamx
      >>> schedule = adamx.warmup_exponential_decay_schedule(0.0, 1.0, 4, 10, 0.25)
      >>> [round(float(schedule(t)), 4) for t in (0, 2, 4, 9, 14)]
      [0.0, 0.5, 1.0, 0.5, 0.25]
    """

    transition_steps: float = fields.child(length(0))
    decay_rate: Number = fields.number(fields.POSITIVE)
    transition_begin: float = fields.child(length(0), default=0)
    staircase: bool = fields.switch(default=False)
    end_value: Number | None = fields.child(_check_bound, default=None)

    def after_warmup(self, count: chex.Array, peak: Number) -> Number:
        passed = periods(
            steps_since(count, self.warmup_steps),
            self.transition_begin,
            self.transition_steps,
            self.staircase,
        )
        return _decayed(peak, passed, scalar(self.decay_rate, "decay_rate"), self.end_value)


warmup_exponential_decay_schedule = WarmupExponentialDecaySchedule
