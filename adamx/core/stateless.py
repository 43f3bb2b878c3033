"""Transformations that keep no state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamx.core import fields, tree
from adamx.core.transformation import GradientTransformation, Params, State, Updates


class Identity(GradientTransformation):
    """Returns the updates as they are."""

    def keeps_updates(self) -> bool:
        return True

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        return updates, state


class Stateless(GradientTransformation):
    """Applies a function of the whole trees `(updates, params)`."""

    f: Callable[[Updates, Params | None], Updates] = fields.function(
        "a function (updates, params) -> updates"
    )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        return self.f(updates, params), state


class StatelessWithTreeMap(GradientTransformation):
    """Applies a function of one leaf `(update, param)` to every trained leaf."""

    f: Callable[[Any, Any], Any] = fields.function("a function (update, param) -> update")

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        if params is None:
            return tree.map_leaves(lambda u: self.f(u, None), updates), state
        tree.check_match(self.public_name, "updates", updates, "parameters", params)
        return tree.map_leaves(self.f, updates, params), state


def identity() -> Identity:
    """Leaves updates unchanged.

    Example:
      >>> import adamx
      >>> adamx.identity()
      identity()
    """
    return Identity()


def stateless(f: Callable[[Updates, Params | None], Updates]) -> Stateless:
    """A transformation from a function of the trees `(updates, params)`.

    Args:
      f: `(updates, params) -> updates`; `params` is None where `update` is called without.

    Raises:
      TypeError: `f` is not callable.

    Example:
      >>> import adamx
      >>> halve = adamx.stateless(lambda updates, params: updates / 2)
      >>> halve.update(3.0, halve.init(None))[0]
      1.5
    """
    return Stateless.checked(f=f)


def stateless_with_tree_map(f: Callable[[Any, Any], Any]) -> StatelessWithTreeMap:
    """A transformation from a function of one leaf `(update, param)`.

    Args:
      f: `(update, param) -> update`, called for every floating or complex leaf; `param` is None
        where `update` is called without parameters.

    Raises:
      TypeError: `f` is not callable.

    Example:
      >>> import adamx
      >>> halve = adamx.stateless_with_tree_map(lambda u, p: u / 2)
      >>> halve.update({"w": 3.0}, halve.init(None))[0]
      {'w': 1.5}
    """
    return StatelessWithTreeMap.checked(f=f)
