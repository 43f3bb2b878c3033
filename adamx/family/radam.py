"""Rectified Adam: plain momentum until the second moment can be trusted."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
    log,
)
from adamx.core.link import View
from adamx.core.norms import safe_sqrt
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import State
from adamx.family.formula import Corrections, adam_direction, adam_moments, corrections, look_ahead
from adamx.family.moments import Core, Square
from adamx.family.words import with_words
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate

# coth(y) - 1/y = sum over n of 4**n B_2n / (2n)! y**(2n - 1); for y <= 1/2 ten terms are exact in
# float64, five in float32.
_BERNOULLI = (
    *(1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66),
    *(-691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330),
)
_LANGEVIN = [4**n * b / math.factorial(2 * n) for n, b in enumerate(_BERNOULLI, 1)]


def _one_minus_langevin(y: chex.Array) -> chex.Array:
    """1 - L(y) with the Langevin function L(y) = coth(y) - 1/y, accurate for every y >= 0."""
    small = jnp.minimum(y, 0.5)
    square = small * small
    terms = _LANGEVIN if y.dtype == jnp.float64 else _LANGEVIN[:5]
    series = functools.reduce(lambda tail, c: c + square * tail, reversed(terms))
    large = jnp.maximum(y, 0.5)
    return jnp.where(y < 0.5, 1.0 - small * series, 1.0 / large - 2.0 / jnp.expm1(2.0 * large))


def _rectification(b2: Number, count: chex.Array) -> tuple[chex.Array, chex.Array]:
    """rho_t, the length of the average of squares, and the variance rectification r_t.

    The paper's rho_t = rho_inf - 2 t b2**t / (1 - b2**t) is a small difference of large numbers:
    in float32 it is wrong in the fourth digit where it is compared with the threshold.  With
    a = -log(b2) / 2 the same number is L(a) + t (1 - L(t a)), a sum of small numbers.
    """
    a = jnp.asarray(-0.5 * log(b2))
    t = count.astype(a.dtype)
    rho = (1.0 - _one_minus_langevin(a)) + t * _one_minus_langevin(t * a)
    rho_inf = 1.0 / jnp.tanh(a)
    tractable = jnp.maximum(rho, 4.0)
    squared = ((tractable - 4.0) / (rho_inf - 4.0)) * ((tractable - 2.0) / (rho_inf - 2.0))
    return rho, safe_sqrt(jnp.maximum(squared * (rho_inf / tractable), 0.0))


class _Scalars(NamedTuple):
    adam: Corrections
    adapt: chex.Array  # 1 where the adaptive step is taken, else 0
    rectification: chex.Array


class ScaleByRadam(Core):
    """Adam with the variance of its step size rectified.

        rho_inf = 2 / (1 - b2) - 1
        rho_t   = rho_inf - 2 t b2**t / (1 - b2**t)
        r_t     = sqrt((rho_t - 4)(rho_t - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho_t))
        u_t     = r_t m_hat / (sqrt(v_hat + eps_root) + eps)   where rho_t >= threshold
                  m_hat                                        otherwise

    Args:
      b1, b2, eps, eps_root, nesterov, mu_dtype, nu_dtype, eps_hat, state_format: see
        `scale_by_adam`.
      threshold: the least rho_t for which the adaptive step is taken; above 4.

    Returns:
      A transformation with state `ScaleByAdamState(count, mu, nu)`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.scale_by_radam(threshold=6)
      scale_by_radam(b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, threshold=6.0)
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    threshold: ScalarOrSchedule = fields.hyperparameter(default=5.0)
    nesterov: bool = fields.switch(default=False, kw_only=True)
    mu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    takes_pairs = True

    def scalars(self, view: View, state: State) -> tuple[Any, dict[str, Any]]:
        b1, b2, eps, eps_root, threshold = self.now(
            state, "b1", "b2", "eps", "eps_root", "threshold"
        )
        count = numerics.safe_increment(state.count)
        rho, rectification = _rectification(b2, count)
        adam = corrections(
            count, b1, b2, eps, eps_root, nesterov=self.nesterov, eps_hat=self.eps_hat
        )
        s = _Scalars(adam, (rho >= threshold).astype(rho.dtype), rectification)
        return with_words(self, s, view, state), {}

    def remember(
        self,
        s: _Scalars,
        g: chex.Array,
        square: Square,
        mu: chex.Array,
        nu: chex.Array,
    ) -> tuple[chex.Array, chex.Array]:
        return adam_moments(s.adam, g, square, mu, nu)

    def direction(
        self,
        s: _Scalars,
        g: chex.Array,
        mu: chex.Array,
        nu: chex.Array,
        ratio: chex.Array | None = None,
    ) -> chex.Array:
        adapted = s.rectification * adam_direction(s.adam, mu, g, s.adam.nu_scale * nu, ratio)
        return jnp.where(s.adapt > 0.0, adapted, look_ahead(s.adam, mu, g))


scale_by_radam = ScaleByRadam


def radam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    eps_hat: bool = False,
    state_format: StateFormat = None,
) -> Chain:
    """Rectified Adam: `p <- p - learning_rate * u` with u from `scale_by_radam`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, threshold, nesterov, mu_dtype, nu_dtype, eps_hat, state_format: see
        `scale_by_radam`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Liu et al., 2020, Algorithm 2.

    Example:
      >>> import adamx
      >>> [link.public_name for link in adamx.radam(1e-3).links]
      ['scale_by_radam', 'scale_by_learning_rate']
    """
    return chain(
        scale_by_radam(
            b1,
            b2,
            eps,
            eps_root,
            threshold,
            nesterov=nesterov,
            mu_dtype=mu_dtype,
            nu_dtype=nu_dtype,
            state_format=state_format,
            eps_hat=eps_hat,
        ),
        scale_by_learning_rate(learning_rate),
    )
