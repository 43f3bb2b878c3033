"""Half a cosine, with and without a warm-up before it (Loshchilov & Hutter 2017, eq. 5)."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Count, Number, Schedule, scalar


def half_cosine(progress: chex.Array) -> chex.Array:
    """(1 + cos(pi * progress)) / 2 with progress held in [0, 1]: 1 at the start, 0 at the end.

    Written as cos(pi/2 * progress)**2, which stays accurate near the end.
    """
    return jnp.square(jnp.cos(jnp.pi / 2 * jnp.clip(progress, 0.0, 1.0)))


class CosineDecaySchedule(Schedule):
    """init_value * ((1 - alpha) * ((1 + cos(pi * t / decay_steps)) / 2)**exponent + alpha)."""

    init_value: Number = fields.number()
    decay_steps: int = fields.count(1)
    alpha: Number = fields.number()
    exponent: Number = fields.number()

    def __call__(self, count: Count) -> chex.Array:
        alpha = scalar(self.alpha, "alpha")
        shape = half_cosine(jnp.asarray(count, float) / self.decay_steps)
        shape = shape ** scalar(self.exponent, "exponent")
        return scalar(self.init_value, "init_value") * ((1.0 - alpha) * shape + alpha)


class WarmupCosineDecaySchedule(Schedule):
    """A straight line to `peak_value`, then half a cosine to `end_value`."""

    init_value: Number = fields.number()
    peak_value: Number = fields.number()
    warmup_steps: int = fields.count(0)
    decay_steps: int = fields.count(1)
    end_value: Number = fields.number()
    exponent: Number = fields.number()

    def check_together(self) -> None:
        steps = (self.decay_steps, self.warmup_steps)
        if all(isinstance(n, int) for n in steps) and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"{self.public_name}: `decay_steps` includes the warm-up, so "
                f"it must be greater than `warmup_steps` ({self.warmup_steps}), "
                f"got {self.decay_steps}"
            )

    def __call__(self, count: Count) -> chex.Array:
        t = jnp.asarray(count, float)
        init = scalar(self.init_value, "init_value")
        peak = scalar(self.peak_value, "peak_value")
        end = scalar(self.end_value, "end_value")
        rise = init + (peak - init) * (t / jnp.maximum(self.warmup_steps, 1))
        progress = (t - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
        fall = end + (peak - end) * half_cosine(progress) ** scalar(self.exponent, "exponent")
        return jnp.where(t < self.warmup_steps, rise, fall)


def cosine_decay_schedule(
    init_value: Number, decay_steps: int, alpha: Number = 0.0, exponent: Number = 1.0
) -> CosineDecaySchedule:
    """Half a cosine from `init_value` down to `alpha * init_value`.

        init_value * ((1 - alpha) * ((1 + cos(pi * t / decay_steps)) / 2)**exponent + alpha)

    with t = min(count, decay_steps); constant afterwards.

    Args:
      init_value: the value at step 0.
      decay_steps: the number of steps to the end of the decay, at least 1.
      alpha: the end value as a fraction of `init_value`.
      exponent: the power to which the half cosine is raised.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: `decay_steps` below 1.

    Reference:
      Loshchilov & Hutter, SGDR, 2017, equation 5.

    Example:
      >>> import adamx
      >>> schedule = adamx.cosine_decay_schedule(1.0, 100)
      >>> [round(float(schedule(t)), 4) for t in (0, 25, 50, 100, 200)]
      [1.0, 0.8536, 0.5, 0.0, 0.0]
    """
    return CosineDecaySchedule.checked(
        init_value=init_value, decay_steps=decay_steps, alpha=alpha, exponent=exponent
    )


def warmup_cosine_decay_schedule(
    init_value: Number,
    peak_value: Number,
    warmup_steps: int,
    decay_steps: int,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
) -> WarmupCosineDecaySchedule:
    """A straight line to `peak_value` over the warm-up, then half a cosine to `end_value`.

        t < warmup_steps:  init_value + (peak_value - init_value) * t / warmup_steps
        otherwise:         end_value + (peak_value - end_value)
                             * ((1 + cos(pi * s)) / 2)**exponent

    with s = (t - warmup_steps) / (decay_steps - warmup_steps), held at 1 afterwards.

    Args:
      init_value: the value at step 0.
      peak_value: the value at step `warmup_steps`.
      warmup_steps: the length of the rise, at least 0.
      decay_steps: the length of the whole schedule, the warm-up included.
      end_value: the value from step `decay_steps` on.
      exponent: the power to which the half cosine is raised.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: `decay_steps` not greater than `warmup_steps`, or a negative number of steps.

    Reference:
      Loshchilov & Hutter, SGDR, 2017, equation 5; Goyal et al., 2017, section 2.2 (warm-up).

    Example:
      >>> import adamx
      >>> schedule = adamx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110)
      >>> [round(float(schedule(t)), 4) for t in (0, 5, 10, 60, 110)]
      [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return WarmupCosineDecaySchedule.checked(
        init_value=init_value,
        peak_value=peak_value,
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        end_value=end_value,
        exponent=exponent,
    )
