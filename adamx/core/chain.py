"""Composition: one transformation after the other."""

from __future__ import annotations

import inspect
from typing import Any

import jax

from adamx.core import fields, tree
from adamx.core.fields import Where
from adamx.core.transformation import GradientTransformation, Params, State, Updates


def _check_foreign(where: Where, value: Any) -> Any:
    if not (callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))):
        raise where.error(TypeError, "a gradient transformation (with `init` and `update`)", value)
    return value


class Foreign(GradientTransformation):
    """A transformation of another library (an optax one), used as a link; compared by identity."""

    transformation: Any = fields.static(_check_foreign)

    def init(self, params: Params) -> State:
        return self.transformation.init(params)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        update = self.transformation.update
        updates = tree.densified(updates)  # Another library would take them for two leaves.
        parameters = inspect.signature(update).parameters.values()
        takes_extra = any(p.kind is p.VAR_KEYWORD for p in parameters)
        result: tuple[Updates, State] = update(
            updates, state, params, **(extra if takes_extra else {})
        )
        return result

    def __repr__(self) -> str:
        update = self.transformation.update
        made_by = getattr(update, "__qualname__", type(update).__qualname__).partition(".")[0]
        return f"<{update.__module__}.{made_by}>"


def as_transformation(where: Where, value: Any) -> GradientTransformation:
    """A transformation of ours as it is, another library's wrapped as `Foreign`."""
    if isinstance(value, GradientTransformation):
        return value
    return Foreign(transformation=_check_foreign(where, value))


def transformation(*, default: Any = fields.REQUIRED, kw_only: bool = False) -> Any:
    """A data field holding one transformation."""
    return fields.child(as_transformation, default=default, kw_only=kw_only)


def _check_links(where: Where, value: Any) -> tuple[GradientTransformation, ...]:
    return tuple(
        as_transformation(Where(where.owner, f"link {i}"), link) for i, link in enumerate(value)
    )


def _check_names(where: Where, value: Any) -> tuple[str, ...]:
    names = tuple(value)
    for name in names:
        if not isinstance(name, str):
            raise where.error(TypeError, "strings", name)
    if len(set(names)) != len(names):
        raise where.error(ValueError, "distinct", names)
    return names


class LinkedTransformation(GradientTransformation, abstract=True):
    """Links applied from first to last; how their states are kept together is the subclass's.

    Between the links 16-bit updates are float32: what a gradient of 1e5 becomes after the learning
    rate fits into float16, the gradient does not.
    """

    links: tuple[GradientTransformation, ...] = fields.child(_check_links)

    def check_together(self) -> None:
        late: GradientTransformation | None = None
        for i, link in enumerate(self.links):
            if late is not None and not link.keeps_updates():
                raise ValueError(
                    f"{self.public_name}: link {i}, {link!r}, changes the updates of "
                    f"{late.public_name}, whose tables in mode `exact` make up for rows later and "
                    f"by themselves; put {link.public_name} in front of {late.public_name}, or a "
                    "factor into its learning rate"
                )
            if link.puts_off_updates():
                late = link

    def keeps_updates(self) -> bool:
        return all(link.keeps_updates() for link in self.links)

    def split(self, state: State) -> list[State]:
        """The links' states, in order."""
        raise NotImplementedError(type(self).__name__)

    def join(self, states: list[State]) -> State:
        """The state made of the links' states."""
        raise NotImplementedError(type(self).__name__)

    def init(self, params: Params) -> State:
        return self.join([link.init(params) for link in self.links])

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        states = self.split(state)
        given, updates = updates, tree.widened(updates)
        for i, link in enumerate(self.links):
            with jax.named_scope(link.public_name):
                updates, states[i] = link.update(updates, states[i], params, **extra)
        like, reference = ("gradients", given) if params is None else ("parameters", params)
        updates = tree.with_dtypes_of(self.public_name, like, reference, updates)
        return updates, self.join(states)

    def step(
        self, grads: Updates, state: State, params: Params, **extra: Any
    ) -> tuple[Params, State]:
        """All links but the last update; the last one steps, in place if it can."""
        if not self.links:
            return super().step(grads, state, params, **extra)
        states = self.split(state)
        grads = tree.widened(grads)
        for i, link in enumerate(self.links[:-1]):
            with jax.named_scope(link.public_name):
                grads, states[i] = link.update(grads, states[i], params, **extra)
        with jax.named_scope(self.links[-1].public_name):
            params, states[-1] = self.links[-1].step(grads, states[-1], params, **extra)
        return params, self.join(states)


class Chain(LinkedTransformation):
    """The state is the tuple of the links' states."""

    def split(self, state: State) -> list[State]:
        if not isinstance(state, tuple) or len(state) != len(self.links):
            size = f" of length {len(state)}" if isinstance(state, tuple) else ""
            raise TypeError(
                f"chain: the state must be the tuple of {len(self.links)} states that `init` "
                f"returned, got {type(state).__name__}{size}; was it made by another optimizer?"
            )
        return list(state)

    def join(self, states: list[State]) -> State:
        return tuple(states)

    def recipe_arguments(self) -> list[str]:
        return [repr(link) for link in self.links]


class NamedChain(LinkedTransformation):
    """The state is a dict from the links' names to their states."""

    names: tuple[str, ...] = fields.static(_check_names)

    def split(self, state: State) -> list[State]:
        if not isinstance(state, dict) or set(state) != set(self.names):
            got = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise TypeError(
                f"named_chain: the state must be the dict with keys {sorted(self.names)} that "
                f"`init` returned, got {got}; was it made by another optimizer?"
            )
        return [state[name] for name in self.names]

    def join(self, states: list[State]) -> State:
        return dict(zip(self.names, states, strict=True))

    def recipe_arguments(self) -> list[str]:
        return [f"({name!r}, {link!r})" for name, link in zip(self.names, self.links, strict=True)]


def chain(*links: Any) -> Chain:
    """Applies transformations one after the other.

    Args:
      *links: transformations of adamx or of optax, first to last.

    Returns:
      A transformation whose state is the tuple of the links' states.

    Raises:
      TypeError: a link without `init` and `update`.
      ValueError: a link that changes updates behind an optimizer with tables in mode `exact`.

    Example:
      >>> import adamx
      >>> adamx.chain(adamx.clip_by_global_norm(1.0), adamx.scale_by_learning_rate(0.1))
      chain(clip_by_global_norm(max_norm=1.0), scale_by_learning_rate(learning_rate=0.1))
    """
    return Chain.checked(links=links)


def named_chain(*links: tuple[str, Any]) -> NamedChain:
    """Like `chain`, with named links and a dict of states.

    Args:
      *links: pairs `(name, transformation)`; names must be distinct.

    Returns:
      A transformation whose state is a dict from the names to the links' states.

    Raises:
      TypeError: something else than a pair, a name that is no string, a link without `update`.
      ValueError: a name used twice; a link that changes updates behind an optimizer with tables in
        mode `exact`.

    Example:
      >>> import adamx
      >>> tx = adamx.named_chain(("lr", adamx.scale_by_learning_rate(0.1)))
      >>> tx.init(0.0)
      {'lr': EmptyState()}
    """
    for link in links:
        if not (isinstance(link, tuple) and len(link) == 2):
            raise TypeError(f"named_chain: links are pairs (name, transformation), got {link!r}")
    return NamedChain.checked(names=[name for name, _ in links], links=[link for _, link in links])
