"""Replacing what is not a number."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, numerics, tree
from adamx.core.link import Link, View
from adamx.core.rows import SparseRows
from adamx.core.transformation import Params, State


class ZeroNansState(NamedTuple):
    """Where the latest gradient had a NaN."""

    found_nan: Any  # like the parameters, bool[] for each leaf; None where nothing is trained

    def metrics(self) -> dict[str, chex.Array]:
        """How many leaves had one, for a logger."""
        found = jax.tree.leaves(self.found_nan)
        number = sum((x.astype(jnp.int32) for x in found), start=jnp.zeros((), jnp.int32))
        return {"zero_nans/leaves": number}


def _flags(some_tree: Any, flag: Any) -> Any:
    """`flag(leaf)` for every leaf, `None` included."""
    return jax.tree.map(flag, some_tree, is_leaf=tree.is_leaf)


def _has_nan(u: chex.Array) -> chex.Array:
    """By the maximum, which XLA reads from the gradient; it would keep the comparisons."""
    if numerics.is_complex(u):
        return _has_nan(u.real) | _has_nan(u.imag)
    return jnp.isnan(jnp.max(u, initial=-jnp.inf))


class ZeroNans(Link):
    """Replaces every NaN of the gradient by 0, and says in which leaves there was one.

    Infinities stay.  To skip the whole step instead, use a guard.

    Returns:
      A transformation with state `ZeroNansState(found_nan)`, a tree of booleans like the
      parameters, about the latest gradient; its `metrics()` count them.

    Raises:
      ValueError: at `update`, a gradient of another structure.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.zero_nans()
      >>> tx.update(jnp.array([1.0, jnp.nan]), tx.init(jnp.zeros(2)))
      (Array([1., 0.], dtype=float32), ZeroNansState(found_nan=Array(True, dtype=bool)))
    """

    reads_params = "optional"
    rows = "coalesced"

    def state_type(self) -> type[Any]:
        return ZeroNansState

    def init(self, params: Params) -> State:
        checks.check_arrays(self.public_name, "parameters", params)
        return ZeroNansState(
            found_nan=_flags(
                params, lambda p: jnp.zeros((), bool) if numerics.is_inexact(p) else None
            )
        )

    def scalars(self, view: View, state: State) -> tuple[Any, dict[str, Any]]:
        # The state knows which leaves are trained, but not their shapes.
        given = _flags(view.updates, lambda u: 0.0 if numerics.is_inexact(u) else None)
        known = _flags(state.found_nan, lambda found: None if found is None else 0.0)
        checks.check_match(self.public_name, "updates", given, "optimizer state", known)

        def find(u: Any, before: Any) -> Any:
            if before is None:
                return None
            if isinstance(u, SparseRows):
                u = u.values
            return _has_nan(jnp.asarray(u)) if numerics.is_inexact(u) else jnp.zeros((), bool)

        found = jax.tree.map(find, view.updates, state.found_nan, is_leaf=tree.is_leaf)
        return (), {"found_nan": found}

    def rule(self, s: Any, u: chex.Array, p: None) -> chex.Array:
        return jnp.where(jnp.isnan(u), jnp.zeros((), u.dtype), u)


zero_nans = ZeroNans
