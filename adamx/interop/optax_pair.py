"""A transformation of ours as the pair of functions that optax's classes and checks know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adamx.core.fields import Where, check_switch
from adamx.core.transformation import GradientTransformation, Params, State, Updates

if TYPE_CHECKING:
    import optax


def as_pair(
    owner: str, tx: GradientTransformation, optax_states: bool
) -> optax.GradientTransformationExtraArgs:
    """optax's named tuple of `init` and `update`; the functions are made once."""
    import optax

    if not isinstance(tx, GradientTransformation):
        raise TypeError(f"{owner}: `tx` must be a transformation of adamx, got {tx!r}")
    if not check_switch(Where(owner, "optax_states"), optax_states):
        return optax.GradientTransformationExtraArgs(tx.init, tx.update)
    libraries = (optax, optax.contrib)

    def init(params: Params) -> State:
        return _with_classes_of(libraries, tx.init(params))

    def update(
        updates: Updates, state: State, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, State]:
        # Ours take a state by the names of its fields, whichever library its class is from.
        updates, state = tx.update(updates, state, params, **extra_args)
        return updates, _with_classes_of(libraries, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _with_classes_of(libraries: tuple[Any, ...], state: Any) -> Any:
    """The state with the libraries' classes wherever they have one of the same name and fields."""
    if isinstance(state, dict):
        return type(state)((key, _with_classes_of(libraries, x)) for key, x in state.items())
    if not isinstance(state, (tuple, list)):
        return state
    items = [_with_classes_of(libraries, x) for x in state]
    fields = getattr(state, "_fields", None)
    if fields is None:
        return type(state)(items)
    own: Any = type(state)
    found = [getattr(library, own.__name__, None) for library in libraries]
    # A class with methods of its own is asked for them.
    same = [x for x in found if getattr(x, "_fields", None) == fields and {*dir(own)} <= {*dir(x)}]
    return [*same, own][0](*items)
