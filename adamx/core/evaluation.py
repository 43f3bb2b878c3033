"""The parameters to evaluate with, where they differ from the ones being trained."""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax


def _has(method: str, node: Any) -> bool:
    return callable(getattr(type(node), method, None))


def _nodes(state: Any, method: str) -> list[Any]:
    """The parts of a state whose type has a method, from the outside in."""
    nodes = jax.tree.leaves(state, is_leaf=functools.partial(_has, method))
    return [node for node in nodes if _has(method, node)]


def eval_params(state: Any, params: chex.ArrayTree) -> chex.ArrayTree:
    """The averaged parameters kept anywhere inside an optimizer state.

    Works with every transformation that averages parameters (`ema_params`,
    `schedule_free_adamw`), and with the optimizers of `adamx.sparse`, whose tables may be behind
    and are then brought up to date; nothing is changed, so training goes on with `params`.

    Args:
      state: the state of any transformation, nested as deeply as you like.
      params: the parameters being trained.

    Returns:
      A pytree like `params`, in the parameters' dtypes: the average; of a sparse optimizer without
      one, the parameters of this step.

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
    behind = _nodes(state, "current_params")
    for node in behind:
        params = node.current_params(params)
    found = _nodes(state, "eval_params")
    if behind and not found:
        return params
    if len(found) != 1:
        names = ", ".join(type(node).__name__ for node in found) or "none"
        raise ValueError(
            "eval_params: the state must hold exactly one average of the parameters (add "
            f"`ema_params` to the chain), found {names}"
        )
    return found[0].eval_params(params)
