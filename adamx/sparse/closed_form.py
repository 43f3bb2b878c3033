"""The closed form behind mode `exact`: what a row misses while no batch reads it.

A row that no batch reads still moves: its moments decay, its first moment carries it on, and its
weights decay.  None of that needs the row itself, so it is paid when the row is next read.  After
step t, at which the row was last computed, step s = t + i of Algorithm 1 without a gradient is

    p <- (1 - lr_s wd_s) p - lr_s c_s m b1**i / (sqrt(v b2**i) + eps_s sqrt(1 - b2**s))
       = (1 - q_s) p - w_i m / (sqrt(v) + y_i)

    w_i = lr_s c_s (b1 / sqrt(b2))**i,   y_i = eps_s sqrt(1 - b2**s) b2**(-i/2)
    c_s = sqrt(1 - b2**s) / (1 - b1**s)

The w_i and y_i belong to the step t and not to the row, so their sums are kept once for each t
(`Ages`) and every row remembers its t only.  With decay, a sum shrinks as p does:

    p_now = (1 - D) p - m F(sqrt(v)),     D <- D + q_s (1 - D)
    F(x) = sum of w_i / (x + y_i),        F(x) <- (1 - q_s) F(x) + w_i / (x + y_i)

F depends on the element through x.  Written as F(x) = S / (x + A(x)), S = sum of w_i, it hides in
A, a mean of the y_i that grows slowly from their harmonic mean at x = 0 to their arithmetic mean
at infinity.  A is known at four places x = k u, u = y_0, and between them (and beyond) it is the
hyperbola through three of these points, corrected at the fourth: `drift`.

Under AMSGrad the largest v stays what it is without a gradient, so that all y_i are eps, F(x) is
S / (x + eps) exactly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from adamx.core import hyperparameter
from adamx.core.hyperparameter import Number
from adamx.core.indexing import beside
from adamx.family.formula import Corrections

# Where A is known, in units of y_0; chosen for the smallest error at b2 = 0.95.
_PLACES = (0.25, 1.0, 5.0, 30.0)
_SCALE = 4.0
# Where the pole of the hyperbola -x may be, in the same units, should rounding blur the points.
_POLES = (0.1, 50.0)
# In place of y_0 = 0, which is no unit.
_SMALLEST_UNIT = 1e-20
# Weights below exp(-25) of the first one are left out: 1e-11.
_NEGLIGIBLE = -25.0
# A decay rate of 0 has no logarithm; exp(-80) is as good as 0, and 0 * 80 is a number.
_SMALLEST_LOG = -80.0


class Ages(NamedTuple):
    """The effect of the steps since step t on a row last computed then; slot t modulo H.

    H steps are remembered, and no row goes without being computed for longer.
    """

    sums: chex.Array  # float[H, 5]: S, then y_0 F(k y_0) at the four places k
    unit: chex.Array  # float[H]: y_0
    decayed: chex.Array  # float[H]: D


def no_ages(ages: int, dtype: np.dtype) -> Ages:
    """Before the first step."""
    return Ages(
        sums=jnp.zeros((ages, 1 + len(_PLACES)), dtype),
        unit=jnp.ones(ages, dtype),
        decayed=jnp.zeros(ages, dtype),
    )


def log_decay_rate(b: Number) -> Number:
    """The logarithm of b1 or b2, of 0 too."""
    log = hyperparameter.log(b)
    return max(log, _SMALLEST_LOG) if isinstance(log, float) else jnp.maximum(log, _SMALLEST_LOG)


class Numbers(NamedTuple):
    """One step of the rules: what they multiply with."""

    corrections: Corrections
    learning_rate: Number
    weight_decay: Number
    amsgrad: bool


def advance(ages: Ages, count: chex.Array, numbers: Numbers) -> Ages:
    """The same after one more step, the `count`-th, whose own slot starts anew."""
    c, rate = numbers.corrections, numbers.learning_rate
    # The slot of age 0 is that of a step too long ago for any row to remember.
    age = (count - jnp.arange(len(ages.unit))) % len(ages.unit)
    steps = age.astype(ages.unit.dtype)
    if numbers.amsgrad:
        weight, offset = rate * c.mu_scale, c.eps
        log_ratio, log_growth = log_decay_rate(c.b1), 0.0
    else:
        root = hyperparameter.sqrt(c.nu_scale)
        weight, offset = rate * c.mu_scale / root, c.eps / root
        log_growth = -0.5 * log_decay_rate(c.b2)
        log_ratio = log_decay_rate(c.b1) + log_growth

    counts = steps * log_ratio > _NEGLIGIBLE
    w = jnp.where(counts, weight * jnp.exp(steps * log_ratio), 0.0)
    y = offset * jnp.exp(jnp.where(counts, steps * log_growth, 0.0)) / ages.unit
    terms = jnp.stack([w, *(w / (k + y) for k in _PLACES)], axis=1)

    lost = rate * numbers.weight_decay
    new = age == 0
    return Ages(
        sums=jnp.where(new[:, None], 0.0, (1.0 - lost) * ages.sums + terms),
        unit=jnp.where(new, jnp.maximum(offset, _SMALLEST_UNIT), ages.unit),
        decayed=jnp.where(new, 0.0, ages.decayed + lost * (1.0 - ages.decayed)),
    )


def _ratio(x: chex.Array, y: chex.Array, otherwise: float) -> chex.Array:
    """x / y, and `otherwise` where y is 0."""
    return jnp.where(y != 0.0, x / jnp.where(y != 0.0, y, 1.0), otherwise)


def drift(sums: chex.Array, unit: chex.Array, x: chex.Array) -> chex.Array:
    """F(x) for rows with sums [n, 5], unit [n] and x [n, ...]."""
    k0, k1, k2, k3 = _PLACES
    total, *values = sums.T
    a0, a1, a2, a3 = (_ratio(total, f, k + 1.0) - k for k, f in zip(_PLACES, values, strict=True))
    # No y_i is below y_0; in the slot of step 0 the unit is not y_0, and no row has moments.
    a0 = jnp.maximum(a0, 1.0)
    # A(k) = a0 + (k - k0) height / (k + pole) at the first three places.
    slope1, slope2 = ((a - a0) / (k - k0) for a, k in ((a1, k1), (a2, k2)))
    slope1 = jnp.maximum(slope1, 0.0)
    pole = _ratio(slope2 * k2 - slope1 * k1, slope1 - slope2, _POLES[1])
    pole = jnp.clip(pole, *_POLES)
    height = slope1 * (k1 + pole)
    # The rest at the fourth, times (k - k0) (k - k1) (k - k2) / (k + scale)**3, which is 0
    # at the others.
    bump = math.prod((k3 - k) / (k3 + _SCALE) for k in (k0, k1, k2))
    missing = (a3 - a0 - (k3 - k0) * height / (k3 + pole)) / bump

    total, unit, a0, height, pole, missing = (
        beside(scalar, x) for scalar in (total, unit, a0, height, pole, missing)
    )
    from0, from1, from2 = (x - k * unit for k in (k0, k1, k2))
    share = 1.0 / (x + _SCALE * unit)
    hyperbola = a0 + height * (from0 / (x + pole * unit))
    correction = missing * ((from0 * share) * (from1 * share) * (from2 * share))
    # The square of a large gradient is infinite: then there is no step.
    return jnp.where(jnp.isinf(x), 0.0, total / (x + unit * (hyperbola + correction)))
