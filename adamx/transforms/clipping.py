"""Bounding the size of the gradient."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.hyperparameter import Hyperparameter, ScalarOrSchedule, hyperparameter
from adamx.core.norms import global_norm
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.transforms.scaling import init_count, read_and_count, scale_leaves


def clip_factor(norm: chex.Array, max_norm: Any) -> chex.Array:
    """min(1, max_norm / norm) as one scalar: 1 at norm 0 and for a NaN, 0 for an infinite norm.

    One scalar, because XLA folds a multiplication by it into whatever reads the gradient; a
    division or a select per element would be kept as a gradient-sized temporary.
    """
    factor = max_norm / jnp.maximum(norm, max_norm)
    return jnp.where(jnp.isnan(norm), 1.0, factor)


class ClipByGlobalNorm(GradientTransformation):
    """u * min(1, max_norm / ||u||) with the norm over all leaves together."""

    max_norm: Hyperparameter = hyperparameter(fields.POSITIVE)

    def init(self, params: Params) -> State:
        return init_count(self.max_norm)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        limit, state = read_and_count(self.public_name, "max_norm", self.max_norm, state)
        return scale_leaves(updates, clip_factor(global_norm(updates), limit)), state


def clip_by_global_norm(max_norm: ScalarOrSchedule) -> ClipByGlobalNorm:
    """Rescales the whole gradient so that its Euclidean norm is at most `max_norm`.

        u <- u * min(1, max_norm / sqrt(sum over all leaves of |u|**2))

    The norm is computed in at least float32.  A NaN gradient is passed on unscaled: it does not
    spread to other elements, and a guard can see it.

    Args:
      max_norm: the largest norm, > 0; a number, a scalar array or a schedule.

    Raises:
      ValueError: `max_norm` not positive.
      TypeError: not a number, array or schedule.

    Reference:
      Pascanu, Mikolov & Bengio, On the difficulty of training RNNs, 2013, Algorithm 1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.clip_by_global_norm(1.0)
      >>> tx.update(jnp.array([3.0, 4.0]), tx.init(None))[0]
      Array([0.6, 0.8], dtype=float32)
    """
    return ClipByGlobalNorm.checked(max_norm=max_norm)
