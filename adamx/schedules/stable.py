"""Warm-up, a long plateau and a short cooldown ("WSD", the trapezoid)."""

from __future__ import annotations

import chex

from adamx.core import fields
from adamx.core.hyperparameter import Number, scalar
from adamx.schedules.shapes import SHAPES, blend, length, shape_name, steps_since, straight
from adamx.schedules.warmup import WarmupSchedule


class WarmupStableDecaySchedule(WarmupSchedule):
    """A straight line to `peak_value`, a plateau, then a cooldown to `end_value`.

        t < warmup_steps:  init_value + (peak_value - init_value) * t / warmup_steps
        otherwise:         end_value + (peak_value - end_value) * f(s)

    with s = (t - warmup_steps - stable_steps) / cooldown_steps, held between 0 and 1, and

        "linear":  f(s) = 1 - s
        "cosine":  f(s) = (1 + cos(pi * s)) / 2
        "1-sqrt":  f(s) = 1 - sqrt(s)

    The plateau can be prolonged, and several cooldowns started from it, without training anew.

    Args:
      init_value: the value at step 0.
      peak_value: the value on the plateau.
      warmup_steps: the length of the rise, at least 0.
      stable_steps: the length of the plateau, at least 0.
      cooldown_steps: the length of the fall, at least 0.
      end_value: the value after the fall.
      cooldown: the form of the fall, "linear", "cosine" or "1-sqrt".

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a number of steps below its minimum, or another `cooldown`.

    Reference:
      Hu et al., MiniCPM, 2024, section 4.2; Hägele et al., Scaling Laws and Compute-Optimal
      Training Beyond Fixed Training Durations, 2024, equation 1 and section 4 (1-sqrt).

    Example:
      >>> import adamx
      >>> schedule = adamx.warmup_stable_decay_schedule(0.0, 1.0, 2, 6, 4, cooldown="1-sqrt")
      >>> [float(schedule(t)) for t in (0, 1, 2, 8, 9, 12)]
      [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    stable_steps: float = fields.child(length(0))
    cooldown_steps: float = fields.child(length(0))
    end_value: Number = fields.number(default=0.0)
    cooldown: str = fields.static(shape_name("linear", "cosine", "1-sqrt"), default="linear")

    def after_warmup(self, count: chex.Array, peak: Number) -> Number:
        # One after the other: the sum of two lengths may be more than an integer holds.
        fall = straight(
            steps_since(count, self.warmup_steps), self.stable_steps, self.cooldown_steps
        )
        return blend(peak, scalar(self.end_value, "end_value"), SHAPES[self.cooldown](fall))


warmup_stable_decay_schedule = WarmupStableDecaySchedule
