"""The writer: parameters plus updates, the end of every step.

Nothing else adds an update to a parameter.
"""

from __future__ import annotations

import warnings
from typing import TypeVar

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, numerics, tree
from adamx.core.indexing import gather, scatter, sharded_like
from adamx.core.rows import SparseRows

P = TypeVar("P")


def apply_updates(params: P, updates: chex.ArrayTree) -> P:
    """`params + updates`, leaf by leaf, in the parameters' dtypes.

    Leaves without an update (`None`, `float0`) and integer parameters stay as they are.  Of an
    update of `SparseRows` only those rows are read and written, in place where the parameters are
    donated.

    Args:
      params: any pytree of arrays.
      updates: a pytree of the same structure and shapes, with `SparseRows` in the place of an
        array or not; its floating dtypes may differ.

    Returns:
      The new parameters; every leaf keeps its shape and dtype.

    Raises:
      ValueError: another structure, or a leaf of another shape (nothing is broadcast).
      TypeError: a real update for a complex parameter, or the other way round.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.apply_updates({"w": jnp.ones(2)}, {"w": jnp.array([0.5, -1.0])})
      {'w': Array([1.5, 0. ], dtype=float32)}
    """
    return write("apply_updates", params, updates)


def write(owner: str, params: P, updates: chex.ArrayTree) -> P:
    """`apply_updates` on behalf of `owner`, whom errors name."""
    checks.check_match(owner, "updates", updates, "parameters", params)
    written: P = jax.tree.map(write_leaf, params, updates, is_leaf=tree.is_leaf)
    return written


def write_leaf(p: chex.Array, u: chex.Array | SparseRows) -> chex.Array:
    """`p + u` in the dtype of `p`; what is not trained stays."""
    if not (numerics.is_inexact(p) and numerics.is_inexact(u)):
        return p
    if isinstance(u, SparseRows):
        return _write_rows(jnp.asarray(p), u)
    written = jnp.asarray(p + u).astype(jax.dtypes.result_type(p))
    return sharded_like(written, jnp.asarray(p))


def _write_rows(table: chex.Array, update: SparseRows) -> chex.Array:
    """`table + update`, rounded as for an array: once, in the wider of the two dtypes."""
    if update.dtype == table.dtype == numerics.widen(table).dtype:
        return update.add_to(table)
    rows = update.coalesce()
    return scatter(table, rows.indices, gather(table, rows.indices) + rows.values)


def warn_of_lost_updates(owner: str, params: chex.ArrayTree) -> None:
    """Warns where what is written is rounded to 16 bits, in which small updates have no effect.

    Python shows a warning once.
    """
    checks.check_arrays(owner, "parameters", params)
    narrow = {
        path: jax.dtypes.result_type(p).name
        for path, p in tree.flatten_with_paths(params)
        if numerics.is_inexact(p) and jax.dtypes.result_type(p).itemsize <= 2
    }
    if narrow:
        path, dtype = next(iter(narrow.items()))
        more = f" and {len(narrow) - 1} more" if len(narrow) > 1 else ""
        warnings.warn(
            f"adamx: the parameter at {path or 'the top'}{more} is {dtype} and rounded to nearest "
            "when a step is written: updates below about 1/512 of it are lost. Keep parameters in "
            "float32, or in bfloat16 with `adamx.bfloat16_params` around the whole optimizer",
            UserWarning,
            stacklevel=3,
        )
