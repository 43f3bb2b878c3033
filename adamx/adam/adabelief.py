"""AdaBelief: the second moment of the surprise instead of the gradient."""

from __future__ import annotations

from typing import Any

import chex

from adamx.adam.formula import Corrections, adam_direction, average, corrections
from adamx.adam.moments import MomentTransformation, ScaleByAdamState
from adamx.core import fields, numerics, tree
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import Hyperparameter, ScalarOrSchedule, hyperparameter
from adamx.core.transformation import Params, State, Updates
from adamx.transforms.scaling import scale_by_learning_rate


def _belief(
    s: Corrections, g: chex.Array, mu: chex.Array, nu: chex.Array
) -> tuple[chex.Array, chex.Array, chex.Array]:
    mu = average(s.b1, s.one_minus_b1, mu, g)
    nu = average(s.b2, s.one_minus_b2, nu, numerics.squared_magnitude(g - mu)) + s.eps_root
    # eps_root is part of the stored moment, so the root needs no other.
    return adam_direction(s._replace(eps_root=0.0), mu, g, s.nu_scale * nu), mu, nu


class ScaleByBelief(MomentTransformation):
    """u = m_hat / (sqrt(s_hat) + eps) with s the running average of |g - m|**2 + eps_root."""

    eps_root: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    nesterov: bool = fields.switch()

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.check_state(self.public_name, state, ScaleByAdamState)
        numbers = (self.at(name, state.count) for name in ("b1", "b2", "eps", "eps_root"))
        count = numerics.safe_increment(state.count)
        s = corrections(count, *numbers, nesterov=self.nesterov)
        return self.advance(_belief, s, updates, state, params)


def scale_by_belief(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> ScaleByBelief:
    """Rescales gradients by how far they are from what their average predicted.

        m_t = b1 m_{t-1} + (1 - b1) g_t
        s_t = b2 s_{t-1} + (1 - b2) |g_t - m_t|**2 + eps_root
        u_t = (m_t / (1 - b1**t)) / (sqrt(s_t / (1 - b2**t)) + eps)

    Args:
      b1, b2, nesterov, mu_dtype, nu_dtype: see `scale_by_adam`.
      eps: added outside the root, >= 0.
      eps_root: added to the stored s at every step, >= 0.

    Returns:
      A transformation with state `ScaleByAdamState(count, mu, nu)`; `nu` holds s.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Zhuang et al., AdaBelief Optimizer, 2020, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.scale_by_belief()
      scale_by_belief(b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16)
    """
    return ScaleByBelief.checked(
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        nesterov=nesterov,
        mu_dtype=mu_dtype,
        nu_dtype=nu_dtype,
    )


def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Chain:
    """AdaBelief: `p <- p - learning_rate * u` with u from `scale_by_belief`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, nesterov, mu_dtype, nu_dtype: see `scale_by_belief`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Zhuang et al., 2020, Algorithm 2.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.adabelief(1e-3).links]
      ['scale_by_belief', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_belief(
            b1, b2, eps, eps_root, nesterov=nesterov, mu_dtype=mu_dtype, nu_dtype=nu_dtype
        ),
        scale_by_learning_rate(learning_rate),
    )
