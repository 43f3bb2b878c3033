"""ADOPT: normalise by the past, then average."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import Number, ScalarOrSchedule
from adamx.core.link import View
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import State
from adamx.family.formula import average
from adamx.family.moments import HasMoments
from adamx.formats.named import StateFormat, check_state_format
from adamx.schedules.power import power_schedule
from adamx.transforms.scaling import scale_by_learning_rate

FOURTH_ROOT = power_schedule(1.0, 0.25)


class _Scalars(NamedTuple):
    b1: Number
    one_minus_b1: Number
    b2: Number
    one_minus_b2: Number
    floor: Number  # of the root of the second moment
    bound: Number  # of a normalised gradient element
    look_ahead: Number  # weight of the normalised gradient in the step; 0 without Nesterov
    look_back: Number  # weight of the momentum in the step


class ScaleByAdopt(HasMoments):
    """Adam with the current gradient kept out of its own denominator.

        first step:  v_0 = |g_0|**2, no movement
        then:        n_t = g_t / max(sqrt(v_{t-1}), eps), clipped to [-c_t, c_t]
                     m_t = b1 m_{t-1} + (1 - b1) n_t
                     v_t = b2 v_{t-1} + (1 - b2) |g_t|**2
                     u_t = m_t

    Complex elements are clipped in size.

    Args:
      b1, b2: decay rates in [0, 1).
      eps: the least root of v, > 0 unless no gradient element is ever 0.
      mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
      nesterov: u_t = b1 m_t + (1 - b1) n_t.
      use_clipping: whether to clip n_t.
      clip_value_fn: c_t, a function of the 0-based step count; by default its fourth root.

    Returns:
      A transformation with state `ScaleByAdamState(count, mu, nu)`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Taniguchi et al., ADOPT: Modified Adam Can Converge with Any b2 with the Optimal Rate, 2024,
      Algorithm 2 and (clipping) section 5.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.scale_by_adopt()
      >>> u, state = tx.update(jnp.array(3.0), tx.init(jnp.array(1.0)))
      >>> float(u), float(state.nu)
      (0.0, 9.0)
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-06)
    mu_dtype: DTypeLike | None = fields.dtype(default=None)
    nesterov: bool = fields.switch(default=False, kw_only=True)
    use_clipping: bool = fields.switch(default=True, kw_only=True)
    clip_value_fn: ScalarOrSchedule = fields.hyperparameter(
        fields.NONNEGATIVE, default=FOURTH_ROOT, kw_only=True
    )
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def scalars(self, view: View, state: State) -> tuple[_Scalars, dict[str, Any]]:
        b1, b2, eps, bound = self.now(state, "b1", "b2", "eps", "clip_value_fn")
        # The first gradient only fills the second moment: it moves neither mu nor parameters.
        first = state.count == 0
        b1_now = jnp.where(first, 1.0, b1)
        rest = jnp.where(first, 0.0, 1.0 - b1)
        s = _Scalars(
            b1=b1_now,
            one_minus_b1=rest,
            b2=jnp.where(first, 0.0, b2),
            one_minus_b2=jnp.where(first, 1.0, 1.0 - b2),
            # Dividing by at least 1 keeps the unused quotient of the first step finite.
            floor=jnp.where(first, jnp.maximum(eps, 1.0), eps),
            bound=bound if self.use_clipping else math.inf,
            look_ahead=rest if self.nesterov else 0.0,
            look_back=b1_now if self.nesterov else 1.0,
        )
        return s, {}

    def rule(
        self, s: _Scalars, u: chex.Array, p: None, mu: chex.Array, nu: chex.Array
    ) -> tuple[chex.Array, chex.Array, chex.Array]:
        # Of the second moment the direction reads the one before this gradient.
        root = jnp.maximum(jnp.sqrt(nu), s.floor)
        # Clipped first: a large gradient over a small root would be infinite.
        size, bound = jnp.abs(u), s.bound * root
        normalised = u * jnp.where(size > bound, bound / jnp.where(size > 0, size, 1), 1) / root
        mu = average(s.b1, s.one_minus_b1, mu, normalised)
        nu = average(s.b2, s.one_minus_b2, nu, numerics.squared_magnitude(u))
        return s.look_back * mu + s.look_ahead * normalised, mu, nu


scale_by_adopt = ScaleByAdopt


def adopt(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: ScalarOrSchedule = FOURTH_ROOT,
    nu_dtype: DTypeLike | None = None,
    state_format: StateFormat = None,
) -> Chain:
    """ADOPT: `p <- p - learning_rate * u` with u from `scale_by_adopt`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, mu_dtype, nesterov, use_clipping, clip_value_fn, nu_dtype, state_format: see
        `scale_by_adopt`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Taniguchi et al., 2024, Algorithm 2.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.adopt(1e-3).links]
      ['scale_by_adopt', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_adopt(
            b1,
            b2,
            eps,
            mu_dtype,
            nesterov=nesterov,
            use_clipping=use_clipping,
            clip_value_fn=clip_value_fn,
            nu_dtype=nu_dtype,
            state_format=state_format,
        ),
        scale_by_learning_rate(learning_rate),
    )
