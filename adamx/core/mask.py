"""Masks: which leaves of the parameters a transformation applies to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import chex
import jax
import numpy as np

from adamx.core import checks, fields, tree
from adamx.core.fields import Where
from adamx.core.value import Value

_OF_PARAMS = "a tree of booleans, or a function (params) -> tree of booleans"


class FrozenTree:
    """A pytree of plain values made hashable, so that it can be a static field."""

    def __init__(self, contents: object) -> None:
        leaves, self._structure = tree.flatten(contents)
        self._leaves = tuple(leaves)

    def thaw(self) -> Any:
        """The pytree it was made from."""
        return self._structure.unflatten(self._leaves)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrozenTree):
            return NotImplemented
        return (self._leaves, self._structure) == (other._leaves, other._structure)

    def __hash__(self) -> int:
        return hash((self._leaves, self._structure))

    def __repr__(self) -> str:
        return repr(self.thaw())

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenTree, (self.thaw(),)


def is_function_of_tree(value: object) -> TypeGuard[Callable[[Any], Any]]:
    """Whether it is called with the parameters to get a tree; a module is one, callable or not."""
    if not callable(value):
        return False
    is_tree = bool(jax.tree.leaves(value)) and not jax.tree_util.all_leaves([value])
    return not is_tree or isinstance(value, (Value, jax.tree_util.Partial))


def frozen_leaves(
    where: Where, value: object, as_leaf: Callable[[Any], Any], wanted: str
) -> FrozenTree:
    """A tree of what `as_leaf` makes of each leaf, `None` leaves excepted.

    Raises:
      TypeError: a leaf of which it makes None, by its path.
      ValueError: a tree nested without end.
    """
    contents = value.thaw() if isinstance(value, FrozenTree) else value
    checks.check_depth(f"{where.owner}: `{where.argument}`", contents)
    for path, leaf in tree.flatten_with_paths(contents):
        if leaf is not None and as_leaf(leaf) is None:
            raise where.error(TypeError, f"{wanted} at {path}", leaf)
    return FrozenTree(jax.tree.map(as_leaf, contents))


def _as_bool(leaf: object) -> bool | None:
    """True or False, also as a scalar array, 0 or 1; None for anything else."""
    if isinstance(leaf, (jax.Array, np.ndarray)):
        is_one = leaf.shape == () and leaf.dtype == bool and not isinstance(leaf, jax.core.Tracer)
        return bool(leaf) if is_one else None
    if isinstance(leaf, (bool, np.bool_, int, np.integer)) and leaf in (0, 1):
        return bool(leaf)
    return None


Mask: TypeAlias = Callable[[chex.ArrayTree], Any] | FrozenTree | None
# A mask as users give it: a tree of booleans, a prefix of one, a function, or None.
MaskLike: TypeAlias = (
    Callable[[Any], Any] | Mapping[str, Any] | Sequence[Any] | bool | FrozenTree | None
)


def _check_mask(where: Where, value: object) -> Mask:
    if value is None:
        return None
    if is_function_of_tree(value):
        return fields.check_callable(where, value, _OF_PARAMS)
    return frozen_leaves(where, value, _as_bool, "True or False")


def mask(*, default: Any = fields.REQUIRED, kw_only: bool = False) -> Any:
    """A static field: a pytree of booleans (or a prefix of one), a function of the parameters
    that returns one, or None for all leaves."""
    return fields.static(_check_mask, default=default, kw_only=kw_only)


def resolve_mask(owner: str, selected: MaskLike, params: chex.ArrayTree) -> chex.ArrayTree:
    """The mask as one boolean per leaf of `params`, `None` leaves included.

    Raises:
      ValueError: the mask is not a prefix of the parameters' structure.
      TypeError: a leaf of the mask is not a boolean.
    """
    checks.check_depth(f"{owner}: the parameters", params)
    _, structure = tree.flatten(params)
    # A tree without leaves has nothing to select and nothing to complain about: it stands for any
    # parameters in `optax.tree.map_params`.
    if selected is None or not structure.num_leaves:
        return structure.unflatten([True] * structure.num_leaves)
    if isinstance(selected, FrozenTree):
        given: Any = selected.thaw()
    else:
        given = selected
        if is_function_of_tree(selected):
            given = fields.call(Where(owner, "mask"), _OF_PARAMS, selected, params)
    _, prefix = tree.flatten(given)
    try:
        subtrees = prefix.flatten_up_to(params)
    except (TypeError, ValueError) as error:
        why = checks.other_containers(given, params) or error
        raise ValueError(f"{owner}: the mask does not fit the parameters: {why}") from None
    flat: list[bool] = []
    for (path, leaf), subtree in zip(tree.flatten_with_paths(given), subtrees, strict=True):
        if leaf is None and subtree is None:
            leaf = False  # A mask made by `jax.tree.map` has None where the parameters have.
        chosen = _as_bool(leaf)
        if chosen is None:
            raise TypeError(f"{owner}: the mask at {path} must be True or False, got {leaf!r}")
        flat += [chosen] * tree.flatten(subtree)[1].num_leaves
    return structure.unflatten(flat)
