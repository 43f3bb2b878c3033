"""Transformations that keep no state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.link import Link
from adamx.core.transformation import GradientTransformation, Params, State, Updates

_OF_TREES = "a function (updates, params) -> updates"
_OF_LEAVES = "a function (update, param) -> update"


class Identity(GradientTransformation):
    """Leaves updates unchanged.

    Example:
      >>> import adamx
      >>> adamx.identity()
      identity()
    """

    def keeps_updates(self) -> bool:
        return True

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        return updates, state


class Stateless(GradientTransformation):
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

    f: Callable[[Updates, Params | None], Updates] = fields.function(_OF_TREES)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        return fields.call(Where(self.public_name, "f"), _OF_TREES, self.f, updates, params), state


class StatelessWithTreeMap(Link):
    """A transformation from a function of one leaf `(update, param)`.

    Args:
      f: `(update, param) -> update`, called for every floating or complex leaf, in at least
        float32; `param` is None where `update` is called without parameters.

    Raises:
      TypeError: `f` is not callable.

    Example:
      >>> import adamx
      >>> halve = adamx.stateless_with_tree_map(lambda u, p: u / 2)
      >>> halve.update({"w": 3.0}, halve.init(None))[0]
      {'w': Array(1.5, dtype=float32)}
    """

    reads_params = "optional"
    elementwise = False

    f: Callable[[Any, Any], Any] = fields.function(_OF_LEAVES)

    def rule(self, s: Any, u: chex.Array, p: chex.Array | None) -> Any:
        return fields.call(Where(self.public_name, "f"), _OF_LEAVES, self.f, u, p)


identity = Identity
stateless = Stateless
stateless_with_tree_map = StatelessWithTreeMap
