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

Without blocks there are no scales or tables: every element stands for itself, so a shard, a row or
a transposed layout hold the same words.  With a base for every block of elements, next to each
other in the last axis, the exponent of v takes 5 bits instead of 7:

    word = 256 c + 128 [m < 0] + k          c: 3 bits of the mantissa, 32 octaves below the base
                                            k = 0..127: |r| = 8 (k / 127)**2; 128 is NaN

The base of a block is chosen before its moments are known, from a bound of v that is made of the
largest old v and the largest gradient: the largest new v itself would be read twice, and kept.
"""

from __future__ import annotations

import math
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

LARGEST_DIRECTION = 8.0  # Cauchy-Schwarz: 7.27 at b1 = 0.9, b2 = 0.999
# A vanishing denominator is raised to this, so that 0 / 0 is 0.
_TINY = np.float32(2.0**-126)
_TWO_23 = np.float32(2.0**23)


class Layout(NamedTuple):
    """The meaning of the bits of a word, given a base."""

    mantissa: int  # bits of v
    levels: int  # of |r|, zero not counted; a power of 2 less 1

    @property
    def dropped(self) -> int:
        """The bits of a float32 that c does not keep."""
        return 23 - self.mantissa

    @property
    def nearest(self) -> np.uint32:
        """Random bits that round to nearest: half of what is dropped of v, half a level of m."""
        return np.uint32((1 << 31) | (1 << (self.dropped - 1)))

    @property
    def sign(self) -> int:
        """The bit of m < 0; alone it is NaN."""
        return self.levels + 1

    @property
    def shift(self) -> int:
        """The place of c in the word."""
        return self.sign.bit_length()

    @property
    def top(self) -> int:
        """The largest c."""
        return (1 << (16 - self.shift)) - 1


FIXED = Layout(mantissa=2, levels=63)
BLOCK = Layout(mantissa=3, levels=127)
_INFINITY = 255 << BLOCK.mantissa  # as a code
# c = 1 is 2**-84: sqrt(v) from 2.3e-13 to 3.8e6.
_FIXED_BASE = np.int32(((127 - 84) << 2) - 1)


class Denominator(NamedTuple):
    """D of one step: what stands beside sqrt(v) without its bias correction."""

    eps: Number
    eps_root: Number

    def __call__(self, v: chex.Array) -> chex.Array:
        inside = v if hyperparameter.is_exactly_zero(self.eps_root) else v + self.eps_root
        return jnp.sqrt(inside) + self.eps


def _v_of(c: chex.Array, layout: Layout, base: Any) -> chex.Array:
    v = jax.lax.bitcast_convert_type((c + base) << layout.dropped, jnp.float32)
    return jnp.where(c > 0, v, 0.0)


def block_base(bound: chex.Array) -> chex.Array:
    """int32, the base of a block whose v are at most `bound`, also after rounding up.

    Where the bound is infinite, the largest v is the largest that 3 bits of mantissa hold.
    """
    largest = jax.lax.bitcast_convert_type(bound, jnp.int32) >> BLOCK.dropped
    return jnp.clip(largest + 1, BLOCK.top, _INFINITY - 1) - BLOCK.top


def block_max(x: chex.Array, block: int) -> chex.Array:
    """The largest of every block of integers.

    In chunks: longer maxima, and those of floats, are operations of XLA:CPU's that read an array,
    which would have to be made.  Floats of one sign are in the order of their bits.
    """
    shape = (*x.shape[:-1], x.shape[-1] // block)
    chunk = math.gcd(block, 32)
    return x.reshape(*shape, block // chunk, chunk).max(axis=-1).max(axis=-1)


def largest_v(words: chex.Array, base: chex.Array) -> chex.Array:
    """The v of the largest words of blocks."""
    return _v_of(words >> BLOCK.shift, BLOCK, base)


def direction_and_v(
    word: chex.Array, layout: Layout = FIXED, base: Any = _FIXED_BASE
) -> tuple[chex.Array, chex.Array]:
    """r and v in float32."""
    bits = word.astype(jnp.int32)
    v = _v_of(bits >> layout.shift, layout, base)
    k = (bits & layout.levels).astype(jnp.float32)
    size = k * k * np.float32(LARGEST_DIRECTION / layout.levels**2)
    r = jnp.where((bits & layout.sign) != 0, -size, size)
    r = jnp.where((bits & (2 * layout.sign - 1)) == layout.sign, jnp.nan, r)
    return r, v


def decode(
    word: chex.Array, denominator: Denominator, layout: Layout = FIXED, base: Any = _FIXED_BASE
) -> tuple[chex.Array, chex.Array]:
    """m and v in float32, with D of the step that stored them."""
    r, v = direction_and_v(word, layout, base)
    return r * denominator(v), v


def encode(
    m: chex.Array,
    v: chex.Array,
    denominator: Denominator,
    bits: chex.Array,
    layout: Layout = FIXED,
    base: Any = _FIXED_BASE,
) -> chex.Array:
    """The words of float32 moments; `bits` are uint32, uniform.

    v takes as many of the low ones as it drops, m the high ones, of which 11 are its own: that it
    reads some of v's below them moves a threshold by less than 1 / 2048.

    A moment that is not a number, and an infinite m, become NaN.
    """
    levels = layout.levels
    exact = jax.lax.bitcast_convert_type(v, jnp.uint32)
    below = bits & np.uint32((1 << layout.dropped) - 1)
    c = ((exact + below) >> layout.dropped).astype(jnp.int32) - base
    c = jnp.where(v > 0, jnp.clip(c, 1, layout.top), 0)
    ratio = jnp.abs(m) / jnp.maximum(denominator(_v_of(c, layout, base)), _TINY)
    square = jnp.minimum(ratio * np.float32(levels**2 / LARGEST_DIRECTION), np.float32(levels**2))
    k = jnp.floor(jnp.sqrt(square))
    # Between k**2 and (k + 1)**2: up as often as makes the mean exact.
    one_to_two = jax.lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32)
    threshold = one_to_two - np.float32(1.0)
    k = k + (threshold * (2.0 * k + 1.0) < square - k * k)
    # The low bits of 2**23 + k are k; XLA's conversion of floats costs four instructions more.
    k = jax.lax.bitcast_convert_type(k + _TWO_23, jnp.uint32) & np.uint32(2 * levels + 1)
    # The sign of m, not of the ratio, which would have a second reader and be kept as an array.
    code = k + jnp.where((m < 0) & (k > 0), np.uint32(layout.sign), np.uint32(0))
    code = jnp.where(jnp.isfinite(m) & ~jnp.isnan(v), code, np.uint32(layout.sign))
    # The sum of two words comes last: a conversion in its place would be repeated where the
    # words are read, and everything before it.
    return (c << layout.shift).astype(jnp.uint16) + code.astype(jnp.uint16)


def _check_block(where: Where, value: object) -> int | None:
    return None if value is None else fields.check_static_count(where, value, 2)


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

    With `block`, the exponents of v count from a base that so many elements next to each other
    share: 8 bits each for v and m, twice as exact.  `nu` then holds the bases, int16, in the shape
    of the parameter with the last axis divided by `block`.  A v below 1/2**32 of the largest in
    its block is stored as that, so that its steps become smaller.  The step reads the gradient and
    the words twice.  Leaves whose last axis is no multiple of `block` are stored without; a device
    must hold whole blocks.

    Args:
      block: elements that share a base; None for one that all elements share.
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

    block: int | None = fields.static(_check_block, default=None)
    min_size: int = fields.static(fields.check_static_count, default=4096)
    seed: int = fields.static(fields.check_static_count, default=0)

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype | None:
        own = numerics.moment_dtype(parameter, None)
        if own != np.float32 or int(np.prod(np.shape(parameter))) < self.min_size:
            wide: np.dtype = numerics.magnitude_dtype(parameter, None)
            return wide if kind == "magnitude" else own
        if kind == "signed":
            return np.dtype(np.uint16)
        return None if self.block_of(parameter) is None else np.dtype(np.int16)

    def shape(self, parameter: chex.Array, kind: Kind) -> tuple[int, ...]:
        shape: tuple[int, ...] = np.shape(parameter)
        if self.dtype(parameter, kind) != np.int16:
            return shape
        assert self.block is not None
        return (*shape[:-1], shape[-1] // self.block)

    def block_of(self, words: chex.Array) -> int | None:
        """How many of these words share a base; None if all do."""
        shape = np.shape(words)
        return self.block if self.block and shape and shape[-1] % self.block == 0 else None


pair_format = PairFormat
