"""The methods of Keras's optimizers, as functions of the optimizer, its state and the variables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, numerics, tree
from adamx.core.evaluation import eval_params
from adamx.core.readings import read_callables, readings, with_readings
from adamx.core.transformation import Params, State, Updates
from adamx.interop.keras.gradients import Loss, gradients_of
from adamx.interop.keras.links import check_pairs
from adamx.interop.keras.optimizer import (
    KerasOptimizer,
    KerasOptimizerState,
    check_optimizer,
    parts_of,
    states_of,
    with_states,
)
from adamx.interop.keras.weights import get_slot
from adamx.wrappers.loss_scaling import loss_scale


def build(tx: KerasOptimizer, var_list: Params) -> KerasOptimizerState:
    """The state for these variables: `tx.init(var_list)`.

    Args:
      tx: an optimizer made here.
      var_list: the variables, any pytree.

    Raises:
      TypeError: another optimizer.

    Example:
      >>> from adamx.interop import keras
      >>> keras.build(keras.Adam(), [1.0]).count
      Array(0, dtype=int32)
    """
    state: KerasOptimizerState = check_optimizer("build", tx).init(var_list)
    return state


def _traced() -> bool:
    return isinstance(jnp.zeros(()), jax.core.Tracer)


def _take_step(
    tx: KerasOptimizer, values: Sequence[Any], grads: Updates, state: State, params: Params
) -> tuple[Params, State]:
    return (with_readings(tx, values) if values else tx).step(grads, state, params)


_take_compiled_step = jax.jit(_take_step, static_argnums=0)


def _step(
    tx: KerasOptimizer, grads: Updates, state: State, params: Params, name: str | None
) -> tuple[Params, State]:
    """One step, compiled unless the optimizer or a surrounding `jit` says otherwise."""
    if name is not None:
        tx = tx.replace(scope=name)
    if _traced():
        return tx.step(grads, state, params)
    if not tx.jit_compile:
        return read_callables(tx).step(grads, state, params)
    values = readings(read_callables(tx)) if readings(tx) else []
    result: tuple[Params, State] = _take_compiled_step(tx, values, grads, state, params)
    return result


def _check_some(owner: str, grads: Updates) -> None:
    checks.check_depth(f"{owner}: the gradients", grads)
    if not any(map(numerics.is_inexact, tree.flatten(grads)[0])):
        raise ValueError(f"{owner}: no gradients provided for any variable")


def apply_gradients(
    tx: KerasOptimizer,
    grads_and_vars: Iterable[tuple[Any, Any]] | Updates,
    state: KerasOptimizerState,
    params: Params | None = None,
    name: str | None = None,
) -> tuple[Any, KerasOptimizerState]:
    """One step.

    A gradient of None leaves its variable and its slots alone; the iterations advance.

    Args:
      tx: an optimizer made here.
      grads_and_vars: pairs (gradient, variable) in the order of the leaves that the state was made
        for; or, with `params`, a pytree of gradients.
      state: from `build` or the last step.
      params: the variables as a pytree; None if they are in the pairs.
      name: of the operations of this step instead of the optimizer's.

    Returns:
      `(variables, state)`: a list if pairs were given, else a pytree like `params`.

    Raises:
      TypeError: no pairs; another optimizer or another one's state.
      ValueError: no gradients; another number of pairs, or shapes that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx, w = keras.Adam(0.5), jnp.array(2.0)
      >>> (w,), state = keras.apply_gradients(tx, [(jnp.array(3.0), w)], keras.build(tx, [w]))
      >>> print(f"{w:.3f}", keras.iterations(state))
      1.500 1
    """
    owner = "apply_gradients"
    tx = check_optimizer(owner, tx)
    checks.check_state(owner, state, KerasOptimizerState)
    if params is not None:
        _check_some(owner, grads_and_vars)
        return _step(tx, grads_and_vars, state, params, name)
    pairs = check_pairs(owner, grads_and_vars)
    gradients, variables = [g for g, _ in pairs], [v for _, v in pairs]
    _check_some(owner, gradients)
    structure = tree.flatten(get_slot(state, "m"))[1]
    if structure.num_leaves != len(pairs):
        raise ValueError(
            f"{owner}: the state was built for {structure.num_leaves} variables, got "
            f"{len(pairs)} pairs; pass (None, variable) for one without a gradient"
        )
    new, state = _step(
        tx, structure.unflatten(gradients), state, structure.unflatten(variables), name
    )
    return tree.flatten(new)[0], state


def get_updates(
    tx: KerasOptimizer, loss: Loss, state: KerasOptimizerState, params: Params
) -> tuple[Updates, KerasOptimizerState]:
    """The change of the parameters in one step: `tx.update` of the gradient of the loss.

    Args:
      tx: an optimizer made here.
      loss: a function of the parameters.
      state: from `build` or the last step.
      params: any pytree.

    Returns:
      `(updates, state)`; go on with `adamx.apply_updates(params, updates)`.

    Raises:
      ValueError: `loss` is not a function.
      TypeError: another optimizer or another one's state.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx, w = keras.Adam(0.5), jnp.array(3.0)
      >>> print(keras.get_updates(tx, lambda w: w**2, keras.build(tx, w), w)[0].round(3))
      -0.5
    """
    grads = gradients_of("get_updates", loss, params, loss_scale(state))
    updates, state = check_optimizer("get_updates", tx).update(grads, state, params)
    return updates, state


def minimize(
    tx: KerasOptimizer,
    loss: Loss,
    state: KerasOptimizerState,
    params: Params,
    grad_loss: chex.Array | None = None,
    name: str | None = None,
) -> tuple[Params, KerasOptimizerState]:
    """One step down the gradient of a loss: `compute_gradients` and `apply_gradients`.

    With `loss_scale_factor` the loss is multiplied by it.  `adamx.make_step` does the same with
    batches, in one compiled function.

    Args:
      tx: an optimizer made here.
      loss: a function of the parameters (`var_list` in Keras).
      state: from `build` or the last step.
      params: any pytree.
      grad_loss: see `compute_gradients`.
      name: see `apply_gradients`.

    Returns:
      `(params, state)`.

    Raises:
      ValueError: `loss` is not a function; no gradients; `grad_loss` of another shape.
      TypeError: another optimizer or another one's state.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx, var1 = keras.Adam(learning_rate=0.1), jnp.array(10.0)
      >>> var1, state = keras.minimize(tx, lambda v: v**2 / 2.0, keras.build(tx, var1), var1)
      >>> print(var1)
      9.9
    """
    tx = check_optimizer("minimize", tx)
    checks.check_state("minimize", state, KerasOptimizerState)
    scale = loss_scale(state)
    seed = scale if grad_loss is None else grad_loss * scale
    grads = gradients_of("minimize", loss, params, seed)
    _check_some("minimize", grads)
    return _step(tx, grads, state, params, name)


def update_step(
    tx: KerasOptimizer, gradient: chex.Array, state: KerasOptimizerState, variable: chex.Array
) -> tuple[chex.Array, KerasOptimizerState]:
    """The rule alone, for one variable: neither clips nor weight decay nor an average.

    Args:
      tx: an optimizer made here.
      gradient: like the variable.
      state: from `build(tx, variable)` or the last step.
      variable: one array.

    Returns:
      `(variable, state)`.

    Raises:
      ValueError: something else than one array, or another shape.
      TypeError: another optimizer or another one's state.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx, w = keras.Adam(0.5, clipnorm=1e-9), jnp.array(2.0)
      >>> w, state = keras.update_step(tx, jnp.array(4.0), keras.build(tx, w), w)
      >>> print(f"{w:.3f}")
      1.500
    """
    tx = check_optimizer("update_step", tx)
    checks.check_state("update_step", state, KerasOptimizerState)
    tx = tx if _traced() else read_callables(tx)
    if isinstance(variable, (dict, list, tuple)):
        raise ValueError("update_step: takes one variable; `apply_gradients` takes a pytree")
    new, update = {}, gradient
    with jax.named_scope(tx.name):
        for name, part in parts_of(tx, state).items():
            if name in ("core", "trust_ratio", "learning_rate"):
                update, new[name] = part.link.update(update, part.state, variable)
    updated = jnp.asarray(variable + update).astype(jnp.asarray(variable).dtype)
    state = with_states(state, new)
    return updated, state._replace(count=numerics.safe_increment(state.count))


def finalize_variable_values(state: KerasOptimizerState, params: Params) -> Params:
    """The variables after training: their average with `use_ema`, else themselves.

    Args:
      state: of an optimizer made here.
      params: any pytree.

    Raises:
      TypeError: another one's state.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx, w = keras.Adam(0.5, use_ema=True, ema_momentum=0.5), jnp.array(2.0)
      >>> state = keras.build(tx, w)
      >>> for _ in range(2):
      ...     w, state = keras.apply_gradients(tx, jnp.array(4.0), state, w)
      >>> print(w.round(3), keras.finalize_variable_values(state, w).round(3))
      1.0 1.25
    """
    checks.check_state("finalize_variable_values", state, KerasOptimizerState)
    return eval_params(state, params) if "ema" in states_of(state) else params
