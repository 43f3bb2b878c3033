"""Decay like 1 / count, and like the square root of that."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import fit, length, periods, step_count
from adamx.schedules.warmup import WarmupSchedule


class InverseTimeDecay(Schedule):
    """Division by a number that grows with the step count.

        init_value / (1 + decay_rate * count / decay_steps)

    with `count / decay_steps` rounded down with `staircase`. With `decay_steps` 1 this is the
    `decay` argument of the older Keras optimizers, `lr / (1 + decay * iterations)`.

    Args:
      init_value: the value at step 0.
      decay_rate: the growth of the divisor in `decay_steps` steps, >= 0.
      decay_steps: the length of a period, at least 1.
      staircase: decay at the end of each period instead of gradually.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range.

    Example:
      >>> import adamx
      >>> schedule = adamx.inverse_time_decay(1.0, decay_rate=0.5, decay_steps=10)
      >>> [float(schedule(t)) for t in (0, 20, 60)]
      [1.0, 0.5, 0.25]
    """

    init_value: Number = fields.number()
    decay_rate: Number = fields.number(fields.NONNEGATIVE)
    decay_steps: float = fields.child(length(1), default=1)
    staircase: bool = fields.switch(default=False)

    def __call__(self, count: Count) -> chex.Array:
        passed = periods(step_count(count), 0, self.decay_steps, self.staircase)
        slowed = 1.0 + scalar(self.decay_rate, "decay_rate") * passed
        return scalar(self.init_value, "init_value") / slowed


inverse_time_decay = InverseTimeDecay


class InverseSqrtSchedule(WarmupSchedule):
    """A straight line to `peak_value`, then decay with the inverse square root of the count.

        t < warmup_steps:  init_value + (peak_value - init_value) * t / warmup_steps
        otherwise:         peak_value * sqrt(w / max(t, w)),  w = max(warmup_steps, 1)

    The Transformer's own schedule, `d_model**-0.5 * min(n**-0.5, n * warmup_steps**-1.5)`, counts
    its steps n from 1: it is `shift_schedule(inverse_sqrt_schedule(0.0, (d_model *
    warmup_steps)**-0.5, warmup_steps), -1)`.

    Args:
      init_value: the value at step 0.
      peak_value: the value at step `warmup_steps`.
      warmup_steps: the length of the rise, at least 0.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a negative `warmup_steps`.

    Reference:
      Vaswani et al., Attention Is All You Need, 2017, equation 3.

    Example:
      >>> import adamx
      >>> schedule = adamx.inverse_sqrt_schedule(0.0, 1.0, 100)
      >>> [float(schedule(t)) for t in (0, 50, 100, 400)]
      [0.0, 0.5, 1.0, 0.5]
    """

    def after_warmup(self, count: chex.Array, peak: Number) -> Number:
        knee = jnp.maximum(fit(self.warmup_steps, count), 1)
        ratio = jnp.asarray(knee, float) / jnp.asarray(jnp.maximum(count, knee), float)
        return peak * jnp.sqrt(ratio)


inverse_sqrt_schedule = InverseSqrtSchedule
