"""AdaMax: Adam under the infinity norm."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.link import View
from adamx.core.mask import MaskLike
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import State
from adamx.family.formula import Corrections, average, corrections
from adamx.family.moments import Core, Square
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate
from adamx.transforms.weight_decay import add_decayed_weights


class ScaleByAdamax(Core):
    """Rescales gradients by their mean and a decaying maximum of their size.

        m_t = b1 m_{t-1} + (1 - b1) g_t
        n_t = max(b2 n_{t-1}, |g_t| + eps)
        u_t = m_t / ((1 - b1**t) n_t)

    With `eps_outside`, as in Keras,

        n_t = max(b2 n_{t-1}, |g_t|)
        u_t = m_t / ((1 - b1**t) (n_t + eps))

    Args:
      b1, b2: decay rates in [0, 1), of the mean and of the maximum.
      eps: added to |g|, >= 0; positive unless no gradient element is ever 0.
      mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
      eps_outside: add eps to the maximum instead of to |g|.

    Returns:
      A transformation with state `ScaleByAdamState(count, mu, nu)`; `nu` holds n.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Kingma & Ba, Adam, 2015, Algorithm 2, with eps against division by zero.

    Example:
      >>> import adamx
      >>> adamx.scale_by_adamax()
      scale_by_adamax(b1=0.9, b2=0.999, eps=1e-08)
    """

    takes_squares = False

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    mu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    eps_outside: bool = fields.switch(default=False, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def scalars(self, view: View, state: State) -> tuple[Corrections, dict[str, Any]]:
        b1, b2, eps = self.now(state, "b1", "b2", "eps")
        count = numerics.safe_increment(state.count)
        return corrections(count, b1, b2, eps, 0.0, correct_nu=False), {}

    def remember(
        self,
        s: Corrections,
        g: chex.Array,
        square: Square,
        mu: chex.Array,
        nu: chex.Array,
    ) -> tuple[chex.Array, chex.Array]:
        mu = average(s.b1, s.one_minus_b1, mu, g)
        size = jnp.abs(g)
        return mu, jnp.maximum(s.b2 * nu, size if self.eps_outside else size + s.eps)

    def direction(
        self, s: Corrections, g: chex.Array, mu: chex.Array, nu: chex.Array
    ) -> chex.Array:
        # Divided first: the corrected mean of the largest floats may overflow.
        return s.mu_scale * (mu / (nu + s.eps if self.eps_outside else nu))


scale_by_adamax = ScaleByAdamax


def adamax(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    *,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    state_format: StateFormat = None,
) -> Chain:
    """AdaMax: `p <- p - learning_rate * u` with u from `scale_by_adamax`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, mu_dtype, nu_dtype, state_format: see `scale_by_adamax`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Kingma & Ba, Adam, 2015, Algorithm 2.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.adamax(2e-3).links]
      ['scale_by_adamax', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_adamax(
            b1, b2, eps, mu_dtype=mu_dtype, nu_dtype=nu_dtype, state_format=state_format
        ),
        scale_by_learning_rate(learning_rate),
    )


def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: MaskLike = None,
    *,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    state_format: StateFormat = None,
) -> Chain:
    """AdaMax with decoupled weight decay: `p <- p - learning_rate * (u + weight_decay * p)`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, mu_dtype, nu_dtype, state_format: see `scale_by_adamax`.
      weight_decay, mask: see `add_decayed_weights`.

    Raises:
      ValueError, TypeError: as `scale_by_adam` and `add_decayed_weights`.

    References:
      Kingma & Ba, 2015, Algorithm 2; Loshchilov & Hutter, 2019.

    Example:
      >>> import adamx
      >>> adamx.adamaxw(2e-3).links[1]
      add_decayed_weights(weight_decay=0.0001)
    """
    return chain(
        scale_by_adamax(
            b1, b2, eps, mu_dtype=mu_dtype, nu_dtype=nu_dtype, state_format=state_format
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
