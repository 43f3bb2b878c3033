"""A transformation around another one."""

from __future__ import annotations

from typing import Any, ClassVar

from adamx.core import fields
from adamx.core.foreign import as_transformation
from adamx.core.transformation import GradientTransformation, State


def transformation(*, default: Any = fields.REQUIRED, kw_only: bool = False) -> Any:
    """A data field holding one transformation."""
    return fields.child(as_transformation, default=default, kw_only=kw_only)


class Wrapper(GradientTransformation, abstract=True):
    """A transformation around another one, whose state is a field of its own."""

    inner: GradientTransformation = transformation()
    inner_state_field: ClassVar[str] = "inner_state"  # of the state

    def children(self) -> dict[str, GradientTransformation]:
        return {"inner": self.inner}

    def child_states(self, state: State) -> dict[str, State]:
        return {"inner": getattr(state, self.inner_state_field)}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return state._replace(**{self.inner_state_field: states["inner"]})
