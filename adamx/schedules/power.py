"""Powers of the step count."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import step_count


class PowerSchedule(Schedule):
    """A power of the number of steps taken: `scale * count**exponent`.

    Args:
      scale: the factor.
      exponent: the power; a negative one is infinite at count 0.

    Raises:
      TypeError: an argument that is not a number.

    Example:
      >>> import adamx
      >>> adamx.power_schedule(2.0, 0.5)(16)
      Array(8., dtype=float32)
    """

    scale: Number = fields.number()
    exponent: Number = fields.number()

    def __call__(self, count: Count) -> chex.Array:
        power = jnp.asarray(step_count(count), float) ** scalar(self.exponent, "exponent")
        return scalar(self.scale, "scale") * power


power_schedule = PowerSchedule
