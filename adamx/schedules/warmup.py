"""A rise from a small value (Goyal et al. 2017, section 2.2), then a plateau or a straight fall."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import Shares, blend, fit, length, step_count, straight


class WarmupSchedule(Schedule, abstract=True):
    """A straight line from `init_value` to `peak_value`, then what the subclass does."""

    init_value: Number = fields.number()
    peak_value: Number = fields.number()
    warmup_steps: float = fields.child(length(0))

    def __call__(self, count: Count) -> chex.Array:
        count = step_count(count)
        steps = fit(self.warmup_steps, count)
        init = scalar(self.init_value, "init_value")
        peak = scalar(self.peak_value, "peak_value")
        rise = blend(init, peak, straight(count, 0, steps))
        return jnp.where(count < steps, rise, self.after_warmup(count, peak))

    def after_warmup(self, count: chex.Array, peak: Number) -> Number:
        """The value at step `count`, not before step `warmup_steps`."""
        raise NotImplementedError(type(self).__name__)


class WarmupDecaySchedule(WarmupSchedule, abstract=True):
    """After the warm-up a fall to `end_value`, in the shape that the subclass gives it."""

    decay_steps: float = fields.child(length(0))
    end_value: Number = fields.number(default=0.0)

    def check_together(self) -> None:
        steps = (self.decay_steps, self.warmup_steps)
        if all(isinstance(n, (int, float)) for n in steps) and steps[0] < steps[1]:
            raise ValueError(
                f"{self.public_name}: `decay_steps` includes the warm-up, so it must be at least "
                f"`warmup_steps` ({steps[1]}), got {steps[0]}"
            )

    def shape(self, fall: Shares) -> Shares:
        """The shares of both values on the way down, given those of a straight line."""
        return fall

    def after_warmup(self, count: chex.Array, peak: Number) -> Number:
        fall = straight(count, self.warmup_steps, self.decay_steps - self.warmup_steps)
        return blend(peak, scalar(self.end_value, "end_value"), self.shape(fall))


class WarmupConstantSchedule(WarmupSchedule):
    """A straight line from `init_value` to `peak_value`, constant afterwards.

        init_value + (peak_value - init_value) * min(count / warmup_steps, 1)

    Without a warm-up (`warmup_steps` 0) the value is `peak_value` from the first step on.

    Args:
      init_value: the value at step 0.
      peak_value: the value from step `warmup_steps` on.
      warmup_steps: the length of the rise, at least 0.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a negative `warmup_steps`.

    Reference:
      Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2.

    Example:
      >>> import adamx
      >>> schedule = adamx.warmup_constant_schedule(0.0, 1.0, 4)
      >>> [float(schedule(t)) for t in (0, 1, 4, 9)]
      [0.0, 0.25, 1.0, 1.0]
    """

    def after_warmup(self, count: chex.Array, peak: Number) -> Number:
        return peak


warmup_constant_schedule = WarmupConstantSchedule


class WarmupLinearDecaySchedule(WarmupDecaySchedule):
    """A straight line to `peak_value` over the warm-up, then one to `end_value`.

        t < warmup_steps:  init_value + (peak_value - init_value) * t / warmup_steps
        otherwise:         peak_value + (end_value - peak_value) * s

    with s = (t - warmup_steps) / (decay_steps - warmup_steps), held at 1 afterwards.

    Args:
      init_value: the value at step 0.
      peak_value: the value at step `warmup_steps`.
      warmup_steps: the length of the rise, at least 0.
      decay_steps: the length of the whole schedule, the warm-up included; if it is as long as the
        warm-up, `end_value` follows at once.
      end_value: the value from step `decay_steps` on.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: `decay_steps` less than `warmup_steps`, or a negative number of steps.

    Reference:
      Devlin et al., BERT, 2019, appendix A.2.

    Example:
      >>> import adamx
      >>> schedule = adamx.warmup_linear_decay_schedule(0.0, 1.0, 4, 8)
      >>> [float(schedule(t)) for t in (0, 2, 4, 5, 8, 9)]
      [0.0, 0.5, 1.0, 0.75, 0.0, 0.0]
    """


warmup_linear_decay_schedule = WarmupLinearDecaySchedule
