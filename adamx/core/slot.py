"""Slots: the arrays that a transformation remembers about every parameter, as a declaration.

Whoever asks where the arrays of a state go, how they start, what they hold or which parameter they
belong to asks the slots: nothing is guessed from names or shapes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import checks, compat, numerics, tree
from adamx.core.format import ByPath, Float, Format, Kind
from adamx.core.hyperparameter import Number, is_exactly_zero, scalar
from adamx.core.paths import leaf_paths


class Slot(NamedTuple):
    """One array beside every trained parameter, in a field of the state that has its name.

    The field holds a tree like the parameters, with `None` where nothing is trained.
    """

    name: str  # of the field
    kind: Kind = "signed"  # `magnitude`: real, also beside a complex parameter
    format: Format = Float()  # how it is stored
    start: Number | Literal["parameter"] = 0.0  # of every element, or a copy of the parameter

    def init_leaf(self, p: Any, shape: tuple[int, ...] | None = None) -> chex.Array | None:
        """The array of one parameter, or one of another shape beside it; None if it has none."""
        dtype = self.format.dtype(p, self.kind)
        if dtype is None:
            return None
        shape = self.format.shape(p, self.kind) if shape is None else shape
        if self.start == "parameter":
            # A copy: a state must not share the buffers of parameters that get donated.
            return jnp.array(p, dtype, copy=True)
        if is_exactly_zero(self.start):
            return compat.full_like(p, 0, dtype, shape)
        return compat.full_like(p, scalar(self.start, self.name), dtype, shape)

    def init(self, params: chex.ArrayTree, selected: Any = None) -> Any:
        """The field before the first step; `selected`, one boolean per leaf, leaves some out."""
        checks.check_arrays(f"init of `{self.name}`", "parameters", params)

        leaves, structure = tree.flatten(params)
        wanted = [True] * len(leaves) if selected is None else tree.flatten(selected)[0]
        slots = zip(leaves, wanted, self.by_leaf(params), strict=True)
        return structure.unflatten(
            [
                slot.init_leaf(p) if use and numerics.is_inexact(p) else None
                for p, use, slot in slots
            ]
        )

    def is_in(self, state: object) -> bool:
        """Whether a state has the field: the links of `sparse.rows` share one that lacks some."""
        return self.name in getattr(type(state), "_fields", ())

    def by_leaf(self, leaves: chex.ArrayTree) -> list[Slot]:
        """The slot of every leaf, each with its own format."""
        if not isinstance(self.format, ByPath):
            return [self] * len(tree.flatten(leaves)[0])
        return [self._replace(format=self.format.at(path)) for path in leaf_paths(leaves)]
