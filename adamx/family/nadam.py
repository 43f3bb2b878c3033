"""Nadam with Dozat's momentum schedule, as torch and Keras have it.

`adam(nesterov=True)` is Nadam with a constant momentum, as optax has it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.hyperparameter import ScalarOrSchedule, log
from adamx.core.link import View
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import State, Updates
from adamx.family.formula import corrections
from adamx.family.moments import Core
from adamx.family.words import with_words
from adamx.formats.named import StateFormat, check_state_format

_LOG_096 = log(0.96)


class ScaleByNadamState(NamedTuple):
    """The moments of Adam, and the product of the momenta so far."""

    count: chex.Array  # int32[], steps taken
    mu_product: chex.Array  # float[], float64 with x64: product of the momenta of the steps taken
    mu: Updates  # first moment
    nu: Updates  # second moment


class ScaleByNadam(Core):
    """Nadam whose momentum is warmed up, as in Dozat's paper, torch and Keras.

        k_t = b1 (1 - 0.96**(t momentum_decay) / 2)         P_t = k_1 k_2 ... k_t
        m_hat = k_{t+1} m_t / (1 - P_{t+1}) + (1 - k_t) g_t / (1 - P_t)
        u_t = m_hat / (sqrt(v_hat + eps_root) + eps)

    m_t and v_hat as in `scale_by_adam`, with the constant b1.

    Args:
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
      momentum_decay: how fast the momentum approaches b1, >= 0; 4e-3 in torch, 1 in Keras.

    Returns:
      A transformation with state `ScaleByNadamState(count, mu_product, mu, nu)`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Dozat, Incorporating Nesterov Momentum into Adam, 2016, Algorithm 2 with m averaged by the
      constant b1 and without its extra factor b2 on v_hat.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.scale_by_nadam(momentum_decay=1.0)
      >>> grads = jnp.array([0.5, -4.0])
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> updates.round(2)
      Array([ 1.06, -1.06], dtype=float32)
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    momentum_decay: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.004)
    mu_dtype: DTypeLike | None = fields.dtype(default=None)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    def state_type(self) -> type[Any]:
        return ScaleByNadamState

    def numbers(self) -> dict[str, Any]:
        return {"mu_product": jnp.ones(())}  # float64 with x64

    takes_pairs = True

    def scalars(self, view: View, state: State) -> tuple[Any, dict[str, Any]]:
        b1, b2, eps, eps_root, decay = self.now(
            state, "b1", "b2", "eps", "eps_root", "momentum_decay"
        )
        count = numerics.safe_increment(state.count)
        rate = decay * _LOG_096
        now, ahead = (b1 * (1.0 - 0.5 * jnp.exp(rate * t)) for t in (count, count + 1))
        product = state.mu_product * now
        s = corrections(count, b1, b2, eps, eps_root)._replace(
            mu_scale=ahead / (1.0 - product * ahead), g_scale=(1.0 - now) / (1.0 - product)
        )
        s = with_words(self, s, view, state)
        return s, {"mu_product": product.astype(state.mu_product.dtype)}


scale_by_nadam = ScaleByNadam
