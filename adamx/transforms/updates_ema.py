"""Running averages and sums of the updates: momentum without a second moment."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.hyperparameter import (
    Hyperparameter,
    Number,
    ScalarOrSchedule,
    hyperparameter,
    one_minus_power,
    resolve,
)
from adamx.core.transformation import GradientTransformation, Params, State, Updates


def _zeros(params: Params, dtype: str | None) -> Updates:
    return tree.zeros_like_moment(params, lambda p: numerics.moment_dtype(p, dtype))


class EmaState(NamedTuple):
    """The running average of the updates."""

    count: chex.Array  # int32[], steps taken
    ema: Updates  # like the parameters, at least float32 by default; None where nothing is trained


class _Weights(NamedTuple):
    decay: Number
    rest: Number  # 1 - decay
    scale: Number  # 1 over the weight gathered so far


def _average(s: _Weights, g: chex.Array, ema: chex.Array) -> tuple[chex.Array, chex.Array]:
    ema = s.decay * ema + s.rest * g
    return s.scale * ema, ema


class Ema(GradientTransformation):
    """ema <- decay * ema + (1 - decay) * u, with its bias corrected."""

    decay: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    debias: bool = fields.switch(default=True)
    accumulator_dtype: str | None = fields.dtype()

    def init(self, params: Params) -> State:
        return EmaState(count=jnp.zeros((), jnp.int32), ema=_zeros(params, self.accumulator_dtype))

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.check_state(self.public_name, state, EmaState)
        decay = resolve(self.decay, state.count, "decay")
        count = numerics.safe_increment(state.count)
        gathered = one_minus_power(decay, count)
        weights = _Weights(decay, 1.0 - decay, 1.0 / gathered if self.debias else 1.0)
        updates, ema = tree.update_leaves(
            self.public_name, _average, updates, [state.ema], weights, params
        )
        return updates, EmaState(count=count, ema=ema)


class TraceState(NamedTuple):
    """The decaying sum of the updates."""

    trace: (
        Updates  # like the parameters, at least float32 by default; None where nothing is trained
    )


def _sum(decay: Number, g: chex.Array, trace: chex.Array) -> tuple[chex.Array, chex.Array]:
    trace = g + decay * trace
    return trace, trace


def _nesterov(decay: Number, g: chex.Array, trace: chex.Array) -> tuple[chex.Array, chex.Array]:
    trace = g + decay * trace
    return g + decay * trace, trace


class Trace(GradientTransformation):
    """trace <- u + decay * trace."""

    decay: Number = fields.number(fields.DECAY_RATE)
    nesterov: bool = fields.switch()
    accumulator_dtype: str | None = fields.dtype()

    def init(self, params: Params) -> State:
        return TraceState(trace=_zeros(params, self.accumulator_dtype))

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.check_state(self.public_name, state, TraceState)
        updates, trace = tree.update_leaves(
            self.public_name,
            _nesterov if self.nesterov else _sum,
            updates,
            [state.trace],
            resolve(self.decay, 0, "decay"),
            params,
        )
        return updates, TraceState(trace=trace)


def ema(decay: ScalarOrSchedule, debias: bool = True, accumulator_dtype: Any = None) -> Ema:
    """Replaces the updates by their exponential moving average.

        m_t = decay * m_{t-1} + (1 - decay) * u_t
        u_t <- m_t / (1 - decay**t)        with debias, else m_t

    Args:
      decay: a number in [0, 1), a scalar array or a schedule of the 0-based step count; a
        schedule's decay at step t enters the correction as decay_t**t.
      debias: correct for the average having started at 0.
      accumulator_dtype: a floating dtype for the average; None keeps the parameters' with at
        least float32.

    Returns:
      A transformation with state `EmaState(count, ema)`.

    Raises:
      ValueError: a decay outside [0, 1), a dtype that is not floating.
      TypeError: not a number, array or schedule; not a dtype.

    Reference:
      Kingma & Ba, Adam, 2015, Algorithm 1, first moment.

    Example:
      >>> import adamx
      >>> tx = adamx.ema(0.5)
      >>> u, state = tx.update(1.0, tx.init(0.0))
      >>> float(u), float(state.ema)
      (1.0, 0.5)
    """
    return Ema.checked(decay=decay, debias=debias, accumulator_dtype=accumulator_dtype)


def trace(decay: Number, nesterov: bool = False, accumulator_dtype: Any = None) -> Trace:
    """Replaces the updates by a decaying sum of them: the momentum of SGD.

        m_t = u_t + decay * m_{t-1}
        u_t <- m_t        or u_t + decay * m_t with nesterov

    Args:
      decay: a number in [0, 1) or a scalar array.
      nesterov: look one step ahead.
      accumulator_dtype: a floating dtype for the sum; None keeps the parameters' with at least
        float32.

    Returns:
      A transformation with state `TraceState(trace)`.

    Raises:
      ValueError: a decay outside [0, 1), a dtype that is not floating.
      TypeError: not a number or array; not a dtype.

    Reference:
      Sutskever et al., On the importance of initialization and momentum in deep learning, 2013,
      section 2.

    Example:
      >>> import adamx
      >>> tx = adamx.trace(0.5)
      >>> _, state = tx.update(2.0, tx.init(0.0))
      >>> float(tx.update(1.0, state)[0])
      2.0
    """
    return Trace.checked(decay=decay, nesterov=nesterov, accumulator_dtype=accumulator_dtype)
