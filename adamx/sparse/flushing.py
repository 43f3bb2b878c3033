"""Bringing whole tables up to date."""

from __future__ import annotations

import jax
from jax.tree_util import PyTreeDef

from adamx.core import boxes, tree
from adamx.core.transformation import P, State
from adamx.sparse.averaging import SparseEmaState
from adamx.sparse.rows import SparseAdamState


def _can_flush(node: object) -> bool:
    return isinstance(node, (SparseAdamState, SparseEmaState))


def flush(state: State, params: P) -> tuple[P, State]:
    """Brings all stale rows of the tables in mode `exact` up to date.

    Afterwards the parameters are those of mode `dense`: what to write into a checkpoint, export
    or hand to code that reads tables directly.  Training may go on with either pair, to the same
    result.  For evaluation alone, `eval_params(state, params)` is enough.  Costs one pass over the
    tables in mode `exact`; other parameters are copied: the old pair may be donated afterwards.

    Args:
      state: the state of a transformation that has an optimizer of `adamx.sparse` anywhere in it.
      params: the parameters being trained; both may be in flax's `nnx` variables.

    Returns:
      `(params, state)`, in the order of `step`.

    Raises:
      ValueError: no optimizer of `adamx.sparse` in the state.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.sparse.adam(0.1, "exact")
      >>> table, state = jnp.zeros(3), tx.init(jnp.zeros(3))
      >>> for row in (0, 1):
      ...     rows = adamx.SparseRows(jnp.array([row]), jnp.ones(1), num_rows=3)
      ...     table, state = tx.step(rows, state, table)
      >>> [round(float(x), 2) for x in table]  # row 0 is stale
      [-0.1, -0.07, 0.0]
      >>> table, state = adamx.sparse.flush(state, table)
      >>> [round(float(x), 2) for x in table]
      [-0.17, -0.07, 0.0]
    """
    given = params, state
    params, state = boxes.unboxed(given)
    form: PyTreeDef = jax.tree.structure(given)
    nodes, structure = jax.tree.flatten(state, is_leaf=_can_flush)
    if not any(map(_can_flush, nodes)):
        raise ValueError(
            "sparse.flush: expected the state of an optimizer of `adamx.sparse`, found none in "
            f"{type(state).__name__}; the arguments are `(state, params)`"
        )
    flushed = params
    for i, node in enumerate(nodes):
        if _can_flush(node):
            flushed, nodes[i] = node.flush(flushed)
    after = jax.tree.unflatten(structure, nodes)
    own = tree.unshared(flushed, params), tree.unshared(after, state)
    result: tuple[P, State] = form.unflatten(jax.tree.leaves(own))
    return result
