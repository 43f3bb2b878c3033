"""A rise from a small value, then a plateau (Goyal et al. 2017, section 2.2)."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar


class WarmupConstantSchedule(Schedule):
    """A straight line to `peak_value`, constant afterwards."""

    init_value: Number = fields.number()
    peak_value: Number = fields.number()
    warmup_steps: int = fields.count(0)

    def __call__(self, count: Count) -> chex.Array:
        init = scalar(self.init_value, "init_value")
        peak = scalar(self.peak_value, "peak_value")
        t = jnp.asarray(count, float)
        rise = init + (peak - init) * (t / jnp.maximum(self.warmup_steps, 1))
        return jnp.where(t < self.warmup_steps, rise, peak)


def warmup_constant_schedule(
    init_value: Number, peak_value: Number, warmup_steps: int
) -> WarmupConstantSchedule:
    """A straight line from `init_value` to `peak_value`, constant afterwards.

        init_value + (peak_value - init_value) * min(count / warmup_steps, 1)

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
    return WarmupConstantSchedule.checked(
        init_value=init_value, peak_value=peak_value, warmup_steps=warmup_steps
    )
