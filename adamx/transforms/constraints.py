"""Keeping parameters inside a set."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import numerics, tree
from adamx.core.transformation import GradientTransformation, Params, State, Updates


def _nonnegative(s: tuple[()], u: chex.Array, p: chex.Array) -> tuple[chex.Array]:
    return (u if numerics.is_complex(u) else jnp.maximum(u, -p),)


class KeepParamsNonnegative(GradientTransformation):
    """max(u, -p), so that p + u >= 0."""

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_params(self.public_name, params)
        (kept,) = tree.update_leaves(
            self.public_name, _nonnegative, updates, [], (), params, reads_params=True
        )
        return kept, state


def keep_params_nonnegative() -> KeepParamsNonnegative:
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
    return KeepParamsNonnegative()
