"""Running averages and sums of the updates: momentum without a second moment."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex

from adamx.core import fields, numerics
from adamx.core.format import Float
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
    one_minus_power,
)
from adamx.core.link import Link, View
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import State, Updates


class EmaState(NamedTuple):
    """The running average of the updates."""

    count: chex.Array  # int32[], steps taken
    ema: Updates  # like the parameters, at least float32 by default; None where nothing is trained


class _Weights(NamedTuple):
    decay: Number
    rest: Number  # 1 - decay
    scale: Number  # 1 over the weight gathered so far


class Ema(Link):
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

    decay: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE)
    debias: bool = fields.switch(default=True)
    accumulator_dtype: DTypeLike | None = fields.dtype(default=None)

    def state_type(self) -> type[Any]:
        return EmaState

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("ema", format=Float(self.accumulator_dtype)),)

    def scalars(self, view: View, state: State) -> tuple[_Weights, dict[str, Any]]:
        (decay,) = self.now(state, "decay")
        gathered = one_minus_power(decay, numerics.safe_increment(state.count))
        return _Weights(decay, 1.0 - decay, 1.0 / gathered if self.debias else 1.0), {}

    def rule(
        self, s: _Weights, u: chex.Array, p: None, ema: chex.Array
    ) -> tuple[chex.Array, chex.Array]:
        ema = s.decay * ema + s.rest * u
        return s.scale * ema, ema


class TraceState(NamedTuple):
    """The decaying sum of the updates."""

    trace: (
        Updates  # like the parameters, at least float32 by default; None where nothing is trained
    )


class Trace(Link):
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

    decay: Number = fields.number(fields.DECAY_RATE)
    nesterov: bool = fields.switch(default=False)
    accumulator_dtype: DTypeLike | None = fields.dtype(default=None)

    def state_type(self) -> type[Any]:
        return TraceState

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("trace", format=Float(self.accumulator_dtype)),)

    def scalars(self, view: View, state: State) -> tuple[Number, dict[str, Any]]:
        (decay,) = self.now(state, "decay")
        return decay, {}

    def rule(
        self, s: Number, u: chex.Array, p: None, trace: chex.Array
    ) -> tuple[chex.Array, chex.Array]:
        trace = numerics.finite_sum(u, s * trace)
        return numerics.finite_sum(u, s * trace) if self.nesterov else trace, trace


ema = Ema


trace = Trace
