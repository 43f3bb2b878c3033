"""What the family has in common: two moments, a count and their hyperparameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.hyperparameter import Hyperparameter, hyperparameter, resolve
from adamx.core.transformation import GradientTransformation, Params, State, Updates


class ScaleByAdamState(NamedTuple):
    """The moments of Adam and most of its relatives."""

    count: chex.Array  # int32[], steps taken
    mu: Updates  # first moment, like the parameters; None where nothing is trained
    nu: Updates  # second moment, like the parameters but always real


def first_moment(params: Params, dtype: str | None) -> Updates:
    """Zeros like the parameters, at least float32 unless `dtype` says otherwise."""
    return tree.zeros_like_moment(params, lambda p: numerics.moment_dtype(p, dtype))


def second_moment(params: Params, dtype: str | None) -> Updates:
    """Zeros like the parameters' magnitudes, at least float32 unless `dtype` says otherwise."""
    return tree.zeros_like_moment(params, lambda p: numerics.magnitude_dtype(p, dtype))


class MomentTransformation(GradientTransformation, abstract=True):
    """Decay rates and dtypes of the two moments; the rule per leaf is the subclass's own."""

    b1: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    b2: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    eps: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    mu_dtype: str | None = fields.dtype(kw_only=True)
    nu_dtype: str | None = fields.dtype(kw_only=True)

    def init(self, params: Params) -> State:
        return ScaleByAdamState(
            count=jnp.zeros((), jnp.int32),
            mu=first_moment(params, self.mu_dtype),
            nu=second_moment(params, self.nu_dtype),
        )

    def at(self, name: str, count: chex.Array) -> Any:
        """The hyperparameter `name` at the 0-based step `count`."""
        return resolve(getattr(self, name), count, f"{self.public_name}: {name}")

    def advance(
        self,
        rule: Callable[..., tuple[Any, ...]],
        scalars: Any,
        updates: Updates,
        state: Any,
        params: Params | None,
        moments: tuple[str, ...] = ("mu", "nu"),
    ) -> tuple[Updates, Any]:
        """Runs `rule` on every leaf and puts the new moments and the count into the state."""
        updates, *new = tree.update_leaves(
            self.public_name,
            rule,
            updates,
            [getattr(state, name) for name in moments],
            scalars,
            params,
        )
        return updates, state._replace(
            count=numerics.safe_increment(state.count), **dict(zip(moments, new, strict=True))
        )
