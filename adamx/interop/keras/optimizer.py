"""The optimizers: a chain of adamx's links, and all else that Keras keeps beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, numerics
from adamx.core.chain import NamedChain
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.mask import resolve_mask
from adamx.core.transformation import GradientTransformation, P, Params, State, Updates
from adamx.interop.keras.links import device_placed
from adamx.interop.keras.presets import PRESETS, Preset

# Parts that run others, and where their states keep those of the others.
NESTING = {"accumulate": "inner_opt_state", "dynamic_scale": "inner_state"}
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
        return {"chain": checks.field_of(self.public_name, state, "inner_state")}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return state._replace(inner_state=states["chain"])

    @property
    def name(self) -> str:
        """The name of its operations in the compiled program and the profiler."""
        return self.scope

    @property
    def rules(self) -> Preset:
        """The ways of its generation of Keras."""
        return PRESETS[self.preset]

    def init(self, params: Params) -> State:
        for part in parts_of(self).values():
            # A pattern that is found nowhere is an error here, not in the first step.
            resolve_mask(self.name, getattr(part.link, "mask", None), params)
        with jax.named_scope(self.scope):
            state = KerasOptimizerState(jnp.zeros((), jnp.int32), self.chain.init(params))
        return state if self.mesh is None else device_placed(state, self.mesh)

    def _advance(self, state: State, inner_state: State) -> KerasOptimizerState:
        count = numerics.safe_increment(state.count)
        if "dynamic_scale" in inner_state:  # A skipped step never happened.
            skipped = inner_state["dynamic_scale"].skipped_in_a_row > 0
            count = jnp.where(skipped, state.count, count)
        return KerasOptimizerState(count, inner_state)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_state(self.public_name, state, KerasOptimizerState, {"count": checks.COUNT})
        with jax.named_scope(self.scope):
            updates, inner_state = self.chain.update(updates, state.inner_state, params, **extra)
        return updates, self._advance(state, inner_state)

    def step(self, grads: Updates, state: State, params: P, **extra: Any) -> tuple[P, State]:
        checks.check_state(self.public_name, state, KerasOptimizerState, {"count": checks.COUNT})
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

    def collect(chain: NamedChain, states: Any, accumulated: bool) -> None:
        link: Any
        for name, link in zip(chain.names, chain.links, strict=True):
            own = None if states is None else states[name]
            found[name] = Part(link, accumulated, own)
            if name in NESTING:
                inner = None if own is None else getattr(own, NESTING[name])
                collect(link.inner, inner, accumulated or name == "accumulate")

    collect(tx.chain, None if state is None else state.inner_state, False)
    return found


def with_states(state: KerasOptimizerState, new: dict[str, State]) -> KerasOptimizerState:
    """The state with other states of the links of these names."""

    def put(states: dict[str, State]) -> dict[str, State]:
        changed = {**states, **{name: x for name, x in new.items() if name in states}}
        for name in NESTING.keys() & changed.keys():
            own, field = changed[name], NESTING[name]
            changed[name] = own._replace(**{field: put(getattr(own, field))})
        return changed

    return state._replace(inner_state=put(state.inner_state))


def states_of(state: KerasOptimizerState) -> dict[str, State]:
    """The states of all links by name, those inside of others included."""
    found: dict[str, State] = {}

    def collect(states: dict[str, State]) -> None:
        found.update(states)
        for name in NESTING.keys() & states.keys():
            collect(getattr(states[name], NESTING[name]))

    collect(state.inner_state)
    return found


def with_links(tx: KerasOptimizer, new: dict[str, GradientTransformation]) -> KerasOptimizer:
    """The optimizer with other links of these names."""

    def put(chain: NamedChain) -> NamedChain:
        links = []
        link: Any
        for name, link in zip(chain.names, chain.links, strict=True):
            if name in NESTING:
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
