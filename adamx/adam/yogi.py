"""Yogi: a second moment that changes by steps of bounded size."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.adam.formula import Corrections, adam_direction, average, corrections
from adamx.adam.moments import MomentTransformation, ScaleByAdamState
from adamx.core import fields, numerics, tree
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import (
    Hyperparameter,
    Number,
    ScalarOrSchedule,
    hyperparameter,
    scalar,
)
from adamx.core.transformation import Params, State, Updates
from adamx.transforms.scaling import scale_by_learning_rate


def _yogi(
    s: Corrections, g: chex.Array, mu: chex.Array, nu: chex.Array
) -> tuple[chex.Array, chex.Array, chex.Array]:
    mu = average(s.b1, s.one_minus_b1, mu, g)
    square = numerics.squared_magnitude(g)
    # -sign(nu - g**2) g**2 by comparison, so that two infinities do not make a NaN.
    toward = jnp.where(nu < square, square, jnp.where(nu > square, -square, 0.0))
    nu = nu + s.one_minus_b2 * toward
    return adam_direction(s, mu, g, s.nu_scale * nu), mu, nu


class ScaleByYogi(MomentTransformation):
    """Adam with v <- v - (1 - b2) sign(v - |g|**2) |g|**2."""

    eps_root: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    initial_accumulator_value: Number = fields.number(fields.POSITIVE)

    def init(self, params: Params) -> State:
        start = scalar(self.initial_accumulator_value, "initial_accumulator_value")
        state = super().init(params)
        mu, nu = (
            tree.map_leaves(lambda x: jnp.full_like(x, start), moments)
            for moments in (state.mu, state.nu)
        )
        return state._replace(mu=mu, nu=nu)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.check_state(self.public_name, state, ScaleByAdamState)
        numbers = (self.at(name, state.count) for name in ("b1", "b2", "eps", "eps_root"))
        s = corrections(numerics.safe_increment(state.count), *numbers)
        return self.advance(_yogi, s, updates, state, params)


def scale_by_yogi(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-3,
    eps_root: ScalarOrSchedule = 0.0,
    initial_accumulator_value: Number = 1e-6,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> ScaleByYogi:
    """Adam whose second moment is moved by the sign of its error.

        v_t = v_{t-1} - (1 - b2) sign(v_{t-1} - |g_t|**2) |g_t|**2

    and otherwise as `scale_by_adam`, both moments starting at `initial_accumulator_value`.

    Args:
      b1, b2, eps, eps_root, mu_dtype, nu_dtype: see `scale_by_adam`.
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
    return ScaleByYogi.checked(
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        initial_accumulator_value=initial_accumulator_value,
        mu_dtype=mu_dtype,
        nu_dtype=nu_dtype,
    )


def yogi(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-3,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Chain:
    """Yogi: `p <- p - learning_rate * u` with u from `scale_by_yogi`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, mu_dtype, nu_dtype: see `scale_by_yogi`.

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
        scale_by_yogi(b1, b2, eps, mu_dtype=mu_dtype, nu_dtype=nu_dtype),
        scale_by_learning_rate(learning_rate),
    )
