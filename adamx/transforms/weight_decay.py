"""Weight decay: toward zero (Loshchilov & Hutter 2019), or toward where training began."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.hyperparameter import (
    Hyperparameter,
    Number,
    ScalarOrSchedule,
    as_dtype,
    hyperparameter,
    resolve,
)
from adamx.core.mask import Mask, resolve_mask
from adamx.core.mask import mask as mask_field
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.transforms.scaling import init_count, read_and_count


def _add_scaled(u: chex.Array, rate: Number, x: chex.Array) -> chex.Array:
    """u + rate * x for a widened x, in the dtype of u."""
    u = jnp.asarray(u)
    factor = as_dtype(rate, numerics.real_dtype(x))
    return (numerics.widen(u) + factor * x).astype(u.dtype)


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
            return _add_scaled(u, rate, numerics.widen(jnp.asarray(p))) if selected else u

        selected = resolve_mask(self.public_name, self.mask, params)
        # Every row of a parameter decays.
        updates = jax.tree.map(
            lambda u, s: tree.dense(u) if s else u, updates, selected, is_leaf=tree.is_leaf
        )
        return tree.map_rows(decay, updates, params, selected, linear=True), state


class DecayToInitialState(NamedTuple):
    """Where the parameters were at `init`."""

    count: chex.Array  # int32[], steps taken
    initial: Params  # the parameters at `init`, in their dtypes; None where nothing decays


class DecayToInitial(GradientTransformation):
    """u + weight_decay * (p - p_0) on the leaves that the mask selects."""

    weight_decay: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    mask: Mask = mask_field()

    def _selected(self, params: Params) -> Params:
        """The parameters that decay, and `None` in place of the others."""
        return jax.tree.map(
            lambda p, selected: p if selected and numerics.is_inexact(p) else None,
            params,
            resolve_mask(self.public_name, self.mask, params),
            is_leaf=lambda x: x is None,
        )

    def init(self, params: Params) -> State:
        # A copy: the state must not share the buffers of parameters that get donated.
        copies = jax.tree.map(lambda p: jnp.array(p, copy=True), self._selected(params))
        return DecayToInitialState(count=jnp.zeros((), jnp.int32), initial=copies)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_params(self.public_name, params)
        tree.check_state(self.public_name, state, DecayToInitialState)
        tree.check_match(self.public_name, "updates", updates, "parameters", params)
        now = self._selected(params)
        tree.check_match(self.public_name, "parameters", now, "optimizer state", state.initial)
        rate = resolve(self.weight_decay, state.count, "weight_decay")

        def decay(u: chex.Array, p: chex.Array | None, start: chex.Array | None) -> chex.Array:
            if p is None or start is None:
                return u
            p, start = numerics.widen(jnp.asarray(p)), numerics.widen(start)
            return _add_scaled(u, rate, p - start.astype(p.dtype))

        updates = tree.map_leaves(decay, updates, now, state.initial)
        return updates, state._replace(count=numerics.safe_increment(state.count))


def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Any = None
) -> AddDecayedWeights:
    """Adds the decayed parameters to the updates.

        u <- u + weight_decay(count) * p

    Its place in the chain says which decay it is.  After the core (`scale_by_adam`) and before the
    learning rate it is decoupled weight decay, as in AdamW; before the core it is L2
    regularization: the gradient of weight_decay / 2 * ||p||**2 goes through the moments.

        adamw:          chain(scale_by_adam(), add_decayed_weights(0.1), scale_by_learning_rate(lr))
        adam with L2:   chain(add_decayed_weights(0.1), adam(lr))

    Args:
      weight_decay: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      mask: which leaves decay: a pytree of booleans (or a prefix of one), or a function of the
        parameters that returns one, such as `mask_by_path`; None for all.

    Raises:
      ValueError: a negative rate; at `update`, no `params` or a mask that does not fit.
      TypeError: not a number, array or schedule; a mask leaf that is not a boolean.

    Reference:
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, Algorithm 2, line 12
      (decoupled) and line 6 (L2).

    Example:
      >>> import adamx
      >>> tx = adamx.add_decayed_weights(0.1, mask={"w": True, "b": False})
      >>> params = {"w": 10.0, "b": 10.0}
      >>> tx.update({"w": 0.0, "b": 0.0}, tx.init(params), params)[0]
      {'b': 0.0, 'w': Array(1., dtype=float32)}
    """
    return AddDecayedWeights.checked(weight_decay=weight_decay, mask=mask)


def decay_to_initial(weight_decay: ScalarOrSchedule, mask: Any = None) -> DecayToInitial:
    """Decays the parameters toward their values at `init` instead of toward zero.

        u <- u + weight_decay(count) * (p - p_0)

    For fine-tuning: what was learned before is kept unless the gradient insists.  As with
    `add_decayed_weights`, after the core it is decoupled, before the core a penalty of
    weight_decay / 2 * ||p - p_0||**2.

    Args:
      weight_decay: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      mask: which leaves decay, see `add_decayed_weights`; the others are not kept.

    Returns:
      A transformation with state `DecayToInitialState(count, initial)`; `initial` is a copy of
      the parameters.

    Raises:
      ValueError: a negative rate; at `update`, no `params`, or others than at `init`.
      TypeError: not a number, array or schedule; a mask leaf that is not a boolean.

    Reference:
      Li, Grandvalet & Davoine, Explicit Inductive Bias for Transfer Learning with Convolutional
      Networks, 2018, section 3 (L2-SP).

    Example:
      >>> import adamx
      >>> tx = adamx.decay_to_initial(0.5)
      >>> state = tx.init(10.0)
      >>> tx.update(0.0, state, 12.0)[0]
      Array(1., dtype=float32)
    """
    return DecayToInitial.checked(weight_decay=weight_decay, mask=mask)
