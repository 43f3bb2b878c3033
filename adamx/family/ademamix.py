"""AdEMAMix: a fast and a slow average of the gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import Number, ScalarOrSchedule
from adamx.core.link import View
from adamx.core.mask import MaskLike
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import State, Updates
from adamx.family.formula import (
    Corrections,
    adam_direction,
    adam_moments,
    average,
    corrections,
    direction,
)
from adamx.family.moments import Core, Square, first_moment, second_moment
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate
from adamx.transforms.weight_decay import add_decayed_weights


class ScaleByAdemamixState(NamedTuple):
    """Two first moments and a second one."""

    count: chex.Array  # int32[], steps taken, for the bias corrections
    count_m2: chex.Array  # int32[], steps taken, for the schedules of b3 and alpha
    m1: Updates  # fast average of the gradient
    m2: Updates  # slow average of the gradient
    nu: Updates  # second moment


class _Scalars(NamedTuple):
    adam: Corrections
    b3: Number
    one_minus_b3: Number
    alpha: Number


class ScaleByAdemamix(Core):
    """Adam with a second, slow average of the gradient in the numerator.

        m1_t = b1 m1_{t-1} + (1 - b1) g_t
        m2_t = b3 m2_{t-1} + (1 - b3) g_t
        v_t  = b2 v_{t-1}  + (1 - b2) |g_t|**2
        u_t  = (m1_t / (1 - b1**t) + alpha m2_t) / (sqrt(v_t / (1 - b2**t) + eps_root) + eps)

    The slow average is not bias-corrected: it is meant to come in gradually.

    Args:
      b1, b2, eps, eps_root, nu_dtype, state_format: see `scale_by_adam`.
      b3: decay rate of the slow average in [0, 1).
      alpha: weight of the slow average.
      mu_dtype: dtype in which both averages of the gradient are stored.

    Returns:
      A transformation with state `ScaleByAdemamixState(count, count_m2, m1, m2, nu)`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Pagliardini, Ablin & Grangier, The AdEMAMix Optimizer, 2024, Algorithm 1.

    Example:
      >>> import adamx
      >>> adamx.scale_by_ademamix(alpha=5)  # doctest: +ELLIPSIS
      scale_by_ademamix(b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-08, eps_root=0.0)
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    b3: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9999)
    alpha: ScalarOrSchedule = fields.hyperparameter(default=6.0)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: DTypeLike | None = fields.dtype(default=None)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def state_type(self) -> type[Any]:
        return ScaleByAdemamixState

    def slots(self) -> tuple[Slot, ...]:
        return first_moment(self, "m1"), first_moment(self, "m2"), second_moment(self)

    def numbers(self) -> dict[str, Any]:
        return {"count_m2": jnp.zeros((), jnp.int32)}

    def scalars(self, view: View, state: State) -> tuple[_Scalars, dict[str, Any]]:
        numbers = self.now(state, "b1", "b2", "eps", "eps_root")
        b3, alpha = (self.at(name, state.count_m2) for name in ("b3", "alpha"))
        adam = corrections(numerics.safe_increment(state.count), *numbers)
        counted = {"count_m2": numerics.safe_increment(state.count_m2)}
        return _Scalars(adam, b3, 1.0 - b3, alpha), counted

    def remember(
        self,
        s: _Scalars,
        g: chex.Array,
        square: Square,
        m1: chex.Array,
        m2: chex.Array,
        nu: chex.Array,
    ) -> tuple[chex.Array, chex.Array, chex.Array]:
        m1, nu = adam_moments(s.adam, g, square, m1, nu)
        return m1, average(s.b3, s.one_minus_b3, m2, g), nu

    def direction(
        self, s: _Scalars, g: chex.Array, m1: chex.Array, m2: chex.Array, nu: chex.Array
    ) -> chex.Array:
        nu_hat = s.adam.nu_scale * nu
        return adam_direction(s.adam, m1, g, nu_hat) + s.alpha * direction(s.adam, m2, nu_hat)


scale_by_ademamix = ScaleByAdemamix


def ademamix(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: MaskLike = None,
    *,
    nu_dtype: DTypeLike | None = None,
    state_format: StateFormat = None,
) -> Chain:
    """AdEMAMix: `p <- p - learning_rate * (u + weight_decay * p)`, u from `scale_by_ademamix`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype, state_format: see `scale_by_ademamix`.
      weight_decay, mask: see `add_decayed_weights`.

    Raises:
      ValueError, TypeError: as `scale_by_adam` and `add_decayed_weights`.

    Reference:
      Pagliardini, Ablin & Grangier, 2024, Algorithm 1.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.ademamix(1e-3).links]
      ['scale_by_ademamix', 'add_decayed_weights', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_ademamix(
            b1, b2, b3, alpha, eps, eps_root, mu_dtype, nu_dtype=nu_dtype, state_format=state_format
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
