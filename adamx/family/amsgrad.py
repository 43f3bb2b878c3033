"""AMSGrad: the largest second moment so far in place of the average."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.link import View
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import State, Updates
from adamx.family.formula import Corrections, adam_direction, adam_moments, corrections
from adamx.family.moments import Core, Square, second_moment
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate


class ScaleByAmsgradState(NamedTuple):
    """The moments of Adam, and the largest second moment so far."""

    count: chex.Array  # int32[], steps taken
    mu: Updates  # first moment
    nu: Updates  # second moment
    nu_max: Updates  # elementwise maximum of the second moments, corrected or not


class ScaleByAmsgrad(Core):
    """Adam with the largest second moment seen so far in the denominator.

        n_t = max(n_{t-1}, v_hat)
        u_t = m_hat / (sqrt(n_t + eps_root) + eps)

    m_hat and v_hat as in `scale_by_adam`; without its bias correction each is the raw moment.
    With `raw_maximum`, as in torch and Keras, the maximum is that of the raw v and is corrected
    where it is used:

        n_t = max(n_{t-1}, v_t)
        u_t = m_hat / (sqrt(n_t / (1 - b2**t) + eps_root) + eps)

    Args:
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, state_format: as in `scale_by_adam`.
      bias_correction_mu: correct m; False is the paper's algorithm.
      bias_correction_nu: correct v before the maximum; False is the paper's algorithm.
      raw_maximum: take the maximum of the raw v and correct it afterwards.
      eps_hat: as in `scale_by_adam`, with n in place of v.

    Returns:
      A transformation with state `ScaleByAmsgradState(count, mu, nu, nu_max)`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Reddi, Kale & Kumar, On the Convergence of Adam and Beyond, 2018, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.scale_by_amsgrad(b2=0.99)
      scale_by_amsgrad(b1=0.9, b2=0.99, eps=1e-08, eps_root=0.0)
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: DTypeLike | None = fields.dtype(default=None)
    bias_correction_mu: bool = fields.switch(default=True)
    bias_correction_nu: bool = fields.switch(default=True)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    raw_maximum: bool = fields.switch(default=False, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def state_type(self) -> type[Any]:
        return ScaleByAmsgradState

    def slots(self) -> tuple[Slot, ...]:
        return (*super().slots(), second_moment(self, "nu_max"))

    def scalars(self, view: View, state: State) -> tuple[Corrections, dict[str, Any]]:
        numbers = self.now(state, "b1", "b2", "eps", "eps_root")
        s = corrections(
            numerics.safe_increment(state.count),
            *numbers,
            eps_hat=self.eps_hat,
            correct_mu=self.bias_correction_mu,
            correct_nu=self.bias_correction_nu,
        )
        return s, {}

    def remember(
        self,
        s: Corrections,
        g: chex.Array,
        square: Square,
        mu: chex.Array,
        nu: chex.Array,
        nu_max: chex.Array,
    ) -> tuple[chex.Array, chex.Array, chex.Array]:
        mu, nu = adam_moments(s, g, square, mu, nu)
        return mu, nu, jnp.maximum(nu_max, nu if self.raw_maximum else s.nu_scale * nu)

    def direction(
        self, s: Corrections, g: chex.Array, mu: chex.Array, nu: chex.Array, nu_max: chex.Array
    ) -> chex.Array:
        return adam_direction(s, mu, g, s.nu_scale * nu_max if self.raw_maximum else nu_max)


scale_by_amsgrad = ScaleByAmsgrad


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: DTypeLike | None = None,
    raw_maximum: bool = False,
    eps_hat: bool = False,
    state_format: StateFormat = None,
) -> Chain:
    """AMSGrad: Adam whose effective learning rate never grows.

        p <- p - learning_rate * m_hat / (sqrt(max over time of v_hat + eps_root) + eps)

    The chain `scale_by_amsgrad`, `scale_by_learning_rate`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
      bias_correction_mu, bias_correction_nu, raw_maximum, eps_hat: see `scale_by_amsgrad`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Reddi, Kale & Kumar, On the Convergence of Adam and Beyond, 2018, Algorithm 2.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.amsgrad(1e-3).links]
      ['scale_by_amsgrad', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_amsgrad(
            b1,
            b2,
            eps,
            eps_root,
            mu_dtype,
            bias_correction_mu,
            bias_correction_nu,
            nu_dtype=nu_dtype,
            state_format=state_format,
            raw_maximum=raw_maximum,
            eps_hat=eps_hat,
        ),
        scale_by_learning_rate(learning_rate),
    )
