"""Schedules without a shape of their own."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar


class ConstantSchedule(Schedule):
    """The same value at every step.

    Args:
      value: the value, a number or scalar array.

    Raises:
      TypeError: `value` is not a number.

    Example:
      >>> import adamx
      >>> adamx.constant_schedule(0.1)(1000)
      Array(0.1, dtype=float32)
    """

    value: Number = fields.number()

    def __call__(self, count: Count) -> chex.Array:
        return jnp.asarray(scalar(self.value, "value"), float)


constant_schedule = ConstantSchedule
