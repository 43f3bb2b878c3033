"""The running mean and variance of a norm: what is usual, so that a spike can be told from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import numerics
from adamx.core.hyperparameter import Count, Number, one_minus_power
from adamx.core.norms import safe_sqrt


class NormStatistics(NamedTuple):
    """Exponentially weighted mean and variance of a norm, weights adding up to 1 from the start."""

    count: chex.Array  # int32[], norms seen
    mean: chex.Array  # float32[]
    variance: chex.Array  # float32[]


def init_statistics() -> NormStatistics:
    """The statistics of no norms at all."""
    return NormStatistics(
        count=jnp.zeros((), jnp.int32),
        mean=jnp.zeros((), jnp.float32),
        variance=jnp.zeros((), jnp.float32),
    )


def update_statistics(
    statistics: NormStatistics, norm: chex.Array, decay: Number
) -> NormStatistics:
    """The statistics with one more norm; one that is not finite is not counted.

        a_t = (1 - decay) / (1 - decay**t),  d_t = x_t - m_{t-1}
        m_t = m_{t-1} + a_t d_t
        v_t = (1 - a_t) (v_{t-1} + a_t d_t**2)

    which are the bias-corrected exponential averages of x and of (x - m_t)**2, without the
    cancellation of "mean of squares minus square of mean" (Finch, Incremental calculation of
    weighted mean and variance, 2009, section 9).
    """
    seen = jnp.isfinite(norm)
    count = numerics.safe_increment(statistics.count)
    # At most 1 also when rounded: the first variance is 0, not a little less.
    weight = jnp.minimum((1.0 - decay) / one_minus_power(decay, count.astype(jnp.float32)), 1.0)
    rest = 1.0 - weight
    norm = jnp.where(seen, norm, statistics.mean)
    d = norm - statistics.mean
    # In this order an infinite square is never multiplied by 0, and the largest float is kept.
    variance = rest * statistics.variance + (rest * weight * d) * d
    variance = jnp.minimum(variance, float(jnp.finfo(jnp.float32).max))

    def chosen(new: Any, old: chex.Array) -> chex.Array:
        return jnp.where(seen, new, old).astype(old.dtype)

    return NormStatistics(
        count=chosen(count, statistics.count),
        mean=chosen(statistics.mean + weight * d, statistics.mean),
        variance=chosen(variance, statistics.variance),
    )


def threshold(statistics: NormStatistics, num_std: Number, warmup_steps: Count) -> chex.Array:
    """mean + num_std * standard deviation; infinity until `warmup_steps` norms have been seen."""
    usual = statistics.mean + num_std * safe_sqrt(statistics.variance)
    return jnp.where(statistics.count < warmup_steps, jnp.inf, usual)
