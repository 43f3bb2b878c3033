"""The protocols by which a state, or a container in a slot of one, is found.

States are `NamedTuple`s, which have no base class of ours: a method of the name is enough.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import chex

from adamx.core.transformation import Params


@runtime_checkable
class Reports(Protocol):
    """A state that has something to report."""

    def metrics(self) -> dict[str, chex.Array]:
        """Scalars by name, for `adamx.metrics`."""


@runtime_checkable
class Averages(Protocol):
    """A state that averages the parameters."""

    def eval_params(self, params: Params) -> Params:
        """The average, in the parameters' dtypes, for `adamx.eval_params`."""


@runtime_checkable
class MayBeStale(Protocol):
    """A state beside which rows of the parameters may be stale."""

    def current_params(self, params: Params) -> Params:
        """The parameters as they are by now; leaves without stale rows are the same objects."""


@runtime_checkable
class HasRows(Protocol):
    """A container in a slot, in the place of an array beside a parameter."""

    def by_row(self) -> Any:
        """The same container, with True for the arrays that have an entry for each row."""


def offers(node: object, protocol: type) -> bool:
    """Whether the class of `node` has the methods of a protocol.

    The class: an object that makes up attributes as they are asked for offers nothing.
    """
    return issubclass(type(node), protocol)
