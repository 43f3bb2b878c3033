"""`to_optax(tx)` is optax's own pair: for `isinstance`, extra arguments, look-ups by class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx.interop import keras, torch
from adamx.interop.optax import to_optax

PARAMS = {"b": jnp.ones(3), "w": jnp.full((2, 2), 2.0)}
both_classes = pytest.mark.parametrize("optax_states", [False, True])
MASK, LABELS = {"b": True, "w": True}, {"b": "x", "w": "y"}
# Everything in optax that wraps a transformation.
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda tx: tx,
    "chain": lambda tx: optax.chain(optax.clip(10.0), tx),
    "named_chain": lambda tx: optax.named_chain(("clip", optax.clip(10.0)), ("tx", tx)),
    "masked": lambda tx: optax.masked(tx, MASK),
    "multi_transform": lambda tx: optax.multi_transform({"x": tx, "y": tx}, LABELS),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 5),
    "lookahead_free": lambda tx: optax.with_extra_args_support(tx),
    "nested": lambda tx: optax.chain(optax.masked(optax.chain(tx), MASK)),
    "ours": lambda tx: adamx.chain(adamx.clip(10.0), tx),
}


@both_classes
def test_it_is_optax_s_named_tuple(optax_states: bool) -> None:
    for tx in (adamx.adam(0.1), keras.Adam(), torch.AdamW(), adamx.sparse.adam(0.1)):
        pair = to_optax(tx, optax_states=optax_states)
        assert type(pair) is optax.GradientTransformationExtraArgs
        assert isinstance(pair, optax.GradientTransformation)
        assert len(pair) == 2
        assert pair[0] is pair.init
        assert pair[1] is pair.update


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_extra_arguments_arrive_inside_of_optax_s_wrappers(wrapper: str) -> None:
    """A guard that is told of a loss that is not finite holds the step back."""
    tx = WRAPPERS[wrapper](to_optax(adamx.apply_if_finite(adamx.scale(-1.0))))
    state = tx.init(PARAMS)
    for value, moves in ((jnp.nan, False), (1.0, True)):
        updates, state = tx.update(PARAMS, state, PARAMS, value=jnp.asarray(value))
        assert all(bool((u != 0).any()) == moves for u in jax.tree.leaves(updates))


STATES: dict[str, tuple[Any, tuple[type, ...]]] = {
    "adam": (adamx.adam(0.1), (optax.ScaleByAdamState, optax.EmptyState)),
    "scheduled": (
        adamx.adamw(adamx.linear_schedule(0.1, 0.0, 9)),
        (optax.ScaleByAdamState, optax.EmptyState, optax.ScaleByScheduleState),
    ),
    "amsgrad": (adamx.amsgrad(0.1), (optax.ScaleByAmsgradState,)),
    "rms": (adamx.chain(adamx.scale_by_rms(), adamx.trace(0.9)), (optax.TraceState,)),
    "masked": (adamx.masked(adamx.adam(0.1), MASK), (optax.MaskedState, optax.ScaleByAdamState)),
    "groups": (
        adamx.multi_transform({"x": adamx.adam(0.1), "y": adamx.adamw(0.2)}, LABELS),
        (optax.ScaleByAdamState,),
    ),
    "accumulated": (adamx.multi_steps(adamx.adam(0.1), 2), (optax.ScaleByAdamState,)),
    "named": (adamx.named_chain(("a", adamx.scale_by_adam())), (optax.ScaleByAdamState,)),
    "average": (
        adamx.chain(adamx.adam(0.1), adamx.ema_params(0.9)),
        (optax.ScaleByAdamState,),
    ),
}


@pytest.mark.parametrize("recipe", STATES)
def test_states_are_found_by_optax_s_classes(recipe: str) -> None:
    """And the steps are those of `tx`, bit by bit, in a loop that is compiled once."""
    tx, classes = STATES[recipe]
    pair = to_optax(tx, optax_states=True)

    def run(tx: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            params, state = carry
            updates, state = tx.update(jax.tree.map(jnp.sin, params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), length=4)[0]

    theirs, ours = jax.jit(lambda: (run(pair), run(tx)))()
    assert all(map(np.array_equal, *map(jax.tree.leaves, (theirs, ours))))
    for cls in classes:
        found = jax.tree.leaves(theirs[1], is_leaf=lambda x, c=cls: isinstance(x, c))
        assert any(isinstance(x, cls) for x in found)
    if recipe == "average":
        assert adamx.eval_params(theirs[1], theirs[0]).keys() == PARAMS.keys()


def test_the_functions_are_made_once() -> None:
    """So `jax.jit(pair.update)` in a loop compiles once, as with optax's."""
    pair = to_optax(adamx.adam(0.1))
    assert pair.update is pair.update
    traces = []

    def counted(*arguments: Any) -> Any:
        traces.append(None)
        return pair.update(*arguments)

    step, state = jax.jit(counted), pair.init(PARAMS)
    for _ in range(3):
        _, state = step(PARAMS, state, PARAMS)
    assert len(traces) == 1


@pytest.mark.parametrize(
    "tx",
    [
        adamx.chain(adamx.clip_spikes(3.0), adamx.adam(0.1)),
        adamx.masked(adamx.clip_spikes(3.0, report=True), {"b": True, "w": False}),
        adamx.skip_spikes(adamx.multi_steps(adamx.adam(0.1), 2)),
    ],
    ids=["no report", "masked", "nested"],
)
def test_states_with_states_in_their_fields_go_around(tx: Any) -> None:
    """`EmptyState` in a field of ours becomes optax's, too, and the state moves to that form."""
    pair = to_optax(tx, optax_states=True)
    state = pair.init(PARAMS)
    _, after = pair.update(PARAMS, state, PARAMS)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert jax.tree.structure(to_optax(tx, tx.init(PARAMS), state)) == jax.tree.structure(state)


@pytest.mark.parametrize(
    "wrong", [optax.adam(0.1), adamx.adam, None, "adam"], ids=["optax", "factory", "None", "name"]
)
def test_only_transformations_of_ours_become_a_pair(wrong: Any) -> None:
    with pytest.raises(TypeError, match="`tx` must be a transformation of adamx"):
        to_optax(wrong)


def test_arguments_are_checked() -> None:
    tx = adamx.adam(0.1)
    with pytest.raises(TypeError, match="`optax_states` must be True or False, got 'False'"):
        to_optax(tx, optax_states="False")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="`state` and `template` go together"):
        to_optax(tx, tx.init(PARAMS))  # type: ignore[call-overload]


NAMES = [name for name in adamx.__all__ if name.endswith("State")]


@pytest.mark.parametrize("name", NAMES)
def test_states_have_optaxs_fields(name: str) -> None:
    """Those that differ, and those of another name, are in the departures."""
    theirs = [getattr(library, name, None) for library in (optax, optax.transforms, optax.contrib)]
    found = {cls._fields for cls in theirs if cls is not None}
    listed = (Path(__file__).parents[2] / "docs" / "departures.md").read_text()
    if found and found != {getattr(adamx, name)._fields}:
        assert name in listed


def test_optaxs_names_of_a_guards_counters() -> None:
    tx, theirs = adamx.apply_if_finite(adamx.adam(0.1)), optax.apply_if_finite(optax.adam(0.1), 9)
    state, wanted = tx.init(PARAMS), theirs.init(PARAMS)
    for factor in (1.0, np.nan, np.nan, 1.0, np.nan):
        grads = jax.tree.map(lambda p, factor=factor: factor * p, PARAMS)
        _, state = tx.update(grads, state, PARAMS)
        _, wanted = theirs.update(grads, wanted, PARAMS)
        for field in ("notfinite_count", "last_finite", "total_notfinite"):
            assert getattr(state, field) == getattr(wanted, field), field
