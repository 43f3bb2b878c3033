"""What somebody else's package may hold: a core, a format, a wrapper and an observer."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

import adamx
from adamx.core import fields


@dataclasses.dataclass(frozen=True)
class FixedPoint(adamx.Format):
    """int16, in units of 2**-bits."""

    bits: int = 8

    def dtype(self, parameter: chex.Array, kind: Any) -> np.dtype:
        return np.dtype(np.int16)

    def load(self, stored: chex.Array) -> chex.Array:
        return stored.astype(jnp.float32) * 2.0**-self.bits

    def store(self, x: chex.Array, old: chex.Array) -> chex.Array:
        return jnp.clip(jnp.round(x * 2.0**self.bits), -(2**15), 2**15 - 1).astype(jnp.int16)


class SignMomentumState(NamedTuple):
    count: chex.Array
    mu: Any


class ScaleBySignMomentum(adamx.Link):
    """sign(b1 m + (1 - b1) g), m <- b2 m + (1 - b2) g (Lion, Chen et al. 2023, Algorithm 2)."""

    b1: adamx.typing.ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: adamx.typing.ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.99)
    fixed_point: bool = fields.switch(default=False, kw_only=True)

    def state_type(self) -> type[Any]:
        return SignMomentumState

    def slots(self) -> tuple[adamx.Slot, ...]:
        return (adamx.Slot("mu", format=FixedPoint() if self.fixed_point else adamx.Float()),)

    def scalars(self, view: adamx.View, state: Any) -> tuple[Any, dict[str, Any]]:
        return tuple(self.now(state, "b1", "b2")), {}

    def rule(self, s: Any, u: chex.Array, p: Any, mu: chex.Array) -> Any:
        b1, b2 = s
        return jnp.sign(b1 * mu + (1.0 - b1) * u), b2 * mu + (1.0 - b2) * u


class HalvedState(NamedTuple):
    inner_state: Any


class Halved(adamx.Wrapper):
    """Runs `inner` on half of the gradient."""

    def keeps_updates(self) -> bool:
        return True

    def init(self, params: Any) -> HalvedState:
        return HalvedState(self.inner.init(params))

    def update(
        self, updates: Any, state: HalvedState, params: Any = None, **extra: Any
    ) -> tuple[Any, HalvedState]:
        half = jax.tree.map(lambda u: None if u is None else u / 2, updates)
        updates, inner = self.inner.update(half, state.inner_state, params, **extra)
        return updates, HalvedState(inner)


class LargestState(NamedTuple):
    largest: chex.Array

    def metrics(self) -> dict[str, chex.Array]:
        return {"largest": self.largest}


class Largest(adamx.Observer):
    """The largest size of any parameter after the step."""

    def state_type(self) -> type[Any]:
        return LargestState

    def numbers(self) -> dict[str, Any]:
        return {"largest": jnp.zeros((), jnp.float32)}

    def observe(self, params: Any, state: LargestState, updates: Any) -> LargestState:
        sizes = [jnp.max(jnp.abs(p)).astype(jnp.float32) for p in jax.tree.leaves(params)]
        return LargestState(jnp.max(jnp.stack(sizes)))
