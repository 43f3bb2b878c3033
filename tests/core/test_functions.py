"""Functions of the user's: one that takes other arguments, or returns nothing, is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adamx
from adamx.interop import keras
from adamx.interop.optax import to_optax

PARAMS = {"b": jnp.ones(3), "w": jnp.ones((2, 2))}
# How a function gets in, and what a message says that it must be.
MADE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "stateless": (adamx.stateless, r"stateless: `f` must be a function \(updates, params\)"),
    "stateless_with_tree_map": (
        adamx.stateless_with_tree_map,
        r"stateless_with_tree_map: `f` must be a function \(update, param\)",
    ),
    "aggregate": (lambda f: adamx.aggregate(f, "device"), "aggregate: `f` must be a function"),
    "freeze": (adamx.freeze, "freeze: `mask` must be a tree of booleans, or a function"),
    "masked": (lambda f: adamx.masked(adamx.adam(0.1), f), "masked: `mask` must be a tree"),
    "adamw": (
        lambda f: adamx.adamw(0.1, mask=f),
        "add_decayed_weights: `mask` must be a tree of booleans, or a function",
    ),
    "multi_transform": (
        lambda f: adamx.multi_transform({"a": adamx.adam(0.1)}, f),
        "multi_transform: `param_labels` must be a tree of labels, or a function",
    ),
    "conditionally_mask": (
        lambda f: adamx.conditionally_mask(adamx.adam(0.1), f),
        r"conditionally_mask: `should_transform_fn` must be a function \(step\)",
    ),
    "conditionally_transform": (
        lambda f: adamx.conditionally_transform(adamx.adam(0.1), f),
        r"conditionally_transform: `should_transform_fn` must be a function \(step\)",
    ),
    "schedule": (lambda f: adamx.scale_by_schedule(f), "`step_size_fn` must be|must be a real"),
    "keras": (
        lambda f: keras.Adam(gradient_transformers=[f]),
        "`functions` must be functions of a list of",
    ),
}


def of_five(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    return a


def of_none_that_are_named(*, name: Any) -> Any:
    return name


def nothing(*arguments: Any) -> None:
    return None


@pytest.mark.parametrize("function", [of_five, of_none_that_are_named, nothing])
@pytest.mark.parametrize("name", MADE)
def test_the_function_and_its_place_are_named(name: str, function: Any) -> None:
    make, message = MADE[name]

    def step(params: Any) -> Any:
        tx = make(function)
        return tx.update(params, tx.init(params), params)

    several = jax.tree.map(lambda x: jnp.stack([x] * 2), PARAMS)
    with pytest.raises(TypeError, match=message) as caught:
        jax.vmap(step, axis_name="device")(several)
    assert function.__name__ in str(caught.value)


def wants_value(step: Any, *, value: Any) -> Any:
    return value > 0.0


def times_value(updates: Any, state: Any, params: Any = None, *, value: Any, **_: Any) -> Any:
    return updates, state


NEEDY: dict[str, Any] = {
    "conditionally_mask": adamx.conditionally_mask(
        adamx.adam(0.1), wants_value, forward_extra_args=True
    ),
    "conditionally_transform": adamx.conditionally_transform(
        adamx.adam(0.1), wants_value, forward_extra_args=True
    ),
    "record_metrics": adamx.record_metrics(adamx.adam(0.1), "value"),
    "foreign": adamx.chain(
        optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), times_value)
    ),
}


@pytest.mark.parametrize("name", NEEDY)
def test_an_extra_argument_that_optax_dropped_is_asked_for(name: str) -> None:
    tx = optax.chain(NEEDY[name])
    state = tx.init(PARAMS)
    with pytest.raises((TypeError, ValueError), match=r"`adamx.interop.optax.to_optax") as caught:
        tx.update(PARAMS, state, PARAMS, value=1.0)
    assert "value" in str(caught.value)
    pair = optax.chain(to_optax(NEEDY[name]))
    pair.update(PARAMS, pair.init(PARAMS), PARAMS, value=1.0)


def test_an_error_inside_a_function_says_whose_it_is() -> None:
    with pytest.raises(KeyError) as caught:
        adamx.masked(adamx.adam(0.1), lambda params: params["nothing"]).init(PARAMS)
    assert caught.value.__notes__ == ["raised by `mask` of masked"]
