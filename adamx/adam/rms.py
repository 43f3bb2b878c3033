"""Adam's denominator alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.adam.formula import Corrections, average, corrections, direction
from adamx.adam.moments import second_moment
from adamx.core import fields, numerics, tree
from adamx.core.hyperparameter import (
    Hyperparameter,
    Number,
    ScalarOrSchedule,
    hyperparameter,
    resolve,
    scalar,
)
from adamx.core.transformation import GradientTransformation, Params, State, Updates


class ScaleByRmsState(NamedTuple):
    """The second moment."""

    nu: Updates  # like the parameters but always real


class ScaleByRmsWithCountState(NamedTuple):
    """The second moment and the number of steps its correction needs."""

    count: chex.Array  # int32[], steps taken
    nu: Updates  # like the parameters but always real


def _rms(s: Corrections, g: chex.Array, nu: chex.Array) -> tuple[chex.Array, chex.Array]:
    nu = average(s.b2, s.one_minus_b2, nu, numerics.squared_magnitude(g))
    return direction(s, g, s.nu_scale * nu), nu


class ScaleByRms(GradientTransformation):
    """u = g / (sqrt(v) + eps), or g / sqrt(v + eps)."""

    decay: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    eps: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    initial_scale: Number = fields.number(fields.NONNEGATIVE)
    eps_in_sqrt: bool = fields.switch(default=True)
    bias_correction: bool = fields.switch()
    nu_dtype: str | None = fields.dtype()

    def check_together(self) -> None:
        schedules = [name for name in ("decay", "eps") if callable(getattr(self, name))]
        if schedules and not self.bias_correction:
            raise TypeError(
                f"{self.public_name}: `{schedules[0]}` is a schedule, but without "
                "`bias_correction=True` the state counts no steps"
            )

    def init(self, params: Params) -> State:
        start = scalar(self.initial_scale, "initial_scale")
        nu = tree.map_leaves(
            lambda x: jnp.full_like(x, start), second_moment(params, self.nu_dtype)
        )
        if self.bias_correction:
            return ScaleByRmsWithCountState(count=jnp.zeros((), jnp.int32), nu=nu)
        return ScaleByRmsState(nu=nu)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        wanted = ScaleByRmsWithCountState if self.bias_correction else ScaleByRmsState
        tree.check_state(self.public_name, state, wanted)
        before = state.count if self.bias_correction else jnp.zeros((), jnp.int32)
        count = numerics.safe_increment(before)
        decay = resolve(self.decay, before, "decay")
        eps = resolve(self.eps, before, "eps")
        outside, inside = (0.0, eps) if self.eps_in_sqrt else (eps, 0.0)
        s = corrections(
            count, 0.0, decay, outside, inside, correct_mu=False, correct_nu=self.bias_correction
        )
        updates, nu = tree.update_leaves(self.public_name, _rms, updates, [state.nu], s, params)
        state = state._replace(nu=nu)
        return updates, state._replace(count=count) if self.bias_correction else state


def scale_by_rms(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    nu_dtype: Any = None,
) -> ScaleByRms:
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
    return ScaleByRms.checked(
        decay=decay,
        eps=eps,
        initial_scale=initial_scale,
        eps_in_sqrt=eps_in_sqrt,
        bias_correction=bias_correction,
        nu_dtype=nu_dtype,
    )
