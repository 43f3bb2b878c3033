"""Composition: one transformation after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeGuard

import jax

from adamx.core import checks, fields, tree
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation, has_foreign
from adamx.core.link import Link, run
from adamx.core.observer import Observer
from adamx.core.transformation import GradientTransformation, P, Params, State, Updates
from adamx.core.writer import write


def _check_links(where: Where, value: object) -> tuple[GradientTransformation, ...]:
    return tuple(
        as_transformation(Where(where.owner, f"link {i}"), link)
        for i, link in enumerate(fields.items(where, "a list of transformations", value))
    )


def _check_names(where: Where, value: object) -> tuple[str, ...]:
    names = fields.items(where, "strings", value)
    for name in names:
        if not isinstance(name, str):
            raise where.error(TypeError, "strings", name)
    if len(set(names)) != len(names):
        raise where.error(ValueError, "distinct", names)
    return names


class LinkedTransformation(GradientTransformation, abstract=True):
    """Links applied from first to last; how their states are kept together is the subclass's.

    Between the links updates are float32 at least: what a gradient of 1e5 becomes after the
    learning rate fits into float16, the gradient does not.
    """

    links: Sequence[GradientTransformation] = fields.child(_check_links)

    def _check_final(self) -> None:
        final, why = "", ""
        for i, link in enumerate(self.links):
            if why and not link.keeps_updates():
                raise ValueError(
                    f"{self.public_name}: link {i}, {link!r}, changes the updates of {final}, {why}"
                )
            if link.why_final():
                final, why = link.public_name, link.why_final()

    def keeps_updates(self) -> bool:
        return all(link.keeps_updates() for link in self.links)

    def names_of_links(self) -> Sequence[str]:
        """The names of the links: positions, if they have none."""
        return [str(i) for i in range(len(self.links))]

    def children(self) -> dict[str, GradientTransformation]:
        return dict(zip(self.names_of_links(), self.links, strict=True))

    def child_states(self, state: State) -> dict[str, State]:
        return dict(zip(self.names_of_links(), self.split(state), strict=True))

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return self.join([states[name] for name in self.names_of_links()])

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
        new, states = run_links(self.links, updates, self.split(state), params, extra)
        if params is None and has_foreign(self):
            # Another library's link may change shapes, which nothing here can know.
            return tree.rounded_where_alike(new, updates), self.join(states)
        like, reference = ("gradients", updates) if params is None else ("parameters", params)
        checks.check_match(self.public_name, "updates", new, like, reference)
        return tree.with_dtypes_of(reference, new), self.join(states)

    def step(self, grads: Updates, state: State, params: P, **extra: Any) -> tuple[P, State]:
        """The links that make the updates, the writer, and behind it the observers.

        A last maker that is no `Link` steps itself: it may write under a condition of its own.
        """
        states, links = self.split(state), self.links
        observers = [
            *itertools.takewhile(
                lambda link: isinstance(link, Observer) and link.keeps_updates(), links[::-1]
            )
        ][::-1]
        makers = len(links) - len(observers)
        if makers and not isinstance(links[makers - 1], Link):
            last = makers - 1
            updates, states[:last] = run_links(links[:last], grads, states[:last], params, extra)
            if has_foreign(links[last]):
                updates = tree.rounded_where_alike(updates, grads)
            with jax.named_scope(links[last].public_name):
                params, states[last] = links[last].step(updates, states[last], params, **extra)
        else:
            updates, states[:makers] = run_links(
                links[:makers], grads, states[:makers], params, extra
            )
            params = write(self.public_name, params, updates)
        for i, observer in enumerate(observers, makers):
            assert isinstance(observer, Observer)
            with jax.named_scope(observer.public_name):
                states[i] = observer.observe(params, states[i], grads)
        return params, self.join(states)


def run_links(
    links: Sequence[GradientTransformation],
    updates: Updates,
    states: Sequence[State],
    params: Params | None,
    extra: dict[str, Any],
) -> tuple[Updates, list[State]]:
    """Links one after the other, those with rules in one pass; at least float32 in between.

    Other libraries' links get the dtypes of the gradient, as in a chain of their own: a state that
    was made for 16 bits keeps its dtype.
    """
    checks.check_arrays("chain", "updates", updates)
    given, after = updates, list(states)
    for is_link, group in itertools.groupby(range(len(links)), lambda i: _has_rule(links[i])):
        some = [*group]
        if is_link:
            own = [after[i] for i in some]
            rules = [link for link in links[some[0] : some[-1] + 1] if _has_rule(link)]
            updates, new = run(rules, updates, own, params, extra)
            after[some[0] : some[-1] + 1] = new
            continue
        for i in some:
            with jax.named_scope(links[i].public_name):
                if has_foreign(links[i]):
                    updates = tree.rounded_where_alike(updates, given)
                elif not isinstance(links[i], LinkedTransformation):  # which widens by itself
                    updates = tree.widened(updates)
                updates, after[i] = links[i].update(updates, after[i], params, **extra)
                updates = tree.widened(updates)
    return tree.widened(updates), after


def _has_rule(link: GradientTransformation) -> TypeGuard[Link]:
    return isinstance(link, Link) and not isinstance(link, Observer)


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

    names: Sequence[str] = fields.static(_check_names)

    def check_together(self) -> None:
        if len(self.names) != len(self.links):
            raise ValueError(
                f"{self.public_name}: {len(self.names)} `names` for {len(self.links)} `links`"
            )

    def names_of_links(self) -> Sequence[str]:
        return self.names

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
    return Chain(links)


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
    return NamedChain([link for _, link in links], [name for name, _ in links])
