"""Random bits of (seed, step, array, element): a hash, of which a state keeps nothing.

    bits = mix(index * odd ^ key),   key = mix(name ^ mix(count ^ mix(seed)))

`mix` is MurmurHash3's finalizer.  The bits are made inside of the loop that uses them, by integer
arithmetic alone: they are the same on any number of devices and after a restart, and another layer
in the model changes none of them.
"""

from __future__ import annotations

import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core.compat import varying_axes
from adamx.core.format import Place

_GOLDEN = np.uint32(0x9E3779B9)  # odd, 2**32 over the golden ratio


def _mix(x: chex.Array) -> chex.Array:
    """A permutation of the 32-bit words in which every bit depends on every other."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def key_of(seed: int, place: Place, like: chex.Array) -> chex.Array:
    """uint32[], the key of one array at one step.

    Inside `shard_map` the shards of an array that differ along a mapped axis get different keys,
    while copies of one array stay copies.
    """
    key = _mix(jnp.asarray(seed & 0xFFFFFFFF, jnp.uint32) + _GOLDEN)
    key = _mix(key ^ place.count.astype(jnp.uint32))
    key = _mix(key ^ np.uint32(zlib.crc32(place.name.encode())))
    for axis in sorted(varying_axes(like)):
        index = jax.lax.axis_index(axis).astype(jnp.uint32)
        key = _mix(key + _GOLDEN * (index + 1))
    return key


def random_bits(
    key: chex.Array, shape: tuple[int, ...], rows: chex.Array | None = None
) -> chex.Array:
    """uint32 of this shape, uniform and independent; of some `rows` of an array, those it has."""
    index = jnp.zeros(shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(len(shape))):
        if axis == 0 and rows is not None:
            along = rows.astype(jnp.uint32).reshape(-1, *[1] * (len(shape) - 1))
        else:
            along = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        index = index + along * np.uint32(stride & 0xFFFFFFFF)
        stride *= shape[axis]
    return _mix((index * _GOLDEN) ^ key)
