"""What the factories return: a chain of adamx's links, with what else Keras keeps beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.chain import LinkedTransformation, NamedChain
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.interop.keras.links import device_placed
from adamx.interop.keras.presets import PRESETS, Preset
from adamx.transforms.accumulation import MultiSteps

KINDS = ("Adam", "AdamW", "Nadam", "Adamax", "Lamb")


class KerasOptimizerState(NamedTuple):
    """The state of the chain, and how often it was called."""

    count: chex.Array  # int32[], calls so far, micro-batches included
    inner_state: State


def _one_of(*known: str) -> Callable[[Where, Any], str]:
    def check(where: Where, value: Any) -> str:
        if value not in known:
            raise where.error(ValueError, f"one of {', '.join(known)}", value)
        name: str = value
        return name

    return check


def _check_name(where: Where, value: Any) -> str:
    if not isinstance(value, str):
        raise where.error(TypeError, "a string", value)
    if not value:
        raise where.error(ValueError, "a name", value)
    return value


def _check_mesh(where: Where, value: Any) -> jax.sharding.Mesh | None:
    if value is None or isinstance(value, jax.sharding.Mesh):
        return value
    raise where.error(TypeError, "a jax.sharding.Mesh or None", value)


class KerasOptimizer(GradientTransformation):
    """A chain of links under names, made by one of the factories of Keras's name."""

    kind: str = fields.static(_one_of(*KINDS))
    scope: str = fields.static(_check_name)
    preset: str = fields.static(_one_of(*PRESETS), default="keras")
    jit_compile: bool = fields.switch(default=True)
    mesh: jax.sharding.Mesh | None = fields.static(_check_mesh, default=None)
    chain: NamedChain = fields.child(as_transformation, kw_only=True)

    def keeps_updates(self) -> bool:
        return True

    def children(self) -> dict[str, GradientTransformation]:
        return {"chain": self.chain}

    def child_states(self, state: State) -> dict[str, State]:
        return {"chain": state.inner_state}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return state._replace(inner_state=states["chain"])

    @property
    def name(self) -> str:
        """What its operations are filed under in the compiled program and the profiler."""
        return self.scope

    @property
    def rules(self) -> Preset:
        """What its generation of Keras does in its own way."""
        return PRESETS[self.preset]

    def init(self, params: Params) -> State:
        with jax.named_scope(self.scope):
            state = KerasOptimizerState(jnp.zeros((), jnp.int32), self.chain.init(params))
        return state if self.mesh is None else device_placed(state, self.mesh)

    def _advance(self, state: State, inner_state: State) -> KerasOptimizerState:
        return KerasOptimizerState(numerics.safe_increment(state.count), inner_state)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.check_state(self.public_name, state, KerasOptimizerState)
        with jax.named_scope(self.scope):
            updates, inner_state = self.chain.update(updates, state.inner_state, params, **extra)
        return updates, self._advance(state, inner_state)

    def step(
        self, grads: Updates, state: State, params: Params, **extra: Any
    ) -> tuple[Params, State]:
        tree.check_state(self.public_name, state, KerasOptimizerState)
        with jax.named_scope(self.scope):
            params, inner_state = self.chain.step(grads, state.inner_state, params, **extra)
        return params, self._advance(state, inner_state)


class Part(NamedTuple):
    """A link of the chain, whether it runs once per step only, and its state."""

    link: GradientTransformation
    accumulated: bool
    state: State


def parts_of(tx: KerasOptimizer, state: KerasOptimizerState | None = None) -> dict[str, Part]:
    """The links by name, those that run on accumulated gradients included."""
    found: dict[str, Part] = {}

    def collect(chain: LinkedTransformation, states: Any, accumulated: bool) -> None:
        for name, link in zip(chain.names, chain.links, strict=True):  # type: ignore[attr-defined]
            own = None if states is None else states[name]
            found[name] = Part(link, accumulated, own)
            if isinstance(link, MultiSteps):
                inner: Any = link.inner
                collect(inner, None if own is None else own.inner_opt_state, True)

    collect(tx.chain, None if state is None else state.inner_state, False)
    return found


def with_states(state: KerasOptimizerState, new: dict[str, State]) -> KerasOptimizerState:
    """The state with other states of the links of these names."""

    def put(states: dict[str, State]) -> dict[str, State]:
        changed = {**states, **{name: x for name, x in new.items() if name in states}}
        if "accumulate" in changed:
            own = changed["accumulate"]
            changed["accumulate"] = own._replace(inner_opt_state=put(own.inner_opt_state))
        return changed

    return state._replace(inner_state=put(state.inner_state))


def with_links(tx: KerasOptimizer, new: dict[str, GradientTransformation]) -> KerasOptimizer:
    """The optimizer with other links of these names."""

    def put(chain: NamedChain) -> NamedChain:
        links = []
        for name, link in zip(chain.names, chain.links, strict=True):
            if isinstance(link, MultiSteps) and isinstance(link.inner, NamedChain):
                link = link.replace(inner=put(link.inner))
            links.append(new.get(name, link))
        return chain.replace(links=links)

    return tx.replace(chain=put(tx.chain))


def check_optimizer(owner: str, tx: Any) -> KerasOptimizer:
    """Raises a `TypeError` for anything that the factories here did not make."""
    if not isinstance(tx, KerasOptimizer):
        raise TypeError(
            f"{owner}: expected an optimizer of `adamx.interop.keras`, got {tx!r}; other "
            "transformations have `init`, `update` and `step`"
        )
    return tx
