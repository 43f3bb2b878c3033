"""Decoupled weight decay (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.hyperparameter import Hyperparameter, ScalarOrSchedule, as_dtype, hyperparameter
from adamx.core.mask import Mask, resolve_mask
from adamx.core.mask import mask as mask_field
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.transforms.scaling import init_count, read_and_count


class AddDecayedWeights(GradientTransformation):
    """u + weight_decay * p on the leaves that the mask selects."""

    weight_decay: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    mask: Mask = mask_field()

    def init(self, params: Params) -> State:
        return init_count(self.weight_decay)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_params(self.public_name, params)
        tree.check_match(self.public_name, "updates", updates, "parameters", params)
        rate, state = read_and_count(self.public_name, "weight_decay", self.weight_decay, state)
        if isinstance(rate, float) and rate == 0.0:
            return updates, state

        def decay(u: chex.Array, p: chex.Array, selected: bool) -> chex.Array:
            if not selected:
                return u
            u, wide = jnp.asarray(u), numerics.widen(jnp.asarray(p))
            factor = as_dtype(rate, numerics.real_dtype(wide))
            return (numerics.widen(u) + factor * wide).astype(u.dtype)

        selected = resolve_mask(self.public_name, self.mask, params)
        return tree.map_leaves(decay, updates, params, selected), state


def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Any = None
) -> AddDecayedWeights:
    """Adds the decayed parameters to the updates; before the learning rate it is AdamW's decay.

        u <- u + weight_decay(count) * p

    Args:
      weight_decay: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      mask: which leaves decay: a pytree of booleans (or a prefix of one), or a function of the
        parameters that returns one; None for all.

    Raises:
      ValueError: a negative rate; at `update`, no `params` or a mask that does not fit.
      TypeError: not a number, array or schedule; a mask leaf that is not a boolean.

    Reference:
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, Algorithm 2, line 12.

    Example:
      >>> import adamx
      >>> tx = adamx.add_decayed_weights(0.1, mask={"w": True, "b": False})
      >>> params = {"w": 10.0, "b": 10.0}
      >>> tx.update({"w": 0.0, "b": 0.0}, tx.init(params), params)[0]
      {'b': 0.0, 'w': Array(1., dtype=float32)}
    """
    return AddDecayedWeights.checked(weight_decay=weight_decay, mask=mask)
