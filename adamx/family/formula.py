"""The formula.  Every member of the family is made of these few lines.

    m <- b1 m + (1 - b1) g                                     `average`
    v <- b2 v + (1 - b2) |g|**2                                `average`
    m_hat = m / (1 - b1**t),   v_hat = v / (1 - b2**t)         `corrections`
    u = m_hat / (sqrt(v_hat + eps_root) + eps)                 `adam_direction`

Kingma & Ba, Adam, 2015, Algorithm 1.  The scalars are formed once per step, the rest runs per
leaf.  Bias corrections multiply: XLA repeats a multiplication by a scalar inside every loop that
reads the result, where a division would be kept as a gradient-sized temporary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import hyperparameter
from adamx.core.hyperparameter import Number


class Corrections(NamedTuple):
    """The scalars of one step of Adam."""

    b1: Number
    one_minus_b1: Number
    b2: Number
    one_minus_b2: Number
    mu_scale: Number  # of the first moment in the numerator
    g_scale: Number  # of the gradient in the numerator; 0 without Nesterov's look-ahead
    nu_scale: Number  # of the second moment under the root
    eps: Number
    eps_root: Number

    @property
    def looks_ahead(self) -> bool:
        """Whether the gradient has a share in the numerator."""
        return not hyperparameter.is_exactly_zero(self.g_scale)


def corrections(
    count: chex.Array,
    b1: Number,
    b2: Number,
    eps: Number,
    eps_root: Number,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    correct_mu: bool = True,
    correct_nu: bool = True,
) -> Corrections:
    """The scalars of step `count` (1 on the first step).

    Nesterov (Dozat 2016) looks one step ahead: b1 m / (1 - b1**(t+1)) + (1 - b1) g / (1 - b1**t).
    Epsilon hat (Kingma & Ba, section 2) stands beside the *raw* sqrt(v), which is the same as
    dividing eps by sqrt(1 - b2**t) here, and eps_root by 1 - b2**t.
    """
    mu_scale: Number = 1.0
    g_scale: Number = 0.0
    if correct_mu:
        mu_scale = 1.0 / hyperparameter.one_minus_power(b1, count)
    if nesterov:
        g_scale = (1.0 - b1) * mu_scale
        mu_scale = b1 / hyperparameter.one_minus_power(b1, count + 1)
    nu_scale = 1.0 / hyperparameter.one_minus_power(b2, count) if correct_nu else 1.0
    if eps_hat:
        eps = eps * hyperparameter.sqrt(nu_scale)
        eps_root = eps_root * nu_scale
    return Corrections(b1, 1.0 - b1, b2, 1.0 - b2, mu_scale, g_scale, nu_scale, eps, eps_root)


def average(b: Number, one_minus_b: Number, old: chex.Array, new: chex.Array) -> chex.Array:
    """One step of an exponential moving average."""
    return b * old + one_minus_b * new


def adam_moments(
    s: Corrections,
    g: chex.Array,
    square: Callable[[chex.Array], chex.Array],
    mu: chex.Array,
    nu: chex.Array,
) -> tuple[chex.Array, chex.Array]:
    """The averages of the gradient and of its square."""
    return average(s.b1, s.one_minus_b1, mu, g), average(s.b2, s.one_minus_b2, nu, square(g))


def look_ahead(s: Corrections, mu: chex.Array, g: chex.Array) -> chex.Array:
    """The numerator: the corrected first moment, plus the gradient's share with Nesterov."""
    m_hat = s.mu_scale * mu
    return m_hat + s.g_scale * g if s.looks_ahead else m_hat


def denominator(s: Corrections, nu_hat: chex.Array) -> chex.Array:
    """sqrt(v_hat + eps_root) + eps."""
    return jnp.sqrt(nu_hat + s.eps_root) + s.eps


def direction(s: Corrections, x: chex.Array, nu_hat: chex.Array) -> chex.Array:
    """x / (sqrt(v_hat + eps_root) + eps)."""
    return x / denominator(s, nu_hat)


def adam_direction(
    s: Corrections,
    mu: chex.Array,
    g: chex.Array,
    nu_hat: chex.Array,
    ratio: chex.Array | None = None,
) -> chex.Array:
    """m_hat / (sqrt(v_hat + eps_root) + eps), divided first and corrected then.

    In this order a finite gradient gives a finite direction: the corrections of m may exceed the
    largest float before the division, and infinity over infinity is not a number.
    `ratio` is m over the denominator, where it is known.
    """
    below = denominator(s, nu_hat)
    u = s.mu_scale * (mu / below if ratio is None else ratio)
    return u + s.g_scale * (g / below) if s.looks_ahead else u
