"""The weights of an optimizer, in Keras's order and under its names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, tree
from adamx.core.hyperparameter import Schedule
from adamx.interop.keras.optimizer import (
    KerasOptimizer,
    KerasOptimizerState,
    check_optimizer,
    parts_of,
    states_of,
    with_states,
)
from adamx.interop.keras.presets import PRESETS
from adamx.interop.keras.rates import decomposed
from adamx.interop.leaves import NONNEGATIVE, fit

_NAMES = {name: field for rules in PRESETS.values() for name, field in rules.slot_names.items()}


class Weight(NamedTuple):
    """One weight: which leaf of which field of which link's state."""

    part: str
    field: str
    leaf: int


_ITERATIONS = Weight("", "count", 0)
_LEARNING_RATE = Weight("learning_rate", "learning_rate", 0)
_PRODUCT = Weight("core", "mu_product", 0)


def _leaves(part: str, field: str, states: Any) -> list[Weight]:
    leaves = tree.flatten(getattr(states[part].state, field))[0]
    return [Weight(part, field, i) for i, leaf in enumerate(leaves) if leaf is not None]


def _order(tx: KerasOptimizer, state: KerasOptimizerState) -> Iterator[Weight]:
    """All weights as Keras creates them."""
    parts, rules = parts_of(tx, state), tx.rules
    product = rules.nadam_product if hasattr(parts["core"].state, "mu_product") else "absent"
    yield _ITERATIONS
    if product == "before":
        yield _PRODUCT
    rate, _ = decomposed(parts["learning_rate"].link.learning_rate)
    if rules.rate_is_weight and not isinstance(rate, Schedule):
        yield _LEARNING_RATE
    if "ema" in parts:
        yield from _leaves("ema", "ema", parts)
    if "accumulate" in parts:
        yield from _leaves("accumulate", "acc_grads", parts)
    mu, nu = _leaves("core", "mu", parts), _leaves("core", "nu", parts)
    if rules.interleaved:
        for pair in zip(mu, nu, strict=True):
            yield from pair
    else:
        yield from (*mu, *nu)
    if hasattr(parts["core"].state, "nu_max"):
        yield from _leaves("core", "nu_max", parts)
    if product == "behind":
        yield _PRODUCT


def _learning_rate(tx: KerasOptimizer) -> Any:
    return decomposed(parts_of(tx)["learning_rate"].link.learning_rate)[0]


def _check_state(owner: str, state: Any) -> KerasOptimizerState:
    checks.check_state(owner, state, KerasOptimizerState)
    checked: KerasOptimizerState = state
    return checked


def variables(tx: KerasOptimizer, state: KerasOptimizerState) -> list[chex.Array]:
    """All arrays of the state, in the order of `variables` (or `weights`) in Keras.

        keras        iterations, learning rate*, averages, accumulators, m and v per variable, v_max
        tensorflow   iterations, averages, m and v per variable, v_max
        legacy       iterations, all m, all v, all v_max

    Of Nadam also the product of the momenta, in Keras at the end, in legacy after the iterations.
    A `LossScaleOptimizer` has a count and a rate that it does not use, its good steps and its scale
    in front.

    (*) where it is a number.  The variables are the leaves of the parameters in JAX's order.

    Args:
      tx: an optimizer made here.
      state: its state.

    Raises:
      TypeError: another optimizer, or another one's state.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx = keras.Adam(0.1)
      >>> [x.shape for x in keras.variables(tx, tx.init([jnp.ones((2, 3)), jnp.ones(4)]))]
      [(), (), (2, 3), (2, 3), (4,), (4,)]
    """
    parts = parts_of(check_optimizer("variables", tx), _check_state("variables", state))
    found = []
    if "dynamic_scale" in parts:
        scale, good_steps = _loss_scale("variables", tx, parts)
        found += [jnp.zeros((), jnp.int32), jnp.zeros(()), good_steps, scale]
    for weight in _order(tx, state):
        if weight == _ITERATIONS:
            found.append(state.count)
        elif weight == _LEARNING_RATE:
            found.append(jnp.asarray(_learning_rate(tx), float))
        else:
            field = getattr(parts[weight.part].state, weight.field)
            found.append(tree.flatten(field)[0][weight.leaf])
    return found


def get_weights(tx: KerasOptimizer, state: KerasOptimizerState) -> list[np.ndarray]:
    """The weights as NumPy arrays, for `optimizer.set_weights` of Keras.

    Args:
      tx: an optimizer made here.
      state: its state.

    Returns:
      What `variables` lists, copied to the host.

    Raises:
      TypeError: as `variables`.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx = keras.Adam(0.5)
      >>> keras.get_weights(tx, tx.init(jnp.zeros(2)))[1:3]
      [array(0.5, dtype=float32), array([0., 0.], dtype=float32)]
    """
    return [np.asarray(x) for x in variables(tx, state)]


def set_weights(
    tx: KerasOptimizer, state: KerasOptimizerState, weights: Sequence[Any]
) -> KerasOptimizerState:
    """The state with these weights: a run of Keras goes on here.

    Args:
      tx: an optimizer made here, with the arguments that the one of Keras had.
      state: a state for the same parameters, such as `tx.init(params)`; it gives the shapes,
        dtypes and placement.
      weights: arrays, or the `variables` of a live optimizer of Keras, in the order of `variables`;
        also those of TF 1.x, which have a place for v_max without `amsgrad`.

    Returns:
      A new state; the counts of all links follow the iterations.

    Raises:
      ValueError: another number of weights, another shape (both are named), a negative count or
        second moment, or a learning rate that is not the one of `tx`.
      TypeError: another kind of dtype; another optimizer.

    Example:
      >>> import jax.numpy as jnp, numpy as np
      >>> from adamx.interop import keras
      >>> tx = keras.Adam(preset="legacy")
      >>> state = keras.set_weights(tx, tx.init(jnp.zeros(1)), [7, np.ones(1), np.ones(1)])
      >>> print(keras.iterations(state))
      7
    """
    owner = "set_weights"
    parts = parts_of(check_optimizer(owner, tx), _check_state(owner, state))
    if not isinstance(weights, (list, tuple)):
        raise TypeError(
            f"{owner}: `weights` must be a list of arrays, got {type(weights).__name__}"
        )
    order = list(_order(tx, state))
    new: dict[str, Any] = {}
    if "dynamic_scale" in parts and len(weights) > 4:
        old, (good_steps, scale) = _loss_scale(owner, tx, parts), weights[2:4]
        scale = fit(owner, "weight 3 (scale)", scale, old.scale, nonnegative=True)
        good_steps = fit(owner, "weight 2 (good_steps)", good_steps, old.good_steps)
        statistics = old._replace(scale=scale, good_steps=good_steps)
        new["dynamic_scale"] = parts["dynamic_scale"].state._replace(statistics=statistics)
        weights = weights[4:]
    trained = len(_leaves("core", "mu", parts))
    if tx.preset == "legacy" and (len(order), len(weights)) == (1 + 2 * trained, 1 + 3 * trained):
        # TF 1.x kept a place for v_max without `amsgrad`, too.
        weights = weights[: len(order)]
    if len(weights) != len(order):
        raise ValueError(
            f"{owner}: {tx.name} has {len(order)} weights, got {len(weights)}; build both "
            "optimizers with the same arguments and for the same variables"
        )
    fields: dict[tuple[str, str], list[Any]] = {}
    count = state.count
    for position, (weight, given) in enumerate(zip(order, weights, strict=True)):
        what = f"weight {position} ({weight.field})"
        array = given if isinstance(given, jax.Array) else np.asarray(given)
        if weight == _ITERATIONS:
            count = fit(owner, what, array, state.count)
        elif weight == _LEARNING_RATE:
            _check_rate(owner, what, array, _learning_rate(tx))
        else:
            key = (weight.part, weight.field)
            old = fields.setdefault(
                key, tree.flatten(getattr(parts[weight.part].state, weight.field))[0]
            )
            like, nonnegative = old[weight.leaf], weight.field in NONNEGATIVE
            old[weight.leaf] = fit(owner, what, array, like, nonnegative)
    for (name, field), leaves in fields.items():
        own = new[name] if name in new else parts[name].state
        structure = tree.flatten(getattr(own, field))[1]
        new[name] = own._replace(**{field: structure.unflatten(leaves)})
    core: Any = new.get("core", parts["core"].state)
    if hasattr(core, "mu_product") and _PRODUCT not in order:
        new["core"] = core._replace(mu_product=_product(owner, tx, count, core.mu_product))
    return _with_count(tx, with_states(state, new), count)


def _loss_scale(owner: str, tx: KerasOptimizer, parts: dict[str, Any]) -> Any:
    """The scale and the good steps of a `LossScaleOptimizer`."""
    if tx.preset != "keras":
        raise ValueError(
            f"{owner}: the weights of a `LossScaleOptimizer` are known for preset='keras', not "
            f"{tx.preset!r}; move those of the optimizer inside"
        )
    return parts["dynamic_scale"].state.statistics


def _product(owner: str, tx: KerasOptimizer, count: Any, like: Any) -> Any:
    """Nadam's product of momenta after `count` steps, which TensorFlow does not store."""
    core: Any = parts_of(tx)["core"].link
    if isinstance(core.b1, Schedule):
        raise ValueError(
            f"{owner}: TensorFlow does not store Nadam's product of momenta, and with a schedule "
            "of beta_1 it cannot be computed from the iterations"
        )
    steps = np.arange(1, int(count) + 1, dtype=np.float64)
    product = np.prod(float(core.b1) * (1.0 - 0.5 * 0.96 ** (steps * float(core.momentum_decay))))
    return fit(owner, "the product of momenta", product, like)


def _check_rate(owner: str, what: str, given: Any, own: Any) -> None:
    if np.shape(given) != ():
        raise ValueError(f"{owner}: {what} has shape {np.shape(given)}, expected a number")
    if np.float32(given) != np.float32(own):
        raise ValueError(
            f"{owner}: {what} is {float(given)}, but the optimizer's is {float(own)}; write "
            f"`tx = keras.set_learning_rate(tx, {float(given)})` first"
        )


def _with_count(tx: KerasOptimizer, state: KerasOptimizerState, count: Any) -> KerasOptimizerState:
    """The state after `count` calls, in all of its parts."""
    parts = parts_of(tx, state)
    accumulate = parts.get("accumulate")
    every: Any = 1 if accumulate is None else accumulate.link.every_k_schedule
    new = {}
    for name, part in parts.items():
        known = getattr(type(part.state), "_fields", ())
        own = count // every if part.accumulated else count
        counters = {
            "count": own,
            "gradient_step": count // every,
            "mini_step": count % every,
        }
        # Copies: a state is donated, and no two counts may share a buffer.
        changes = {
            field: jnp.array(x, jnp.int32, copy=True)
            for field, x in counters.items()
            if field in known
        }
        if changes:
            new[name] = part.state._replace(**changes)
    return with_states(state._replace(count=count), new)


def iterations(state: KerasOptimizerState) -> chex.Array:
    """How many steps were taken: Keras's `iterations`.

    With `gradient_accumulation_steps`, those with accumulated gradients; `state.count` then is the
    number of gradients seen.

    Args:
      state: the state of an optimizer made here.

    Raises:
      TypeError: another one's state.

    Example:
      >>> from adamx.interop import keras
      >>> print(keras.iterations(keras.Adam().init(1.0)))
      0
    """
    inner = states_of(_check_state("iterations", state))
    return inner["accumulate"].gradient_step if "accumulate" in inner else state.count


def get_slot_names(state: KerasOptimizerState) -> list[str]:
    """The slots of every variable: "m", "v", with `amsgrad` "vhat", with `use_ema` "average".

    Args:
      state: the state of an optimizer made here.

    Raises:
      TypeError: another one's state.

    Example:
      >>> from adamx.interop import keras
      >>> keras.get_slot_names(keras.Adam(amsgrad=True).init(1.0))
      ['m', 'v', 'vhat']
    """
    states = states_of(_check_state("get_slot_names", state))
    names = [name for name in ("m", "v", "vhat") if hasattr(states["core"], _NAMES[name])]
    return [*names, *(["average"] if "ema" in states else [])]


def get_slot(state: KerasOptimizerState, slot_name: str) -> Any:
    """One slot of all variables.

    Args:
      state: the state of an optimizer made here.
      slot_name: one of `get_slot_names`, or its name in Keras 3: "momentum", "velocity" (of Adamax:
        "norm"), "velocity_hat".

    Returns:
      A pytree like the parameters.

    Raises:
      ValueError: no such slot.
      TypeError: another one's state.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> keras.get_slot(keras.Adam().init({"w": jnp.ones(2)}), "m")["w"]
      Array([0., 0.], dtype=float32)
    """
    names = get_slot_names(state)
    states = states_of(state)
    if slot_name == "average" and slot_name in names:
        return states["ema"].ema
    core, field = states["core"], _NAMES.get(str(slot_name))
    if field is None or not hasattr(core, field):
        raise ValueError(f"get_slot: no slot {slot_name!r}; there are {', '.join(names)}")
    return getattr(core, field)
