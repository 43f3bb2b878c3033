"""Observers: what looks at the parameters as they were written."""

from __future__ import annotations

from typing import Any

from adamx.core.link import Link
from adamx.core.transformation import Params, State, Updates
from adamx.core.writer import write


class Observer(Link, abstract=True):
    """A link that passes updates on, and remembers something of the parameters after the step.

    At the end of a chain it is called behind the writer.  Elsewhere, as in another library's
    chain, it writes parameters of its own to look at.
    """

    reads_params = True

    def observe(self, params: Params, state: State, updates: Updates) -> State:
        """The state after a step that led to `params`.

        `updates` say which leaves had an update: those of the others are `None`.
        """
        raise NotImplementedError(type(self).__name__)

    def keeps_updates(self) -> bool:
        return True

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        self.require_params(params)
        return updates, self.observe(write(self.public_name, params, updates), state, updates)
