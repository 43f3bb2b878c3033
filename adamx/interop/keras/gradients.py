"""Gradients of a loss, as pairs with their variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, numerics, tree
from adamx.core.fields import AxisName, Where, call
from adamx.core.transformation import Params, Updates
from adamx.interop.keras.links import Pairs, check_pairs
from adamx.transforms.aggregation import psum

Loss: TypeAlias = Callable[..., Any]


def gradients_of(owner: str, loss: Loss, params: Params, grad_loss: Any) -> Updates:
    """The gradient of the loss, or of what has the gradient `grad_loss` with respect to it."""
    if not callable(loss):
        raise ValueError(
            f"{owner}: `loss` must be a function of the variables, got {loss!r}; JAX has no tape "
            "that remembers how a number was computed"
        )
    checks.check_depth(f"{owner}: the variables", params)
    where, wanted = Where(owner, "loss"), "a function of the variables"
    value, back = jax.vjp(
        lambda trained: call(where, wanted, loss, _merged(trained, params)), _trained(params)
    )
    if not isinstance(value, jax.Array):
        raise ValueError(f"{owner}: `loss` must return one array, got {type(value).__name__}")
    seed = jnp.ones_like(value) if grad_loss is None else jnp.asarray(grad_loss, value.dtype)
    if jnp.shape(seed) != jnp.shape(value):
        raise ValueError(
            f"{owner}: `grad_loss` has shape {jnp.shape(seed)}, but the loss {jnp.shape(value)}"
        )
    return back(seed)[0]


def _trained(params: Params) -> Params:
    return jax.tree.map(lambda p: p if numerics.is_inexact(p) else None, params)


def _merged(trained: Params, params: Params) -> Params:
    return jax.tree.map(
        lambda t, p: p if t is None else t, trained, params, is_leaf=lambda x: x is None
    )


def compute_gradients(
    loss: Loss, var_list: Params, grad_loss: chex.Array | None = None
) -> list[tuple[Any, Any]]:
    """Pairs (gradient, variable) for all leaves of the variables.

    Args:
      loss: a function of the variables, of no other arguments.
      var_list: the variables, any pytree.
      grad_loss: the gradient of something else with respect to the loss, of its shape; None for
        ones.

    Returns:
      A list for `apply_gradients`; the gradient is None for what is not trained (integers).

    Raises:
      ValueError: `loss` is not a function, or `grad_loss` has another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> [(g, v)] = keras.compute_gradients(lambda v: v[0] ** 2, [jnp.array(3.0)])
      >>> print(g, v)
      6.0 3.0
    """
    grads = gradients_of("compute_gradients", loss, var_list, grad_loss)
    return list(zip(tree.flatten(grads)[0], tree.flatten(var_list)[0], strict=True))


def get_gradients(loss: Loss, params: Params) -> list[chex.Array]:
    """The gradients of the loss with respect to all leaves of the parameters.

    Args:
      loss: a function of the parameters.
      params: any pytree.

    Raises:
      ValueError: `loss` is not a function, or a leaf has no gradient (an integer).

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> print(*keras.get_gradients(lambda v: v[0] ** 2, [jnp.array(3.0)]))
      6.0
    """
    grads = [g for g, _ in compute_gradients(loss, params)]
    for i, g in enumerate(grads):
        if g is None:
            raise ValueError(f"get_gradients: variable {i} has no gradient")
    return grads


def aggregate_gradients(grads_and_vars: Iterable[tuple[Any, Any]], axis_name: AxisName) -> Pairs:
    """The pairs with gradients summed over the devices, inside `shard_map` or `pmap`.

    Args:
      grads_and_vars: pairs (gradient, variable).
      axis_name: the axes that hold the devices.

    Raises:
      TypeError: no pairs, or no axis name.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> def total(g):
      ...     return keras.aggregate_gradients([(g, jnp.zeros(()))], "devices")[0][0]
      >>> jax.vmap(total, axis_name="devices")(jnp.array([1.0, 2.0]))
      Array([3., 3.], dtype=float32)
    """
    pairs = check_pairs("aggregate_gradients", grads_and_vars)
    link = psum(axis_name)
    total, _ = link.update([g for g, _ in pairs], link.init(None))
    return [(g, v) for g, (_, v) in zip(total, pairs, strict=True)]
