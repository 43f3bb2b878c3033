"""Loss scaling for float16: a guard that also learns how far the loss can be scaled up."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import boxes, fields, numerics, tree
from adamx.core.fields import Interval
from adamx.core.foreign import has_foreign
from adamx.core.hyperparameter import Number, scalar, whole
from adamx.core.transformation import State, Updates
from adamx.transforms.scaling import scale_leaves
from adamx.wrappers.guards import Guard, is_finite


class LossScale(NamedTuple):
    """The factor on the loss, and the good steps since it last changed."""

    scale: jax.Array  # float32[]
    good_steps: chex.Array  # int32[]


class DynamicLossScale(Guard):
    """Loss scaling for float16: small gradients survive, overflows skip the step.

    Multiply the loss by `loss_scale(state)` before differentiating (`make_step` does); here

        g <- g / scale                         in float32
        not finite:  skip the step, scale <- scale * backoff_factor
        growth_interval good steps in a row:   scale <- scale * growth_factor

    Args:
      inner: the transformation that gets the unscaled gradient.
      initial_scale: the first scale, > 0.
      growth_factor: a factor of at least 1.
      backoff_factor: a factor in (0, 1).
      growth_interval: good steps before the scale grows, at least 1.
      max_consecutive_errors, axis_name: see `apply_if_finite`.

    Returns:
      A transformation with state `GuardState` whose `statistics` are `LossScale(scale,
      good_steps)`.

    Raises:
      TypeError, ValueError: as `apply_if_finite`; a scale that is not positive, a factor outside
        of its range.

    Reference:
      Micikevicius et al., Mixed Precision Training, 2018, section 3.2.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.dynamic_loss_scale(adamx.adam(0.1), initial_scale=1024.0)
      >>> params = jnp.array(1.0, jnp.float16)
      >>> state = tx.init(params)
      >>> params, state = tx.step(jnp.array(jnp.inf, jnp.float16), state, params)
      >>> float(params), float(adamx.loss_scale(state))
      (1.0, 512.0)
    """

    initial_scale: Number = fields.number(fields.POSITIVE, default=2.0**15)
    growth_factor: Number = fields.number(Interval(1.0, math.inf), default=2.0)
    backoff_factor: Number = fields.number(Interval(0.0, 1.0, includes_low=False), default=0.5)
    growth_interval: int = fields.count(1, default=2000)
    max_consecutive_errors: int | None = fields.limit(0, default=None)

    def start(self) -> LossScale:
        return LossScale(
            scale=jnp.asarray(scalar(self.initial_scale, "initial_scale"), jnp.float32),
            good_steps=jnp.zeros((), jnp.int32),
        )

    def judge(self, grads: Updates, statistics: LossScale, extra: dict[str, Any]) -> chex.Array:
        # Before unscaling: what overflowed is infinite there too.
        return is_finite(grads, extra)

    def prepare(self, grads: Updates, statistics: LossScale) -> Updates:
        unscaled = scale_leaves(tree.widened(grads), 1.0 / statistics.scale)
        return tree.rounded_where_alike(unscaled, grads) if has_foreign(self.inner) else unscaled

    def remember(self, grads: Updates, statistics: LossScale, accepted: chex.Array) -> LossScale:
        good = jnp.where(accepted, numerics.safe_increment(statistics.good_steps), 0)
        grow = good >= whole(self.growth_interval, "growth_interval")
        factor = jnp.where(
            accepted,
            jnp.where(grow, scalar(self.growth_factor, "growth_factor"), 1.0),
            scalar(self.backoff_factor, "backoff_factor"),
        )
        # Held among the normal floats: neither an infinite scale nor one that rounds to zero.
        scale = jnp.clip(statistics.scale * factor, 2.0**-24, 2.0**127)
        return LossScale(scale.astype(jnp.float32), jnp.where(grow, 0, good).astype(jnp.int32))


dynamic_loss_scale = DynamicLossScale


def loss_scale(state: State) -> jax.Array:
    """The factor to multiply the loss with: that of `dynamic_loss_scale` inside `state`, or 1.

    Args:
      state: the state of any transformation, nested as deeply as you like.

    Returns:
      A float32 scalar.

    Raises:
      ValueError: more than one loss scale in the state.

    Example:
      >>> import adamx
      >>> float(adamx.loss_scale(adamx.adam(0.1).init(1.0)))
      1.0
    """
    state = boxes.unboxed(state)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, LossScale))
    found = [node for node in nodes if isinstance(node, LossScale)]
    if len(found) > 1:
        raise ValueError(f"loss_scale: the state holds {len(found)} loss scales, expected one")
    scale: jax.Array = tree.unshared(found[0].scale, state) if found else jnp.ones((), jnp.float32)
    return scale
