"""Adam's denominator alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex

from adamx.core import fields, numerics
from adamx.core.format import Float
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
)
from adamx.core.link import Link, View
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import State, Updates
from adamx.family.formula import Corrections, average, corrections, direction


class ScaleByRmsState(NamedTuple):
    """The second moment."""

    nu: Updates  # like the parameters but always real


class ScaleByRmsWithCountState(NamedTuple):
    """The second moment and the number of steps its correction needs."""

    count: chex.Array  # int32[], steps taken
    nu: Updates  # like the parameters but always real


class ScaleByRms(Link):
    """Rescales gradients by the root of their running mean square.

        v_t = decay v_{t-1} + (1 - decay) |g_t|**2
        u_t = g_t / sqrt(v_t + eps)   or, without `eps_in_sqrt`,   g_t / (sqrt(v_t) + eps)

    Args:
      decay: decay rate in [0, 1).
      eps: added inside or outside the root, >= 0.
      initial_scale: where v starts, >= 0.
      eps_in_sqrt: where eps stands.
      bias_correction: use v_t / (1 - decay**t).
      nu_dtype: dtype in which v is stored; by default the parameter's, at least float32.

    Returns:
      A transformation with state `ScaleByRmsState(nu)`, or `ScaleByRmsWithCountState(count, nu)`
      with bias correction.

    Raises:
      ValueError: a number outside its range.
      TypeError: an argument of the wrong kind; a schedule without bias correction.

    Reference:
      Tieleman & Hinton, RMSProp, 2012; with bias correction it is Adam with b1 = 0.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.scale_by_rms(eps_in_sqrt=False, bias_correction=True)
      >>> float(tx.update(jnp.array(4.0), tx.init(0.0))[0])
      1.0
    """

    decay: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    initial_scale: Number = fields.number(fields.NONNEGATIVE, default=0.0)
    eps_in_sqrt: bool = fields.switch(default=True)
    bias_correction: bool = fields.switch(default=False)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)

    def check_together(self) -> None:
        schedules = [name for name in ("decay", "eps") if callable(getattr(self, name))]
        if schedules and not self.bias_correction:
            raise TypeError(
                f"{self.public_name}: `{schedules[0]}` is a schedule, but without "
                "`bias_correction=True` the state counts no steps"
            )

    def state_type(self) -> type[Any]:
        return ScaleByRmsWithCountState if self.bias_correction else ScaleByRmsState

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("nu", "magnitude", Float(self.nu_dtype), self.at("initial_scale", 0)),)

    def scalars(self, view: View, state: State) -> tuple[Corrections, dict[str, Any]]:
        decay, eps = self.now(state, "decay", "eps")
        count = numerics.safe_increment(state.count) if self.bias_correction else 1
        outside, inside = (0.0, eps) if self.eps_in_sqrt else (eps, 0.0)
        s = corrections(
            count, 0.0, decay, outside, inside, correct_mu=False, correct_nu=self.bias_correction
        )
        return s, {}

    def rule(
        self, s: Corrections, u: chex.Array, p: None, nu: chex.Array
    ) -> tuple[chex.Array, chex.Array]:
        nu = average(s.b2, s.one_minus_b2, nu, numerics.squared_magnitude(u))
        return direction(s, u, s.nu_scale * nu), nu


scale_by_rms = ScaleByRms
