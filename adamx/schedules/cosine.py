"""Half a cosine, with and without a warm-up before it (Loshchilov & Hutter 2017, eq. 5)."""

from __future__ import annotations

import chex

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import (
    Shares,
    blend,
    half_cosine,
    length,
    step_count,
    straight,
    to_the_power,
)
from adamx.schedules.warmup import WarmupDecaySchedule


class CosineDecaySchedule(Schedule):
    """Half a cosine from `init_value` down to `alpha * init_value`.

        init_value * ((1 - alpha) * ((1 + cos(pi * t / decay_steps)) / 2)**exponent + alpha)

    with t = min(count, decay_steps); constant afterwards.

    Args:
      init_value: the value at step 0.
      decay_steps: the number of steps to the end of the decay, at least 1.
      alpha: the end value as a fraction of `init_value`.
      exponent: the power to which the half cosine is raised, >= 0; with 0 nothing decays.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number outside its range.

    Reference:
      Loshchilov & Hutter, SGDR, 2017, equation 5.

    Example:
      >>> import adamx
      >>> schedule = adamx.cosine_decay_schedule(1.0, 100)
      >>> [round(float(schedule(t)), 4) for t in (0, 25, 50, 100, 200)]
      [1.0, 0.8536, 0.5, 0.0, 0.0]
    """

    init_value: Number = fields.number()
    decay_steps: float = fields.child(length(1))
    alpha: Number = fields.number(default=0.0)
    exponent: Number = fields.number(fields.NONNEGATIVE, default=1.0)

    def __call__(self, count: Count) -> chex.Array:
        init = scalar(self.init_value, "init_value")
        shares = half_cosine(straight(step_count(count), 0, self.decay_steps))
        shares = to_the_power(shares, scalar(self.exponent, "exponent"))
        return blend(init, init * scalar(self.alpha, "alpha"), shares)


cosine_decay_schedule = CosineDecaySchedule


class WarmupCosineDecaySchedule(WarmupDecaySchedule):
    """A straight line to `peak_value` over the warm-up, then half a cosine to `end_value`.

        t < warmup_steps:  init_value + (peak_value - init_value) * t / warmup_steps
        otherwise:         end_value + (peak_value - end_value)
                             * ((1 + cos(pi * s)) / 2)**exponent

    with s = (t - warmup_steps) / (decay_steps - warmup_steps), held at 1 afterwards. The fall ends
    at `end_value` whatever the peak. (optax stays at 0 for a `peak_value` of 0.)

    Args:
      init_value: the value at step 0.
      peak_value: the value at step `warmup_steps`.
      warmup_steps: the length of the rise, at least 0.
      decay_steps: the length of the whole schedule, the warm-up included; if it is as long as the
        warm-up, `end_value` follows at once.
      end_value: the value from step `decay_steps` on.
      exponent: the power to which the half cosine is raised, >= 0; with 0 nothing decays.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: `decay_steps` less than `warmup_steps`, or a number outside its range.

    Reference:
      Loshchilov & Hutter, SGDR, 2017, equation 5; Goyal et al., 2017, section 2.2 (warm-up).

    Example:
      >>> import adamx
      >>> schedule = adamx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110)
      >>> [round(float(schedule(t)), 4) for t in (0, 5, 10, 60, 110)]
      [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    exponent: Number = fields.number(fields.NONNEGATIVE, default=1.0)

    def shape(self, fall: Shares) -> Shares:
        return to_the_power(half_cosine(fall), scalar(self.exponent, "exponent"))


warmup_cosine_decay_schedule = WarmupCosineDecaySchedule
