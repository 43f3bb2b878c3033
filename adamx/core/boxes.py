"""Variables of flax's `nnx`, which hold the arrays of a tree."""

from __future__ import annotations

from typing import Any

import jax

from adamx.core.checks import check_depth


def _is_box(x: object) -> bool:
    return hasattr(type(x), "get_value") and hasattr(type(x), "get_metadata")


def unboxed(tree: Any) -> Any:
    """The tree with the arrays of flax's `nnx` variables in their place.

    `nnx.Optimizer` keeps its state in variables of another class than those of the model.
    """
    check_depth("the state or the parameters", tree)
    return jax.tree.map(lambda x: x.get_value() if _is_box(x) else x, tree, is_leaf=_is_box)
