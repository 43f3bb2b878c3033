"""A transformation around another one."""

from __future__ import annotations

from typing import ClassVar

from adamx.core import checks, fields
from adamx.core.foreign import as_transformation
from adamx.core.transformation import GradientTransformation, State


class Wrapper(GradientTransformation, abstract=True):
    """A transformation around another one, whose state is a field of its own."""

    inner: GradientTransformation = fields.child(as_transformation)
    inner_state_field: ClassVar[str] = "inner_state"  # of the state

    def children(self) -> dict[str, GradientTransformation]:
        return {"inner": self.inner}

    def child_states(self, state: State) -> dict[str, State]:
        return {"inner": checks.field_of(self.public_name, state, self.inner_state_field)}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return state._replace(**{self.inner_state_field: states["inner"]})
