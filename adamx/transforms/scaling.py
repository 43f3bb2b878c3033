"""Multiplying updates by one number."""

from __future__ import annotations

from typing import Any, ClassVar

import chex
import jax.numpy as jnp

from adamx.core import compat, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
    as_dtype,
    as_schedule,
)
from adamx.core.link import Link, RowsTaken, View
from adamx.core.stateless import Identity
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.core.writer import warn_of_lost_updates


def scale_leaves(updates: Updates, factor: Number) -> Updates:
    """Every floating leaf times one scalar, multiplied in at least float32; dtypes are kept."""

    def multiply(u: chex.Array) -> chex.Array:
        u = jnp.asarray(u)
        wide = numerics.widen(u)
        return (wide * as_dtype(factor, numerics.real_dtype(wide))).astype(u.dtype)

    return tree.map_rows(multiply, updates, linear=True)


class Scaling(Link, abstract=True):
    """Multiplies every element by the number that `scalars` returns."""

    rows: ClassVar[RowsTaken] = "linear"

    def rule(self, s: Any, u: chex.Array, p: None) -> chex.Array:
        return u * s


class HasLearningRate(GradientTransformation, abstract=True):
    """A scale by a learning rate, where `get_learning_rate` finds it."""

    # The number that scales the update, without its sign.
    learning_rate: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)

    def init(self, params: Params) -> State:
        warn_of_lost_updates(self.public_name, params)
        return super().init(params)

    def goes_downhill(self) -> bool:
        """Whether it turns the gradient around."""
        return True


class ScaleByLearningRate(HasLearningRate, Scaling):
    """u * -learning_rate, or u * learning_rate without the flip of sign."""

    flip_sign: bool = fields.switch(default=True, kw_only=True)

    def goes_downhill(self) -> bool:
        return self.flip_sign

    def scalars(self, view: View, state: State) -> tuple[Number, dict[str, Any]]:
        (rate,) = self.now(state, "learning_rate")
        return -rate if self.flip_sign else rate, {}


class ScaleBySchedule(Scaling):
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

    step_size_fn: ScalarOrSchedule = fields.child(as_schedule)

    def scalars(self, view: View, state: State) -> tuple[Number, dict[str, Any]]:
        (size,) = self.now(state, "step_size_fn")
        return size, {}


class Scale(Scaling):
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

    step_size: Number = fields.number()

    def scalars(self, view: View, state: State) -> tuple[Number, dict[str, Any]]:
        (size,) = self.now(state, "step_size")
        return size, {}


class SetToZero(Link):
    """Replaces the updates by zeros, whatever they are: the parameters stay.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.set_to_zero()
      >>> tx.update(jnp.array([1.0, jnp.nan]), tx.init(None))[0]
      Array([0., 0.], dtype=float32)
    """

    rows = "linear"

    def rule(self, s: Any, u: chex.Array, p: None) -> chex.Array:
        return compat.full_like(u, 0)


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
        fields.check_switch(Where("scale_by_learning_rate", "flip_sign"), flip_sign)
        return Identity()
    return ScaleByLearningRate(learning_rate, flip_sign=flip_sign)


scale_by_schedule = ScaleBySchedule
scale = Scale
set_to_zero = SetToZero
