"""Both moments of Adam in one 16-bit word: v as a float of 9 bits, m by its direction in 7.

    r = m / D(v),   D(v) = sqrt(v + eps_root) + eps        |r| <= 8, as |m| is bounded by sqrt(v)
    word = 128 c + 64 [m < 0] + k

    c = 0 for v = 0, else 1..511: exponent and 2 bits of the mantissa of v, 127 octaves
    k = 0..63: |r| = 8 (k / 63)**2, finer where directions are small
    64, minus zero, is NaN

Both are rounded at random, each unbiased: c by adding random bits below the last one that is kept,
k by the place of |r| between two neighbours.  m is divided by D of the *stored* v, so that what is
lost of v does not change m.  Where v is smaller or larger than 127 octaves hold, the nearest one
is stored; m then meets the bound, and a direction never exceeds it.

There are no blocks, scales or tables: every element stands for itself, so a shard, a row or a
transposed layout hold the same words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, hyperparameter, numerics
from adamx.core.fields import Where
from adamx.core.format import Joint, Kind
from adamx.core.hyperparameter import Number
from adamx.core.value import Value
from adamx.formats.bfloat16 import check_seed

LARGEST_DIRECTION = 8.0  # Cauchy-Schwarz: 7.27 at b1 = 0.9, b2 = 0.999
_LEVELS = 63
_TOP = 511
_DROPPED = 21  # bits of a float32 that c does not keep
_BASE = ((127 - 84) << 2) - 1  # c = 1 is 2**-84: sqrt(v) from 2.3e-13 to 3.8e6
_NAN = 64
# What a vanishing denominator is raised to, so that 0 / 0 is 0.
_TINY = np.float32(2.0**-126)


class Denominator(NamedTuple):
    """D of one step: what stands beside sqrt(v) without its bias correction."""

    eps: Number
    eps_root: Number

    def __call__(self, v: chex.Array) -> chex.Array:
        inside = v if hyperparameter.is_exactly_zero(self.eps_root) else v + self.eps_root
        return jnp.sqrt(inside) + self.eps


def _v_of(c: chex.Array) -> chex.Array:
    v = jax.lax.bitcast_convert_type((c + np.uint32(_BASE)) << _DROPPED, jnp.float32)
    return jnp.where(c > 0, v, 0.0)


def decode(word: chex.Array, denominator: Denominator) -> tuple[chex.Array, chex.Array]:
    """m and v in float32, with D of the step that stored them."""
    bits = word.astype(jnp.uint32)
    v = _v_of(bits >> 7)
    k = (bits & _LEVELS).astype(jnp.float32)
    size = k * k * np.float32(LARGEST_DIRECTION / _LEVELS**2)
    r = jnp.where((bits & _NAN) != 0, -size, size)
    r = jnp.where((bits & 127) == _NAN, jnp.nan, r)
    return r * denominator(v), v


def encode(m: chex.Array, v: chex.Array, denominator: Denominator, bits: chex.Array) -> chex.Array:
    """The words of float32 moments; `bits` are uint32, uniform: 20 for v, 12 for m.

    A moment that is not a number, and an infinite m, become NaN.
    """
    exact = jax.lax.bitcast_convert_type(v, jnp.uint32)
    c = ((exact + ((bits >> 12) << 1)) >> _DROPPED).astype(jnp.int32) - _BASE
    c = jnp.where(v > 0, jnp.clip(c, 1, _TOP), 0).astype(jnp.uint32)
    ratio = jnp.abs(m) / jnp.maximum(denominator(_v_of(c)), _TINY)
    square = jnp.minimum(ratio * np.float32(_LEVELS**2 / LARGEST_DIRECTION), np.float32(_LEVELS**2))
    k = jnp.floor(jnp.sqrt(square))
    # Between k**2 and (k + 1)**2: up as often as makes the mean exact.
    threshold = ((bits & 0xFFF).astype(jnp.float32) + 0.5) * np.float32(1 / 4096)
    k = (k + (threshold * (2.0 * k + 1.0) < square - k * k)).astype(jnp.uint32)
    # The sign of m, not of the ratio, which would have a second reader and be kept as an array.
    code = k + jnp.where((m < 0) & (k > 0), np.uint32(_NAN), np.uint32(0))
    code = jnp.where(jnp.isfinite(m) & ~jnp.isnan(v), code, np.uint32(_NAN))
    # The sum of two words comes last: a conversion in its place would be repeated where the
    # words are read, and everything before it.
    return (c << 7).astype(jnp.uint16) + code.astype(jnp.uint16)


def _check_size(where: Where, value: Any) -> int:
    if isinstance(value, (jax.Array, np.ndarray)):
        raise where.error(TypeError, "a whole number", value)
    size: int = fields.check_count(where, value, 0)
    return size


class PairFormat(Joint, Value):
    """Both moments of Adam in one word: 2 bytes for each parameter instead of 8.

        v   9 bits: a float with 2 bits of mantissa, over 127 octaves
        m   7 bits: the direction m / (sqrt(v) + eps) from -8 to 8, in 63 levels of each sign

    Both are rounded at random, each exact in the mean; the random bits are a hash of seed, step,
    leaf and element, as in `bfloat16_format`.  A direction is off by about a fifth at each step, as
    with a smaller batch, and never larger than 8.  NaN stays NaN.

    The field `mu` of the state holds the words, in the shape of the parameter, and `nu` has `None`
    there.  Small leaves, complex and float64 ones stay as they are.  Words mean nothing without the
    numbers they were made with: `b1` and `b2` may change from step to step; when `eps` is set to
    another value, m is off by the ratio of the two where v is small.

    Args:
      min_size: leaves with fewer elements keep both moments in float32.
      seed: a whole number, at least 0.

    Returns:
      What `state_format` takes; `"pair"` is short for it.

    Raises:
      TypeError, ValueError: an argument that is no such number.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> params = {"bias": jnp.zeros(64), "kernel": jnp.zeros((64, 64))}
      >>> state = adamx.scale_by_adam(state_format="pair").init(params)
      >>> state.mu["kernel"].dtype.name, state.nu["kernel"], state.nu["bias"].dtype.name
      ('uint16', None, 'float32')
    """

    min_size: int = fields.static(_check_size, default=4096)
    seed: int = fields.static(check_seed, default=0)

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype | None:
        own = numerics.moment_dtype(parameter, None)
        if own != np.float32 or int(np.prod(np.shape(parameter))) < self.min_size:
            wide: np.dtype = numerics.magnitude_dtype(parameter, None)
            return wide if kind == "magnitude" else own
        return np.dtype(np.uint16) if kind == "signed" else None


pair_format = PairFormat
