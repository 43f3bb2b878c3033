"""What a transformation remembers about every parameter, as a declaration.

Whoever asks where the arrays of a state go, how they start, what they hold or which parameter they
belong to asks the slots: nothing is guessed from names or shapes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import numerics, tree
from adamx.core.format import Float, Format, Kind
from adamx.core.hyperparameter import Number, is_exactly_zero, scalar


class Slot(NamedTuple):
    """One array beside every trained parameter, in a field of the state that has its name.

    The field holds a tree like the parameters, with `None` where nothing is trained.
    """

    name: str
    kind: Kind = "signed"  # `magnitude`: real, also beside a complex parameter
    format: Format = Float()
    start: Number | Literal["parameter"] = 0.0  # every element, or a copy of the parameter

    def init_leaf(self, p: Any, shape: tuple[int, ...] | None = None) -> chex.Array | None:
        """The array of one parameter, or one of another shape beside it; None if it has none."""
        dtype = self.format.dtype(p, self.kind)
        if dtype is None:
            return None
        if self.start == "parameter":
            # A copy: a state must not share the buffers of parameters that get donated.
            return jnp.array(p, dtype, copy=True)
        if is_exactly_zero(self.start):
            return jnp.zeros_like(p, dtype=dtype, shape=shape)
        return jnp.full_like(p, scalar(self.start, self.name), dtype=dtype, shape=shape)

    def init(self, params: chex.ArrayTree, selected: Any = None) -> Any:
        """The field before the first step; `selected`, one boolean per leaf, leaves some out."""
        tree.check_arrays(f"init of `{self.name}`", "parameters", params)

        def array(p: Any, wanted: bool = True) -> chex.Array | None:
            if not (wanted and numerics.is_inexact(p)):
                return None
            return self.init_leaf(p)

        rest = () if selected is None else (selected,)
        return jax.tree.map(array, params, *rest, is_leaf=tree.is_leaf)
