"""Hyperparameters in the state: read and set between steps of a loop that is compiled once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef

from adamx.core import boxes, checks, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation, name_of
from adamx.core.hyperparameter import Number, Schedule, resolve, scalar
from adamx.core.paths import near_misses
from adamx.core.transformation import GradientTransformation, P, Params, State, Updates
from adamx.core.value import REGISTRY
from adamx.core.wrapper import Wrapper
from adamx.wrappers.places import Place, as_state_scalar, named, places_in

# Numbers that only `init` reads; setting one later would do nothing.
_READ_ONCE = "initial_"


class InjectHyperparamsState(NamedTuple):
    """The numbers that the next step uses, and the state of the transformation that uses them."""

    count: chex.Array  # int32[], steps taken
    hyperparams: dict[str, jax.Array]  # float32[] each, what the next step uses
    scheduled: dict[str, jax.Array]  # float32[] each, what the last step used
    inner_state: State


def _is_opaque(value: object) -> bool:
    return isinstance(value, (Schedule, InjectHyperparams))


def _is_hyperparameter(value: object) -> bool:
    dtype = getattr(value, "dtype", None)
    is_array = dtype is not None and jnp.issubdtype(dtype, np.floating)
    return isinstance(value, (float, Schedule)) or bool(is_array)


def _now(place: Place, name: str, count: chex.Array) -> Number:
    """A schedule at the step count of the state of its owner, or at `count` if that has none."""
    own = place.owner.steps_taken(place.state)
    return resolve(place.value, count if own is None else own, name)


def _check_inner(where: Where, value: object) -> GradientTransformation:
    if callable(value) and not hasattr(value, "update"):
        name = getattr(value, "__name__", "adam")
        raise TypeError(
            f"{where.owner}: `{where.argument}` must be a gradient transformation, got the "
            f"function {name!r}; write inject_hyperparams({name}(...)), not "
            f"inject_hyperparams({name})(...)"
        )
    return as_transformation(where, value)


def _check_names(where: Where, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    wanted = "names of hyperparameters or None"
    names = (value,) if isinstance(value, str) else fields.items(where, wanted, value)
    for name in names:
        if not isinstance(name, str):
            raise where.error(TypeError, wanted, value)
    return names


class InjectHyperparams(Wrapper):
    """Keeps the hyperparameters of a transformation in its state, where a loop can change them.

    A training step that closes over `tx` has its numbers compiled in.  With this around it they
    are read from the state instead: `set_hyperparams` between two steps takes effect at the next
    one, and nothing is compiled again.  They are scalars in float32 (float64 in 64-bit mode),
    whatever the parameters are.

    A hyperparameter is called by its field (`learning_rate`, `b1`, `weight_decay`) if `inner` has
    one of that name, otherwise each is called by its place, too: `0/learning_rate` in the first
    link of a chain, `biases/learning_rate` under a name or a label.

    Schedules stay schedules.  The value that a step used is recorded in the state under the same
    name, so that `get_hyperparam` reads it; setting it is refused.  Numbers that only `init`
    reads (`initial_...`) stay where they are.

    Args:
      inner: a transformation of adamx: itself, not the function that makes it.
      names: which hyperparameters, by the names above (a field's name stands for all of that
        name); None for all floating-point numbers and schedules.

    Returns:
      A transformation with state `InjectHyperparamsState(count, hyperparams, scheduled,
      inner_state)`.

    Raises:
      TypeError: `inner` is no transformation; at `update`, another optimizer's state.
      ValueError: an unknown name; no hyperparameters at all.

    Example:
      >>> import adamx, jax
      >>> tx = adamx.inject_hyperparams(adamx.adam(0.5))
      >>> step = jax.jit(tx.step)
      >>> params, state = step(1.0, tx.init(2.0), 2.0)
      >>> float(params)
      1.5
      >>> state = adamx.set_hyperparams(state, learning_rate=0.25)
      >>> params, state = step(1.0, state, params)
      >>> float(params)
      1.25
    """

    inner: GradientTransformation = fields.child(_check_inner)
    names: Sequence[str] | None = fields.static(_check_names, default=None)

    def keeps_updates(self) -> bool:
        return True

    def check_together(self) -> None:
        known = self._hyperparameters(None)
        if not known:
            raise ValueError(
                f"{self.public_name}: {name_of(self.inner)} has no hyperparameters that are not "
                "injected already; those of another library's transformation cannot be seen from "
                "outside"
            )
        fields_of = {place.field for _, place in known.values()}
        for name in self.names or ():
            if name not in known and name not in fields_of:
                raise ValueError(
                    f"{self.public_name}: unknown hyperparameter {name!r}; "
                    f"{near_misses(name, known)}"
                )

    def _hyperparameters(self, state: State) -> dict[str, tuple[int, Place]]:
        """All of them; `names` selects later, so that it never changes what one is called."""
        places = places_in(self.inner, state, _is_hyperparameter, _is_opaque)
        return named([(i, p) for i, p in places if not p.field.startswith(_READ_ONCE)])

    def _selected(self, state: State) -> dict[str, tuple[int, Place]]:
        return {
            name: (i, place)
            for name, (i, place) in self._hyperparameters(state).items()
            if self.names is None or name in self.names or place.field in self.names
        }

    def _numbers(self) -> dict[str, tuple[int, Number]]:
        """The hyperparameters that are no schedules, and which leaves of `inner` they are."""
        return {
            name: (i, place.value)
            for name, (i, place) in self._selected(None).items()
            if not isinstance(place.value, Schedule)
        }

    def _scheduled(self, inner_state: State, count: chex.Array) -> dict[str, chex.Array]:
        """The schedules' values, each at the count of the link that reads it."""
        return {
            name: as_state_scalar(_now(place, name, count))
            for name, (_, place) in self._selected(inner_state).items()
            if isinstance(place.value, Schedule)
        }

    def current(self, state: State) -> GradientTransformation:
        """The transformation that the next step runs: `inner` with the numbers in the state.

        Raises:
          TypeError: another transformation's state.
          ValueError: other names in the state than `init` put there.
        """
        numbers = self._numbers()
        checks.check_state(self.public_name, state, InjectHyperparamsState, {"count": checks.COUNT})
        for name in {*state.hyperparams} ^ {*numbers}:
            if name in state.scheduled:
                raise _is_scheduled(self.public_name, name)
            raise ValueError(
                f"{self.public_name}: the hyperparameters in the state must be "
                f"{', '.join(sorted(numbers))}; got {', '.join(sorted(state.hyperparams))}"
            )
        structure: PyTreeDef
        leaves, structure = jax.tree.flatten(self.inner, is_leaf=_is_opaque)
        for name, (i, _) in numbers.items():
            leaves[i] = state.hyperparams[name]
        inner: GradientTransformation = structure.unflatten(leaves)
        return inner

    def _advance(self, state: State, inner_state: State) -> State:
        return state._replace(
            count=numerics.safe_increment(state.count),
            hyperparams={name: as_state_scalar(x) for name, x in state.hyperparams.items()},
            scheduled=self._scheduled(state.inner_state, state.count),
            inner_state=inner_state,
        )

    def init(self, params: Params) -> State:
        inner_state = self.inner.init(params)
        count = jnp.zeros((), jnp.int32)
        return InjectHyperparamsState(
            count=count,
            hyperparams={
                name: as_state_scalar(scalar(number, name))
                for name, (_, number) in self._numbers().items()
            },
            scheduled=self._scheduled(inner_state, count),
            inner_state=inner_state,
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        inner = self.current(state)
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        return updates, self._advance(state, inner_state)

    def step(self, grads: Updates, state: State, params: P, **extra: Any) -> tuple[P, State]:
        inner = self.current(state)
        params, inner_state = inner.step(grads, state.inner_state, params, **extra)
        return params, self._advance(state, inner_state)


def _is_scheduled(owner: str, name: str) -> ValueError:
    return ValueError(
        f"{owner}: `{name}` is scheduled and cannot be set; build the transformation with a "
        "number in place of the schedule"
    )


def _is_injected(node: object) -> bool:
    return isinstance(node, InjectHyperparamsState)


def _injected(state: State) -> Iterator[InjectHyperparamsState]:
    """Every state of `inject_hyperparams`, also inside another one."""
    for node in jax.tree.leaves(state, is_leaf=_is_injected):
        if _is_injected(node):
            yield node
            yield from _injected(node.inner_state)


def _find(owner: str, state: State, name: str) -> InjectHyperparamsState:
    """The one state that holds the hyperparameter."""
    if not isinstance(name, str):
        raise TypeError(f"{owner}: `name` must be a string, got {name!r}")
    nodes = [*_injected(state)]
    if not nodes:
        raise ValueError(
            f"{owner}: the state holds no hyperparameters; wrap the transformation: "
            "`inject_hyperparams(tx)`"
        )
    found = [node for node in nodes if name in node.hyperparams or name in node.scheduled]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{owner}: {name!r} is ambiguous: {len(found)} parts of the state hold one; pass the "
            "part that is meant"
        )
    known = sorted(key for node in nodes for key in {**node.hyperparams, **node.scheduled})
    alike = [key for key in known if key.endswith(f"/{name}")]
    if alike:
        raise ValueError(f"{owner}: {name!r} is ambiguous; say which: {', '.join(alike)}")
    raise ValueError(f"{owner}: unknown hyperparameter {name!r}; {near_misses(name, known)}")


def _check_value(name: str, value: object) -> Any:
    """Applies the check of the field of that name.

    A state does not say whose field it was: of several checks the widest counts, and those of
    this library before anybody else's.
    """
    where = Where("set_hyperparams", name)
    if callable(value):
        raise where.error(TypeError, "a number; a schedule belongs to the transformation", value)
    *above, last = name.split("/")
    field, wrapped = (above[-1], (value,)) if above and last.isdigit() else (last, value)
    kinds = [
        (cls.__module__, f.metadata[fields.KIND])
        for cls in REGISTRY.values()
        if issubclass(cls, GradientTransformation)
        for f in dataclasses.fields(cls)
        if f.name == field and not f.metadata[fields.KIND].static
    ]
    here = __name__.partition(".")[0]
    ours = [kind for module, kind in kinds if module.partition(".")[0] == here]
    refused = None
    for kind in ours or [kind for _, kind in kinds]:
        try:
            kind.check(where, wrapped)
        except ValueError as error:
            refused = refused or error
        else:
            return value
    if refused:
        raise refused
    return fields.check_number(where, value, fields.REAL)


def _like(name: str, value: object, old: chex.Array) -> chex.Array:
    """The number with shape, dtype and placement of the one that it replaces."""
    old = old if isinstance(old, jax.Array) else as_state_scalar(old)
    new = jnp.asarray(value, old.dtype)
    if new.shape not in ((), old.shape):
        raise ValueError(
            f"set_hyperparams: `{name}` must be a scalar or have shape {old.shape}, got shape "
            f"{new.shape}"
        )
    new = jnp.broadcast_to(new, old.shape)
    placed = not isinstance(old, jax.core.Tracer) and old.committed
    return jax.device_put(new, old.sharding) if placed else new


inject_hyperparams = InjectHyperparams


def get_hyperparam(state: State, name: str) -> jax.Array:
    """One hyperparameter, from a state that `inject_hyperparams` keeps anywhere inside.

    A number is the one that the next step will use.  A scheduled value is the one that the last
    step used (before the first step: the one that it will use).

    Args:
      state: the state of any transformation, nested as deeply as you like.
      name: as explained at `inject_hyperparams`.

    Returns:
      A floating-point scalar.

    Raises:
      TypeError: a name that is no string.
      ValueError: an unknown name, or one that several hyperparameters have.

    Example:
      >>> import adamx
      >>> tx = adamx.inject_hyperparams(adamx.adam(adamx.linear_schedule(1.0, 0.0, 4)))
      >>> state = tx.init(2.0)
      >>> for _ in range(3):
      ...     _, state = tx.update(1.0, state)
      >>> float(adamx.get_hyperparam(state, "learning_rate"))
      0.5
    """
    state = boxes.unboxed(state)
    node = _find("get_hyperparam", state, name)
    number = {**node.scheduled, **node.hyperparams}[name]
    own: jax.Array = tree.unshared(number, state)  # It outlives the donation of the state.
    return own


def set_hyperparams(state: State, /, **values: Number) -> State:
    """A new state with other hyperparameters; the next step uses them and compiles nothing.

    Args:
      state: the state of any transformation, nested as deeply as you like, with
        `inject_hyperparams` inside.
      **values: numbers or scalar arrays by name; write a name with a place in it as
        `**{"0/learning_rate": 1e-4}`.

    Returns:
      A state of the same structure, shapes and dtypes.

    Raises:
      ValueError: an unknown or ambiguous name; a number outside the range that its field allows;
        a hyperparameter that follows a schedule.
      TypeError: not a number.

    Example:
      >>> import adamx
      >>> state = adamx.inject_hyperparams(adamx.adam(0.1)).init(2.0)
      >>> state = adamx.set_hyperparams(state, learning_rate=0.01, b1=0.5)
      >>> print(adamx.get_hyperparam(state, "learning_rate"))
      0.01
    """
    given, state = state, boxes.unboxed(state)
    structure: PyTreeDef = jax.tree.structure(given)
    changes: dict[int, dict[str, chex.Array]] = {}
    for name, value in values.items():
        node = _find("set_hyperparams", state, name)
        if name in node.scheduled:
            raise _is_scheduled("set_hyperparams", name)
        new = _like(name, _check_value(name, value), node.hyperparams[name])
        changes.setdefault(id(node), {})[name] = new

    def change(node: object) -> Any:
        if not isinstance(node, InjectHyperparamsState):
            return node
        return node._replace(
            hyperparams={**node.hyperparams, **changes.get(id(node), {})},
            inner_state=changed(node.inner_state),
        )

    def changed(part: State) -> State:
        return jax.tree.map(change, part, is_leaf=_is_injected)

    return structure.unflatten(jax.tree.leaves(changed(state)))
