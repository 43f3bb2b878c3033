"""Gradient centralization (Yong et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

import chex
import jax.numpy as jnp

from adamx.core.link import Link


class Centralize(Link):
    """Makes the mean of every slice `u[i]` of a leaf with two or more axes zero.

        u[i] <- u[i] - mean of u[i]

    Scalars and vectors stay as they are.  Means are computed in at least float32.  A NaN or an
    infinity makes its own slice NaN and no other.

    Reference:
      Yong et al., Gradient Centralization, 2020, equation 1; the first axis is that of the
      outputs there.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.centralize()
      >>> tx.update(jnp.array([[1.0, 3.0], [5.0, 5.0]]), tx.init(None))[0]
      Array([[-1.,  1.],
             [ 0.,  0.]], dtype=float32)
    """

    rows = "linear"
    elementwise = False

    def rule(self, s: Any, u: chex.Array, p: None) -> chex.Array:
        if u.ndim < 2 or not u.size:
            return u
        # Divided before it is summed, so that the sum of large finite numbers is finite.
        part = u * (1.0 / math.prod(u.shape[1:]))
        return u - jnp.sum(part, axis=tuple(range(1, u.ndim)), keepdims=True)


centralize = Centralize
