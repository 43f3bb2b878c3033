"""Which parameter every array of a state belongs to, as its transformations declare it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.tree_util import PyTreeDef

from adamx.core import tree
from adamx.core.foreign import Foreign
from adamx.core.protocols import HasRows, offers
from adamx.core.transformation import GradientTransformation, Params, State

# In the place of an array that belongs to no parameter: a count, a key and the like.
NOBODY = -1


def owners(tx: GradientTransformation, state: State, params: Params) -> Any:
    """For every leaf of the state the number of its parameter, or `NOBODY`.

    Parameters are numbered as the leaves of `params`, `None` among them.  The arrays of a
    transformation's slots belong to the parameter whose place in the tree they have, those of its
    children likewise.  Of another library's states that holds for every part that is a tree like
    the parameters.
    """
    leaves, structure = tree.flatten(params)
    return _owners(tx, state, leaves, structure)


def _owners(
    tx: GradientTransformation, state: State, leaves: list[Any], structure: PyTreeDef
) -> Any:
    if isinstance(tx, Foreign):
        return _foreign(state, leaves, structure)
    marked: Any = jax.tree.map(lambda _: NOBODY, state)
    fields = {
        slot.name: _mark(getattr(state, slot.name), structure)
        for slot in tx.slots()
        if slot.is_in(state)
    }
    marked = marked._replace(**fields) if fields else marked
    states = tx.child_states(state)
    children = tx.children().items()
    inner = {name: _owners(child, states[name], leaves, structure) for name, child in children}
    return tx.with_child_states(marked, inner) if inner else marked


def _mark(field: Any, structure: PyTreeDef) -> Any:
    """A tree like the parameters, whose leaves may be containers, with the numbers of them."""
    marked = []
    for i, part in enumerate(structure.flatten_up_to(field)):
        by_row = part.by_row() if offers(part, HasRows) else jax.tree.map(_yes, part)
        marked.append(jax.tree.map(lambda is_own, i=i: i if is_own else NOBODY, by_row))
    return structure.unflatten(marked)


def _yes(_: object) -> bool:
    return True


def _foreign(state: State, leaves: list[Any], structure: PyTreeDef) -> Any:
    """Of a state without declarations, the parts that have the parameters' structure."""

    alone = jax.tree_util.treedef_is_leaf(structure)

    def is_like_params(node: object) -> bool:
        try:
            parts = structure.flatten_up_to(node)
        except (TypeError, ValueError):
            return False
        if alone:  # Anything fits the structure of one array.
            return hasattr(node, "shape") and np.shape(node) == np.shape(leaves[0])
        return all(part is None or hasattr(part, "shape") for part in parts)

    outer: PyTreeDef
    nodes, outer = jax.tree.flatten(state, is_leaf=is_like_params)
    marked = [_mark(x, structure) if is_like_params(x) else NOBODY for x in nodes]
    return outer.unflatten(marked)
