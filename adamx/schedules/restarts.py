"""Cosines that start over (Loshchilov & Hutter 2017)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np

from adamx.core import fields
from adamx.core.fields import Interval, Where
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.cosine import WarmupCosineDecaySchedule
from adamx.schedules.joining import JoinSchedules
from adamx.schedules.shapes import (
    Shares,
    blend,
    fit,
    geometric,
    half_cosine,
    largest,
    proportion,
    step_count,
    steps_since,
)

_LEAST_GROWTH = 1.001


def _check_growth(where: Where, value: Any) -> float:
    """The growth of the periods: it decides how many there can be, so it cannot be traced."""
    if not fields.is_number(value):
        raise where.error(TypeError, "a Python number", value)
    if value == 1.0:
        return 1.0
    if float(value) not in Interval(_LEAST_GROWTH, math.inf):
        raise where.error(ValueError, f"1 or in [{_LEAST_GROWTH}, inf)", value)
    return float(value)


def _starts(growth: float, limit: float) -> np.ndarray:
    """Where the periods start, up to `limit`, in units of the first: 0, 1, 1 + growth, ..."""
    limit = min(limit, 2.0**53)  # up to which whole starts are exact
    number = math.ceil(math.log1p((growth - 1.0) * limit) / math.log(growth)) + 1
    starts = np.concatenate([[0.0], np.cumsum(growth ** np.arange(number, dtype=np.float64))])
    return starts[starts <= limit]


def _period(count: chex.Array, first: Any, growth: float) -> tuple[chex.Array, Shares]:
    """Which period it is, and the shares along a straight line through it.

    `count` is cut into whole first periods and a rest, both integers; so are the starts, apart
    from the fractions that a fractional growth leaves.
    """
    firsts, rest = count // first, count % first
    if growth == 1.0:
        return firsts, proportion(rest, first - rest)
    starts = _starts(growth, largest(count))
    whole = jnp.asarray(np.floor(starts), count.dtype)
    part = jnp.asarray(starts - np.floor(starts), float)
    first_steps, rest_steps = jnp.asarray(first, float), jnp.asarray(rest, float)
    # Lexicographic: whole + part <= firsts + rest / first.
    begun = jnp.where(
        whole == firsts[..., None],
        part * first_steps <= rest_steps[..., None],
        whole < firsts[..., None],
    )
    index = jnp.sum(begun, axis=-1) - 1
    done = (firsts - whole[index]) + (rest_steps / first_steps - part[index])
    end = done / jnp.asarray(growth ** np.arange(len(starts), dtype=np.float64), float)[index]
    return index, Shares(1.0 - end, end)


class CosineRestartsSchedule(Schedule):
    """Half a cosine that starts over for ever, each time longer.

        init_value * ((1 - alpha) * m_mul**i * (1 + cos(pi * s / T_i)) / 2 + alpha)

    where T_i = first_decay_steps * t_mul**i is the length of period i and s the number of steps
    since its start: T_0 + ... + T_{i-1} <= count. This is `CosineDecayRestarts` of Keras; the
    starts are found in integers, so that no restart is early or late, however large the count.

    Args:
      init_value: the value at step 0.
      first_decay_steps: the length of the first period, at least 1.
      t_mul: the growth of the periods, 1 or at least 1.001; static, because it decides how many
        restarts there can be. (A fractional one leaves periods of fractional length.)
      m_mul: the factor of the height from one period to the next, > 0.
      alpha: the value at the end of each period as a fraction of `init_value`.

    Raises:
      TypeError: an argument of the wrong kind, a traced `t_mul` included.
      ValueError: a number outside its range.

    Reference:
      Loshchilov & Hutter, SGDR, 2017, equation 5 and section 3 (T_mult).

    Example:
      >>> import adamx
      >>> schedule = adamx.cosine_restarts_schedule(1.0, 10, m_mul=0.5)
      >>> [round(float(schedule(t)), 4) for t in (0, 5, 10, 20, 30)]
      [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    init_value: Number = fields.number()
    first_decay_steps: int = fields.count(1)
    t_mul: float = fields.static(_check_growth, default=2.0)
    m_mul: Number = fields.number(fields.POSITIVE, default=1.0)
    alpha: Number = fields.number(default=0.0)

    def __call__(self, count: Count) -> chex.Array:
        count = steps_since(step_count(count), 0)
        period, shares = _period(count, fit(self.first_decay_steps, count), self.t_mul)
        init, alpha = scalar(self.init_value, "init_value"), scalar(self.alpha, "alpha")
        height = geometric(scalar(self.m_mul, "m_mul"), jnp.asarray(period, float))
        top = init * ((1.0 - alpha) * height + alpha)
        return blend(top, init * alpha, half_cosine(shares))


cosine_restarts_schedule = CosineRestartsSchedule


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> JoinSchedules:
    """Cosines with warm-up, one after the other: stochastic gradient descent with warm restarts.

    Args:
      cosine_kwargs: for each cycle, the arguments of `warmup_cosine_decay_schedule`; its
        `decay_steps` is the length of the cycle, the warm-up included.

    Returns:
      The `join_schedules` of the cycles.

    Raises:
      TypeError: not dicts of such arguments.
      ValueError: no cycle, or a number outside its range.

    Reference:
      Loshchilov & Hutter, SGDR, 2017, section 3.

    Example:
      >>> import adamx
      >>> cycle = dict(init_value=0.0, peak_value=1.0, warmup_steps=2, decay_steps=10)
      >>> schedule = adamx.sgdr_schedule([cycle, dict(cycle, peak_value=0.5)])
      >>> [float(schedule(t)) for t in (0, 2, 10, 12, 20)]
      [0.0, 1.0, 0.0, 0.5, 0.0]
    """
    where = Where("sgdr_schedule", "cosine_kwargs")
    wanted = "dicts with the arguments of `warmup_cosine_decay_schedule`"
    given = fields.items(where, wanted, cosine_kwargs)
    if not given:
        raise where.error(ValueError, "one dict at least", cosine_kwargs)
    for kwargs in given:
        if not isinstance(kwargs, Mapping):
            raise where.error(TypeError, wanted, kwargs)
        try:
            inspect.signature(WarmupCosineDecaySchedule).bind(**kwargs)
        except TypeError as error:
            raise TypeError(f"{where.error(TypeError, wanted, kwargs)}: {error}") from None
    cycles = [WarmupCosineDecaySchedule(**kwargs) for kwargs in given]
    *boundaries, _ = accumulate(cycle.decay_steps for cycle in cycles)
    return JoinSchedules(cycles, boundaries)
