"""The rest of a float32 number beside its bfloat16 half, in 8, 16 or 32 bits.

    bits(x) + 0x8000 = 16 bits of the nearest bfloat16, then 16 more, of which 8 or all are kept

Integers only: zero and the smallest numbers are ordinary.  A rest of 32 bits is the number itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics
from adamx.core.format import Format, Kind

DTYPES: dict[int, np.dtype] = {
    8: np.dtype(np.uint8),
    16: np.dtype(np.uint16),
    32: np.dtype(np.float32),
}
_HALF = np.uint32(0x8000)  # half of the last digit of bfloat16, in the words of float32
_NAN = np.uint32(0x7FC00000)


def join(p: chex.Array, rest: chex.Array | None) -> chex.Array:
    """The float32 number that a bfloat16 parameter and its rest stand for.

    A parameter that was changed from outside stands for itself, to half of its last digit.
    """
    p = jnp.asarray(p)
    if rest is None:
        return numerics.widen(p)
    if rest.dtype == jnp.float32:
        return jnp.where(rest.astype(jnp.bfloat16) == p, rest, numerics.widen(p))
    low = rest.astype(jnp.uint32) << (16 - 8 * rest.dtype.itemsize)
    high = jax.lax.bitcast_convert_type(p, jnp.uint16).astype(jnp.uint32) << 16
    # Nothing is below 0 and beyond infinity, where one that was put in from outside may stand.
    low = jnp.where((high << 1) == 0, jnp.maximum(low, _HALF), low)
    low = jnp.where(jnp.isinf(p), jnp.minimum(low, _HALF), low)
    return jax.lax.bitcast_convert_type(high + low - _HALF, jnp.float32)


def split(x: chex.Array, rest: Any) -> tuple[chex.Array, chex.Array]:
    """The nearest bfloat16 (ties away from zero) of a float32, and what is left as `rest` is."""
    if rest.dtype == jnp.float32:
        return x.astype(jnp.bfloat16), x
    bits = 8 * rest.dtype.itemsize
    word = jnp.where(jnp.isnan(x), _NAN, jax.lax.bitcast_convert_type(x, jnp.uint32))
    word = word + _HALF + np.uint32((1 << (16 - bits)) >> 1)
    high = jax.lax.bitcast_convert_type((word >> 16).astype(jnp.uint16), jnp.bfloat16)
    low = (word >> (16 - bits)) & np.uint32((1 << bits) - 1)
    return high, low.astype(rest.dtype)


def is_bfloat16(p: Any) -> bool:
    """Whether it is an array of bfloat16, or the shape of one."""
    return numerics.is_inexact(p) and jax.dtypes.result_type(p) == jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Rest(Format):
    """The rest of a float32 number beside its bfloat16 half, which only `join` can read."""

    bits: int

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype | None:
        return DTYPES[self.bits] if self.bits and is_bfloat16(parameter) else None
