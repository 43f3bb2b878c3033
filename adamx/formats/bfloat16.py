"""bfloat16, rounded up or down at random so that the mean is exact."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, numerics
from adamx.core.format import Kind, Place, Stochastic
from adamx.core.value import Value
from adamx.formats.bits import key_of, random_bits


def round_at_random(x: chex.Array, bits: chex.Array) -> chex.Array:
    """float32 to bfloat16: up with the probability that makes the mean exact.

    Infinities and NaN stay what they are, and a finite number stays finite.
    """
    words = jax.lax.bitcast_convert_type(x, jnp.uint32)
    rounded = (words + (bits & 0xFFFF)) & np.uint32(0xFFFF0000)
    overflows = (rounded & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
    rounded = jnp.where(overflows, words & np.uint32(0xFFFF0000), rounded)
    finite = jax.lax.bitcast_convert_type(rounded, jnp.float32)
    return jnp.where(jnp.isfinite(x), finite, x).astype(jnp.bfloat16)


class Bfloat16Format(Stochastic, Value):
    """Moments in bfloat16 with stochastic rounding: 2 bytes each.

        bits(x) <- (bits(x) + random 16 bits) with the low 16 bits cleared

    Rounded to nearest, an average whose steps are smaller than half of its last digit stands still:
    at b2 = 0.999 a second moment does.  Rounded at random it is exact in the mean.  The random bits
    are a hash of seed, step, array and element: resuming a run repeats them, and so does any number
    of devices.  Where JAX tracks nothing (`pmap`, `shard_map(..., check_vma=False)`) all devices
    draw the same ones.

    Complex and float64 moments stay as they are.

    Args:
      seed: a whole number, at least 0.

    Returns:
      What `state_format` takes; `"bfloat16"` is short for it.

    Raises:
      TypeError, ValueError: `seed` is no such number.

    Reference:
      Gupta et al., Deep Learning with Limited Numerical Precision, 2015, section 3.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.adam(1e-3, state_format="bfloat16").init(jnp.zeros(2))[0].nu
      Array([0, 0], dtype=bfloat16)
    """

    seed: int = fields.static(fields.check_static_count, default=0)

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype:
        own = numerics.moment_dtype(parameter, None)
        if own == np.float32:
            narrow: np.dtype = np.dtype(jnp.bfloat16)
            return narrow
        return numerics.magnitude_dtype(parameter, None) if kind == "magnitude" else own

    def load(self, stored: chex.Array) -> chex.Array:
        return numerics.widen(jnp.asarray(stored))

    def store_at(self, x: chex.Array, old: chex.Array, place: Place) -> chex.Array:
        if old.dtype != jnp.bfloat16:
            return x.astype(old.dtype)
        bits = random_bits(key_of(self.seed, place, old), x.shape, place.rows)
        return round_at_random(x.astype(jnp.float32), bits)


bfloat16_format = Bfloat16Format
