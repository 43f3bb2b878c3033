"""Counts are whole and never negative, second moments never negative, wherever a state is from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx.interop import keras
from adamx.interop.optax import from_optax, to_optax

PARAMS = {"b": jnp.ones(3), "w": jnp.ones((2, 2))}
# The same recipe in both libraries, by what its state holds.
RECIPES: dict[str, Callable[[Any], Any]] = {
    "adam": lambda lib: lib.adam(lib.linear_schedule(0.1, 0.0, 9)),
    "amsgrad": lambda lib: lib.amsgrad(0.1),
    "masked": lambda lib: lib.masked(lib.adamax(0.1), {"b": True, "w": False}),
    "multi_steps": lambda lib: (
        lib.multi_steps(lib.adam(0.1), 2)
        if lib is adamx
        else lib.MultiSteps(lib.adam(0.1), 2).gradient_transformation()
    ),
    "apply_if_finite": lambda lib: lib.apply_if_finite(
        lib.adam(0.1), *([] if lib is adamx else [5])
    ),
    "injected": lambda lib: (
        lib.inject_hyperparams(lib.adam(0.1))
        if lib is adamx
        else lib.inject_hyperparams(lib.adam)(0.1)
    ),
}
WHOLE = ("count", "mini_step", "gradient_step", "notfinite_count", "total_notfinite")
BOUNDED = (*WHOLE, "nu", "nu_max")


def places(state: Any, names: tuple[str, ...]) -> list[int]:
    """The positions of the leaves below a field of one of these names."""
    found, _ = jax.tree_util.tree_flatten_with_path(state)
    return [
        i
        for i, (path, _) in enumerate(found)
        if [key.name for key in path if isinstance(key, jax.tree_util.GetAttrKey)][-1] in names
    ]


def changed(state: Any, i: int, change: Callable[[np.ndarray], Any]) -> Any:
    leaves, structure = jax.tree.flatten(state)
    leaves[i] = change(np.array(leaves[i]))
    return structure.unflatten(leaves)


@pytest.mark.parametrize("recipe", RECIPES)
def test_states_of_optax(recipe: str) -> None:
    tx, theirs = (RECIPES[recipe](lib) for lib in (adamx, optax))
    ours, state = tx.init(PARAMS), theirs.init(PARAMS)
    from_optax(tx, state, PARAMS)
    for i in places(state, BOUNDED):
        with pytest.raises(ValueError, match=r"is never negative, got -1"):
            from_optax(tx, changed(state, i, lambda x: x - 1), PARAMS)
    for i in places(state, WHOLE):
        for wrong in (np.float32(1.5), np.str_("5"), True, np.array([1, 2])):
            with pytest.raises((TypeError, ValueError), match="from_optax: "):
                from_optax(tx, changed(state, i, lambda _, wrong=wrong: wrong), PARAMS)
    for i in places(ours, BOUNDED):
        with pytest.raises(ValueError, match=r"to_optax: .* is never negative, got -1"):
            to_optax(tx, changed(ours, i, lambda x: x - 1), state)


KERAS = {
    "Adam": keras.Adam(),
    "amsgrad": keras.Adam(amsgrad=True),
    "legacy": keras.Adam(preset="legacy", amsgrad=True),
    "tensorflow": keras.Adam(preset="tensorflow"),
    "Nadam": keras.Nadam(),
    "Adamax": keras.Adamax(),
    "average": keras.Lamb(use_ema=True),
}


@pytest.mark.parametrize("kind", KERAS)
def test_weights_of_keras(kind: str) -> None:
    tx = KERAS[kind]
    state = tx.init(PARAMS)
    weights = keras.get_weights(tx, state)
    refused = 0
    for i, weight in enumerate(weights):
        wrong = [*weights]
        wrong[i] = weight - weight.dtype.type(2)
        try:
            keras.set_weights(tx, state, wrong)
        except ValueError as error:
            refused += "is never negative, got -" in str(error)
    # The count, and v (and its maximum, the product of Nadam) of two variables.
    assert refused == {"amsgrad": 5, "legacy": 5, "Nadam": 4}.get(kind, 3)
    empty = tx.init({})
    keras.set_weights(tx, empty, keras.get_weights(tx, empty))
    for nothing in (None, 3, {"weights": weights}, "weights"):
        with pytest.raises(TypeError, match="`weights` must be a list of arrays"):
            keras.set_weights(tx, state, nothing)  # type: ignore[arg-type]
    for count in (1.5, "5", True, [1, 2], -1, 2**31):
        with pytest.raises((TypeError, ValueError), match=r"weight 0 \(count\)"):
            keras.set_weights(tx, state, [count, *weights[1:]])
