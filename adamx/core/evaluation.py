"""The parameters to evaluate with, where they differ from the ones being trained."""

from __future__ import annotations

from typing import Any

import chex
import jax


def _has_eval_params(node: Any) -> bool:
    return callable(getattr(type(node), "eval_params", None))


def eval_params(state: Any, params: chex.ArrayTree) -> chex.ArrayTree:
    """The averaged parameters kept anywhere inside an optimizer state.

    Works with every transformation that averages parameters (`ema_params`,
    `schedule_free_adamw`); nothing is changed, so training goes on with `params`.

    Args:
      state: the state of any transformation, nested as deeply as you like.
      params: the parameters being trained.

    Returns:
      A pytree like `params`, in the parameters' dtypes.

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
    nodes = jax.tree.leaves(state, is_leaf=_has_eval_params)
    found = [node for node in nodes if _has_eval_params(node)]
    if len(found) != 1:
        names = ", ".join(type(node).__name__ for node in found) or "none"
        raise ValueError(
            "eval_params: the state must hold exactly one average of the parameters (add "
            f"`ema_params` to the chain), found {names}"
        )
    return found[0].eval_params(params)
