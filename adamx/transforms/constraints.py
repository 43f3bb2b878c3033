"""Keeping parameters inside a set."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import numerics
from adamx.core.link import Link


class KeepParamsNonnegative(Link):
    """Shortens every update that would make its parameter negative: `u <- max(u, -p)`.

    Place it last in a chain: it sees the updates that are about to be applied.  A parameter that
    is negative already is moved to 0 or above.  Rounding to the parameters' dtype never
    crosses -p, which that dtype holds.  Complex parameters have no sign and stay as they are.

    Raises:
      ValueError: at `update`, no `params`.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.chain(adamx.scale(-1.0), adamx.keep_params_nonnegative())
      >>> params = jnp.array([1.0, 1.0])
      >>> tx.step(jnp.array([0.5, 3.0]), tx.init(params), params)[0]
      Array([0.5, 0. ], dtype=float32)
    """

    reads_params = True
    widens = True

    def rule(self, s: Any, u: chex.Array, p: chex.Array) -> chex.Array:
        return u if numerics.is_complex(u) else jnp.maximum(u, -p)


keep_params_nonnegative = KeepParamsNonnegative
