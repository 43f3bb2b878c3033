"""The parameters to evaluate with, where they differ from the ones being trained."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
from jax.tree_util import PyTreeDef

from adamx.core import boxes, tree
from adamx.core.protocols import Averages, MayBeStale, offers
from adamx.core.transformation import Params, State

P = TypeVar("P")


def _is_read(node: object) -> bool:
    return offers(node, Averages) or offers(node, MayBeStale)


def _caught_up(nodes: list[Any], params: P) -> P:
    """The parameters as they would be if no row of a table had been put off."""
    for node in nodes:
        if not offers(node, Averages):
            params = node.current_params(params)
    return params


def _check_not_stale(params: Params, current: Params, averaged: Params) -> None:
    """Raises if a table was averaged whose rows were not what they should have been by then."""
    leaves = zip(
        tree.flatten_with_paths(params),
        *(tree.flatten(x)[0] for x in (current, averaged)),
        strict=True,
    )
    for (path, stored), now, mean in leaves:
        if now is not stored and mean is not now:
            raise ValueError(
                f"eval_params: the average of {path} is not that of its values, as rows of a table "
                "in mode `exact` are stale until they are read; write "
                "`sparse.ema_params(optimizer, decay)` around the optimizer, or give the average a "
                "`mask` without this table"
            )


def eval_params(state: State, params: P) -> P:
    """The averaged parameters kept anywhere inside an optimizer state.

    Works with every transformation that averages parameters (`ema_params`,
    `schedule_free_adamw`), and with the optimizers of `adamx.sparse`, whose tables may hold stale
    rows and are then brought up to date; nothing is changed, so training goes on with `params`.

    Args:
      state: the state of any transformation, nested as deeply as you like.
      params: the parameters being trained; both may be in flax's `nnx` variables.

    Returns:
      A pytree like `params`, in the parameters' dtypes: the average; of a sparse optimizer without
      one, the parameters of this step.  Where nothing is averaged it holds copies, which outlive
      the donation of `params`.

    Raises:
      ValueError: no average in the state, or more than one.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.chain(adamx.scale(-1.0), adamx.ema_params(0.5))
      >>> params = jnp.array(4.0)
      >>> params, state = tx.step(jnp.array(2.0), tx.init(params), params)
      >>> float(params), float(adamx.eval_params(state, params))
      (2.0, 3.0)
    """
    averaged = _evaluated(boxes.unboxed(state), boxes.unboxed(params))
    structure: PyTreeDef = jax.tree.structure(params)
    result: P = structure.unflatten(jax.tree.leaves(averaged))
    return result


def _evaluated(state: State, params: Params) -> Params:
    nodes = [node for node in jax.tree.leaves(state, is_leaf=_is_read) if _is_read(node)]
    current = _caught_up(nodes, params)
    found = [node for node in nodes if offers(node, Averages)]
    if nodes and not found:
        return tree.unshared(current, params)
    if len(found) != 1:
        names = ", ".join(type(node).__name__ for node in found) or "none"
        raise ValueError(
            "eval_params: the state must hold exactly one average of the parameters (add "
            f"`ema_params` to the chain), found {names}"
        )
    averaged = found[0].eval_params(current)
    _check_not_stale(params, current, averaged)
    return tree.unshared(averaged, params)
