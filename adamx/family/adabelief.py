"""AdaBelief: the second moment of the surprise instead of the gradient."""

from __future__ import annotations

from typing import Any

import chex

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.link import View
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import State
from adamx.family.formula import Corrections, adam_direction, average, corrections
from adamx.family.moments import Core, Square
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate


class ScaleByBelief(Core):
    """Rescales gradients by how far they are from what their average predicted.

        m_t = b1 m_{t-1} + (1 - b1) g_t
        s_t = b2 s_{t-1} + (1 - b2) |g_t - m_t|**2 + eps_root
        u_t = (m_t / (1 - b1**t)) / (sqrt(s_t / (1 - b2**t)) + eps)

    Args:
      b1, b2, nesterov, mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
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

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-16)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-16)
    nesterov: bool = fields.switch(default=False, kw_only=True)
    mu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def scalars(self, view: View, state: State) -> tuple[Corrections, dict[str, Any]]:
        numbers = self.now(state, "b1", "b2", "eps", "eps_root")
        count = numerics.safe_increment(state.count)
        return corrections(count, *numbers, nesterov=self.nesterov), {}

    def remember(
        self,
        s: Corrections,
        g: chex.Array,
        square: Square,
        mu: chex.Array,
        nu: chex.Array,
    ) -> tuple[chex.Array, chex.Array]:
        mu = average(s.b1, s.one_minus_b1, mu, g)
        surprise = square(g - mu)
        return mu, average(s.b2, s.one_minus_b2, nu, surprise) + s.eps_root

    def direction(
        self, s: Corrections, g: chex.Array, mu: chex.Array, nu: chex.Array
    ) -> chex.Array:
        # eps_root is part of the stored moment, so the root needs no other.
        return adam_direction(s._replace(eps_root=0.0), mu, g, s.nu_scale * nu)


scale_by_belief = ScaleByBelief


def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    state_format: StateFormat = None,
) -> Chain:
    """AdaBelief: `p <- p - learning_rate * u` with u from `scale_by_belief`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, nesterov, mu_dtype, nu_dtype, state_format: see `scale_by_belief`.

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
            b1,
            b2,
            eps,
            eps_root,
            nesterov=nesterov,
            mu_dtype=mu_dtype,
            nu_dtype=nu_dtype,
            state_format=state_format,
        ),
        scale_by_learning_rate(learning_rate),
    )
