"""A training step in one screen: read it, use it, or replace it by your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from adamx.core import numerics
from adamx.core.fields import AxisName
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.transforms.loss_scaling import loss_scale


def make_step(
    loss_fn: Callable[..., Any],
    tx: GradientTransformation,
    *,
    has_aux: bool = False,
    donate: bool = True,
    axis_name: AxisName = None,
) -> Callable[..., tuple[Any, ...]]:
    """A jitted training step: `(params, state, *batch) -> (params, state, loss)`.

    It differentiates `loss_fn`, scales the loss if `tx` contains `dynamic_loss_scale`, averages
    gradient and loss over `axis_name`, and takes `tx.step`, passing the loss on as `value=` for
    guards and metrics.

    Args:
      loss_fn: `loss_fn(params, *batch) -> loss`, a real scalar; with `has_aux`,
        `-> (loss, aux)`.
      tx: any transformation.
      has_aux: whether `loss_fn` returns something besides the loss; the step then returns
        `(params, state, loss, aux)`.
      donate: update parameters and state in place.  The arrays passed in are gone afterwards;
        go on with the ones returned.
      axis_name: named axes of an enclosing `shard_map` or `pmap` to average over.

    Returns:
      The step.  It is traced once per shape of its arguments.

    Raises:
      TypeError: `loss_fn` not callable, or `tx` no transformation.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.adam(0.1)
      >>> step = adamx.make_step(lambda w, x, y: jnp.mean((x @ w - y) ** 2), tx)
      >>> x, y = jnp.eye(2), jnp.array([1.0, -1.0])
      >>> w, state = jnp.zeros(2), tx.init(jnp.zeros(2))
      >>> for _ in range(100):
      ...     w, state, loss = step(w, state, x, y)
      >>> bool(loss < 1e-3)
      True
    """
    if not callable(loss_fn):
        raise TypeError(f"make_step: `loss_fn` must be a function, got {loss_fn!r}")
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            f"make_step: `tx` must be an adamx transformation, got {tx!r}; wrap another library's "
            "with `adamx.chain(tx)`"
        )

    def step(params: Params, state: State, *batch: Any) -> tuple[Any, ...]:
        def scaled_loss(params: Params) -> tuple[Any, Any]:
            result = loss_fn(params, *batch)
            loss, aux = result if has_aux else (result, None)
            # A float16 loss times its scale may overflow; the gradient may not.
            return numerics.widen(jnp.asarray(loss)) * scale, (loss, aux)

        scale = loss_scale(state)
        grads, (loss, aux) = jax.grad(scaled_loss, has_aux=True, allow_int=True)(params)
        if axis_name is not None:
            grads, loss = jax.lax.pmean((grads, loss), axis_name)
        params, state = tx.step(grads, state, params, value=loss)
        return (params, state, loss, aux) if has_aux else (params, state, loss)

    return jax.jit(step, donate_argnums=(0, 1) if donate else ())
