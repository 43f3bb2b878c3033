"""The places inside a transformation: its numbers and links, their names and their states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from adamx.core.hyperparameter import Number
from adamx.core.transformation import GradientTransformation, State


class Place(NamedTuple):
    """Something inside a transformation, and where."""

    names: tuple[str, ...]  # positions and names of the links above it
    field: str  # its field, and its position in the field if that holds several; "" for a link
    value: Any
    owner: GradientTransformation  # the transformation that it is, or whose field it is
    state: State  # of the owner; None if it is not known

    def full_name(self) -> str:
        return "/".join([*(self.names or (self.owner.public_name,)), self.field])


def _child(owner: GradientTransformation, field: list[Any], state: State) -> tuple[str, State]:
    """Name and state of the transformation in a field, or at a position of a field, of `owner`."""
    position, names = field[-1], [*owner.children()]
    name = names[position] if isinstance(position, int) else position
    return name, None if state is None else owner.child_states(state)[name]


def _locate(root: GradientTransformation, state: State, path: tuple[Any, ...]) -> Place:
    """Follows a key path of JAX's through fields and positions."""
    owner, node = root, cast(Any, root)
    names: list[str] = []
    field: list[Any] = []
    for key in path:
        is_field = isinstance(key, jax.tree_util.GetAttrKey)
        node = getattr(node, key.name) if is_field else node[key.idx]
        field.append(key.name if is_field else key.idx)
        if isinstance(node, GradientTransformation):
            name, state = _child(owner, field, state)
            names.append(name)
            owner, field = node, []
    return Place(tuple(names), "/".join(map(str, field)), node, owner, state)


def places_in(
    root: GradientTransformation,
    state: State,
    wanted: Callable[[Any], bool],
    stop: Callable[[Any], bool],
) -> list[tuple[int, Place]]:
    """The wanted leaves of a transformation, numbered; whatever `stop` holds for counts as one."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(root, is_leaf=stop)
    return [
        (i, _locate(root, state, path)) for i, (path, leaf) in enumerate(leaves) if wanted(leaf)
    ]


def named(places: list[tuple[int, Place]]) -> dict[str, tuple[int, Place]]:
    """By field name where that is the only one, by the full name otherwise."""
    times = Counter(place.field for _, place in places)
    return {p.field if times[p.field] == 1 else p.full_name(): (i, p) for i, p in places}


def as_state_scalar(value: Number) -> jax.Array:
    """A Python number in the default precision, an array in its own; never weakly typed.

    Always a new array: a state is donated, and nothing else may hold its buffers.
    """
    dtype = jax.dtypes.canonicalize_dtype(getattr(value, "dtype", np.float64))
    return jnp.array(value, dtype)
