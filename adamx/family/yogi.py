"""Yogi: a second moment that changes by steps of bounded size."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
)
from adamx.core.link import View
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import State
from adamx.family.formula import Corrections, average, corrections
from adamx.family.moments import Core, Square, first_moment, second_moment
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate


class ScaleByYogi(Core):
    """Adam whose second moment is moved by the sign of its error.

        v_t = v_{t-1} - (1 - b2) sign(v_{t-1} - |g_t|**2) |g_t|**2

    and otherwise as `scale_by_adam`, both moments starting at `initial_accumulator_value`.

    Args:
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
      initial_accumulator_value: where both moments start, > 0.

    Returns:
      A transformation with state `ScaleByAdamState(count, mu, nu)`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Zaheer et al., Adaptive Methods for Nonconvex Optimization, 2018, Algorithm 2, with Adam's
      bias correction.

    Example:
      >>> import adamx
      >>> float(adamx.scale_by_yogi().init(0.0).nu) == float(adamx.scale_by_yogi().init(0.0).mu)
      True
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.001)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    initial_accumulator_value: Number = fields.number(fields.POSITIVE, default=1e-06)
    mu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def slots(self) -> tuple[Slot, ...]:
        start = self.at("initial_accumulator_value", 0)
        return first_moment(self, start=start), second_moment(self, start=start)

    def scalars(self, view: View, state: State) -> tuple[Corrections, dict[str, Any]]:
        numbers = self.now(state, "b1", "b2", "eps", "eps_root")
        return corrections(numerics.safe_increment(state.count), *numbers), {}

    def remember(
        self,
        s: Corrections,
        g: chex.Array,
        square: Square,
        mu: chex.Array,
        nu: chex.Array,
    ) -> tuple[chex.Array, chex.Array]:
        size = square(g)
        # -sign(nu - |g|**2) |g|**2 by comparison, so that two infinities do not make a NaN.
        toward = jnp.where(nu < size, size, jnp.where(nu > size, -size, 0.0))
        return average(s.b1, s.one_minus_b1, mu, g), nu + s.one_minus_b2 * toward


scale_by_yogi = ScaleByYogi


def yogi(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-3,
    *,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    state_format: StateFormat = None,
) -> Chain:
    """Yogi: `p <- p - learning_rate * u` with u from `scale_by_yogi`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, mu_dtype, nu_dtype, state_format: see `scale_by_yogi`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Zaheer et al., 2018, Algorithm 2.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.yogi(1e-2).links]
      ['scale_by_yogi', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_yogi(b1, b2, eps, mu_dtype=mu_dtype, nu_dtype=nu_dtype, state_format=state_format),
        scale_by_learning_rate(learning_rate),
    )
