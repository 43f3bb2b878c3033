"""Multiplying updates by one number."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.hyperparameter import (
    Hyperparameter,
    Number,
    ScalarOrSchedule,
    Schedule,
    as_dtype,
    as_schedule,
    hyperparameter,
    resolve,
)
from adamx.core.stateless import Identity
from adamx.core.transformation import EmptyState, GradientTransformation, Params, State, Updates


class ScaleByScheduleState(NamedTuple):
    """The number of steps taken."""

    count: chex.Array  # int32[]


def scale_leaves(updates: Updates, factor: Number) -> Updates:
    """Every floating leaf times one scalar, multiplied in at least float32; dtypes are kept."""

    def multiply(u: chex.Array) -> chex.Array:
        u = jnp.asarray(u)
        wide = numerics.widen(u)
        return (wide * as_dtype(factor, numerics.real_dtype(wide))).astype(u.dtype)

    return tree.map_rows(multiply, updates, linear=True)


def init_count(value: Hyperparameter) -> ScaleByScheduleState | EmptyState:
    """A schedule needs to count steps; a number needs no state."""
    if isinstance(value, Schedule):
        return ScaleByScheduleState(count=jnp.zeros((), jnp.int32))
    return EmptyState()


def read_and_count(owner: str, what: str, value: Hyperparameter, state: Any) -> tuple[Number, Any]:
    """The value at this step, and the state that counts it."""
    if not isinstance(value, Schedule):
        return resolve(value, 0, what), state
    tree.check_state(owner, state, ScaleByScheduleState)
    number = resolve(value, state.count, what)
    return number, state._replace(count=numerics.safe_increment(state.count))


class HasLearningRate(GradientTransformation, abstract=True):
    """What scales by a learning rate, where `get_learning_rate` finds it."""

    learning_rate: Hyperparameter = hyperparameter(fields.NONNEGATIVE)

    def goes_downhill(self) -> bool:
        """Whether it turns the gradient around."""
        return True


class ScaleByLearningRate(HasLearningRate):
    """u * -learning_rate, or u * learning_rate without the flip of sign."""

    flip_sign: bool = fields.switch(default=True)

    def goes_downhill(self) -> bool:
        return self.flip_sign

    def init(self, params: Params) -> State:
        return init_count(self.learning_rate)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        rate, state = read_and_count(self.public_name, "learning_rate", self.learning_rate, state)
        return scale_leaves(updates, -rate if self.flip_sign else rate), state


class ScaleBySchedule(GradientTransformation):
    """u * step_size_fn(count)."""

    step_size_fn: Schedule = fields.child(as_schedule)

    def init(self, params: Params) -> State:
        return init_count(self.step_size_fn)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        size, state = read_and_count(self.public_name, "step_size_fn", self.step_size_fn, state)
        return scale_leaves(updates, size), state


class Scale(GradientTransformation):
    """u * step_size."""

    step_size: Number = fields.number()

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        return scale_leaves(updates, resolve(self.step_size, 0, "step_size")), state


class SetToZero(GradientTransformation):
    """Zeros like u."""

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        return tree.map_rows(jnp.zeros_like, updates, linear=True), state


def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True
) -> ScaleByLearningRate | Identity:
    """Multiplies updates by the negative learning rate, turning directions into steps.

        u <- -learning_rate(count) * u

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count;
        None leaves the updates as they are.
      flip_sign: multiply by `-learning_rate` (the default) or by `learning_rate`.

    Raises:
      ValueError: a negative or non-finite learning rate.
      TypeError: not a number, array or schedule.

    Example:
      >>> import adamx
      >>> tx = adamx.scale_by_learning_rate(0.5)
      >>> tx.update(2.0, tx.init(None))[0]
      Array(-1., dtype=float32)
    """
    if learning_rate is None:
        return Identity()
    return ScaleByLearningRate.checked(learning_rate=learning_rate, flip_sign=flip_sign)


def scale_by_schedule(step_size_fn: ScalarOrSchedule) -> ScaleBySchedule:
    """Multiplies updates by a schedule: `u <- step_size_fn(count) * u`.

    Args:
      step_size_fn: a function of the 0-based step count.

    Raises:
      TypeError: `step_size_fn` is not callable.

    Example:
      >>> import adamx
      >>> tx = adamx.scale_by_schedule(lambda count: 1.0 / (1.0 + count))
      >>> state = tx.init(None)
      >>> _, state = tx.update(6.0, state)
      >>> tx.update(6.0, state)[0]
      Array(3., dtype=float32)
    """
    return ScaleBySchedule.checked(step_size_fn=step_size_fn)


def scale(step_size: Number) -> Scale:
    """Multiplies updates by a number: `u <- step_size * u`.

    Args:
      step_size: the factor, of either sign.

    Raises:
      TypeError: `step_size` is not a number.

    Example:
      >>> import adamx
      >>> tx = adamx.scale(-0.5)
      >>> tx.update(2.0, tx.init(None))[0]
      Array(-1., dtype=float32)
    """
    return Scale.checked(step_size=step_size)


def set_to_zero() -> SetToZero:
    """Replaces the updates by zeros, whatever they are: the parameters stay.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.set_to_zero()
      >>> tx.update(jnp.array([1.0, jnp.nan]), tx.init(None))[0]
      Array([0., 0.], dtype=float32)
    """
    return SetToZero()
