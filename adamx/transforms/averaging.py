"""Averages of the parameters, kept beside the optimizer (Polyak & Juditsky 1992)."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.apply import apply_updates
from adamx.core.hyperparameter import (
    Hyperparameter,
    Number,
    ScalarOrSchedule,
    hyperparameter,
    resolve,
)
from adamx.core.transformation import GradientTransformation, Params, State, Updates


class EmaParamsState(NamedTuple):
    """The running average and how much weight it has gathered."""

    count: chex.Array  # int32[], steps taken
    weight: chex.Array  # float32[], total weight of the parameters averaged so far
    ema: Params  # like the parameters; float32 for 16-bit ones, None where nothing is trained

    def eval_params(self, params: Params) -> Params:
        """The average in the parameters' dtypes; `params` themselves before the first step."""

        def average(p: chex.Array, ema: chex.Array) -> chex.Array:
            weight = self.weight.astype(numerics.real_dtype(ema))
            mean = jnp.where(weight > 0, ema / jnp.where(weight > 0, weight, 1), p)
            return mean.astype(jax.dtypes.result_type(p))

        return tree.map_leaves(average, params, self.ema)


class _Scalars(NamedTuple):
    decay: Number
    rest: Number


def _average(s: _Scalars, u: chex.Array, ema: chex.Array, p: chex.Array) -> tuple[Any, ...]:
    return u, s.decay * ema + s.rest * p


class EmaParams(GradientTransformation):
    """ema <- decay * ema + (1 - decay) * (p + u), the parameters after this step."""

    decay: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    debias: bool = fields.switch(False)

    def init(self, params: Params) -> State:
        def start(p: Any) -> chex.Array | None:
            if not numerics.is_inexact(p):
                return None
            dtype = numerics.moment_dtype(p, None)
            # A copy: the average must not share the buffer of parameters that get donated.
            return jnp.zeros_like(p, dtype) if self.debias else jnp.array(p, dtype, copy=True)

        return EmaParamsState(
            count=jnp.zeros((), jnp.int32),
            weight=jnp.asarray(0.0 if self.debias else 1.0, jnp.float32),
            ema=jax.tree.map(start, params, is_leaf=lambda x: x is None),
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_params(self.public_name, params)
        tree.check_state(self.public_name, state, EmaParamsState)
        decay = resolve(self.decay, state.count, "decay")
        scalars = _Scalars(decay, 1.0 - decay)
        after = apply_updates(params, updates)
        updates, ema = tree.update_leaves(
            self.public_name, _average, updates, [state.ema], scalars, after, reads_params=True
        )
        # Exactly 1 forever once it is 1.
        weight = state.weight + jnp.asarray(scalars.rest, jnp.float32) * (1.0 - state.weight)
        return updates, state._replace(
            count=numerics.safe_increment(state.count), weight=weight, ema=ema
        )


def ema_params(decay: ScalarOrSchedule, debias: bool = False) -> EmaParams:
    """Keeps an exponential moving average of the parameters; read it with `eval_params`.

        ema_0 = p_0,  ema_t = decay * ema_{t-1} + (1 - decay) * p_t

    where p_t are the parameters after step t.  Place it last in a chain: it sees the updates that
    are about to be applied, and passes them on unchanged.  With `debias`, ema_0 = 0 and the
    average is divided by the weight gathered so far, 1 - decay**t for a constant decay.

    Args:
      decay: a number in [0, 1), a scalar array or a schedule of the 0-based step count.
      debias: start from zero and correct for it, instead of starting from the parameters.

    Returns:
      A transformation with state `EmaParamsState(count, weight, ema)`; `ema` is float32 for
      parameters of fewer bits.

    Raises:
      ValueError: a decay outside [0, 1); at `update`, no `params`.
      TypeError: not a number, array or schedule.

    Reference:
      Polyak & Juditsky, 1992; Kingma & Ba, Adam, 2015, section 7.2.

    Example:
      >>> import adamx
      >>> adamx.chain(adamx.adam(1e-3), adamx.ema_params(0.999)).links[-1]
      ema_params(decay=0.999)
    """
    return EmaParams.checked(decay=decay, debias=debias)
