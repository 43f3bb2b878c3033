"""Running a transformation at some steps only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.foreign import EXTRA_UNDER_OPTAX
from adamx.core.rows import SparseRows
from adamx.core.transformation import Params, State, Updates
from adamx.core.wrapper import Wrapper
from adamx.wrappers.conditional_step import Conditioned, Decision

_CONDITION = "a function (step) -> bool"


class ConditionallyTransformState(NamedTuple):
    """The state of the wrapped transformation, and how often it was asked."""

    inner_state: State
    step: chex.Array  # int32[], steps seen


class ConditionallyMaskState(NamedTuple):
    """How often the wrapped transformation was asked, and its state."""

    step: chex.Array  # int32[], steps seen
    inner_state: State


def _as(shape: Any, u: Any) -> Any:
    """An update in the dtype, and rows in the form, of what the transformation returns."""
    if shape is None:
        return None
    if isinstance(shape, SparseRows):
        return (u.coalesce() if shape.is_coalesced else u).astype(shape.dtype)
    return jnp.asarray(tree.dense(u), shape.dtype)


class Conditional(Wrapper, abstract=True):
    """A transformation, and a function of the step that says when it runs."""

    should_transform_fn: Callable[..., Any] = fields.function(_CONDITION)
    forward_extra_args: bool = fields.switch(default=False)

    def condition(self, step: chex.Array, extra: dict[str, Any]) -> chex.Array:
        """The condition at this step, as a boolean scalar."""
        extra = extra if self.forward_extra_args else {}
        where, wanted = Where(self.public_name, "should_transform_fn"), _CONDITION
        if self.forward_extra_args:
            got = ", ".join(extra) or "none"
            wanted += f" and of the extra arguments of `update`, of which there are {got}"
            wanted += EXTRA_UNDER_OPTAX if not extra else ""
        returned = fields.call(where, wanted, self.should_transform_fn, step, **extra)
        is_scalar = not numerics.no_array(returned) and jnp.shape(returned) == ()
        if not is_scalar or jax.dtypes.result_type(returned).kind != "b":
            raise TypeError(
                f"{self.public_name}: `should_transform_fn` must return one boolean, got "
                f"{checks.describe(returned)}"
            )
        return jnp.asarray(returned)


class ConditionallyTransform(Conditional):
    """Runs `inner` where a condition holds; elsewhere updates and its state stay as they are.

    Args:
      inner: the transformation.
      should_transform_fn: a function of the 0-based step (int32[]) that returns one boolean.
      forward_extra_args: pass the further arguments of `update` on to it, by name; see
        `apply_if_finite` about optax's wrappers.

    Returns:
      A transformation with state `ConditionallyTransformState(inner_state, step)`; `step` counts
      every call, the counts inside `inner_state` those in which `inner` ran.

    Raises:
      TypeError: `inner` is no transformation, `should_transform_fn` no function; at `update`, a
        condition that is not one boolean, or that takes other arguments than there are.

    Example:
      >>> import adamx
      >>> tx = adamx.conditionally_transform(adamx.scale(10.0), lambda step: step >= 1)
      >>> first, state = tx.update(1.0, tx.init(0.0))
      >>> second, state = tx.update(1.0, state)
      >>> float(first), float(second)
      (1.0, 10.0)
    """

    def init(self, params: Params) -> State:
        return ConditionallyTransformState(
            inner_state=self.inner.init(params), step=jnp.zeros((), jnp.int32)
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_state(
            self.public_name, state, ConditionallyTransformState, {"step": checks.COUNT}
        )

        def run() -> tuple[Updates, State]:
            new, inner_state = self.inner.update(updates, state.inner_state, params, **extra)
            return tree.partition(new, updates), inner_state

        shapes, _ = jax.eval_shape(run)

        def skip() -> tuple[Updates, State]:
            kept = tree.partition(updates, updates)
            return jax.tree.map(_as, shapes, kept, is_leaf=tree.is_leaf), state.inner_state

        taken = self.condition(state.step, extra)
        new, inner_state = jax.lax.cond(taken, run, skip)
        return tree.combine(new, updates), ConditionallyTransformState(
            inner_state=inner_state, step=numerics.safe_increment(state.step)
        )


class ConditionallyMask(Conditional, Conditioned):
    """Runs `inner` where a condition holds; elsewhere updates are 0 and its state stays.

    `tx.step` runs the whole step under one conditional and needs no temporary.

    Args:
      inner, should_transform_fn, forward_extra_args: see `conditionally_transform`.

    Returns:
      A transformation with state `ConditionallyMaskState(step, inner_state)`.

    Raises:
      TypeError: as `conditionally_transform`.

    Example:
      >>> import adamx
      >>> tx = adamx.conditionally_mask(adamx.scale(10.0), lambda step: step >= 1)
      >>> first, state = tx.update(1.0, tx.init(0.0))
      >>> second, state = tx.update(1.0, state)
      >>> float(first), float(second)
      (0.0, 10.0)
    """

    def init(self, params: Params) -> State:
        return ConditionallyMaskState(
            step=jnp.zeros((), jnp.int32), inner_state=self.inner.init(params)
        )

    def decision(
        self, grads: Updates, state: State, params: Params | None, extra: dict[str, Any]
    ) -> Decision:
        checks.check_state(self.public_name, state, ConditionallyMaskState, {"step": checks.COUNT})
        counted = state._replace(step=numerics.safe_increment(state.step))
        return Decision(self.condition(state.step, extra), lambda: grads, counted)


conditionally_transform = ConditionallyTransform


conditionally_mask = ConditionallyMask
