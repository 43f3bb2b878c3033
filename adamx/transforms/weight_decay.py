"""Weight decay: toward zero (Loshchilov & Hutter 2019), or toward where training began."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex

from adamx.core import fields, tree
from adamx.core.format import LikeParameter
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
    is_exactly_zero,
)
from adamx.core.link import Link, PerLeaf, View
from adamx.core.mask import MaskLike, resolve_mask
from adamx.core.mask import mask as mask_field
from adamx.core.slot import Slot
from adamx.core.transformation import Params, State


class AddDecayedWeights(Link):
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
      {'b': Array(0., dtype=float32), 'w': Array(1., dtype=float32)}
    """

    reads_params = True

    weight_decay: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mask: MaskLike = mask_field(default=None)

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        (rate,) = self.now(state, "weight_decay")
        selected, _ = tree.flatten(resolve_mask(self.public_name, self.mask, view.params))
        idle = is_exactly_zero(rate)
        return PerLeaf([rate if chosen and not idle else None for chosen in selected]), {}

    def rule(self, s: Number, u: chex.Array, p: chex.Array) -> chex.Array:
        return u + s * p


class DecayToInitialState(NamedTuple):
    """Where the parameters were at `init`."""

    count: chex.Array  # int32[], steps taken
    initial: Params  # the parameters at `init`, in their dtypes; None where nothing decays


class DecayToInitial(Link):
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

    reads_params = True

    weight_decay: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)
    mask: MaskLike = mask_field(default=None)

    def state_type(self) -> type[Any]:
        return DecayToInitialState

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("initial", format=LikeParameter(), start="parameter"),)

    def selected(self, params: Params) -> Any:
        return resolve_mask(self.public_name, self.mask, params)

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        (rate,) = self.now(state, "weight_decay")
        selected, _ = tree.flatten(self.selected(view.params))
        return PerLeaf([rate if chosen else None for chosen in selected]), {}

    def rule(
        self, s: Number, u: chex.Array, p: chex.Array, initial: chex.Array
    ) -> tuple[chex.Array, chex.Array]:
        return u + s * (p - initial), initial


add_decayed_weights = AddDecayedWeights


decay_to_initial = DecayToInitial
