"""Whatever does not fit is refused by the path of the leaf, and nothing is lost by trying.

A gradient that broadcasts, a stale checkpoint or a forgotten argument would otherwise train on,
wrongly.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import pytest

from tests.contract.support import tree
from tests.contract.table import Case, cases, every_case

# What is wrong with the gradients, the error, and what it must say.
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "missing_leaf": (lambda g: {"b": g["b"]}, ValueError, r"missing .*\['w'\]"),
    "extra_leaf": (lambda g: {**g, "x": g["b"]}, ValueError, r"unexpected .*\['x'\]"),
    "other_container": (lambda g: {**g, "w": [g["w"]]}, ValueError, r"unexpected .*\['w'\]\[0\]"),
    "broadcastable": (lambda g: {**g, "b": g["b"][:, None]}, ValueError, r"\['b'\].*\(3, 1\)"),
    "scalar": (lambda g: {**g, "w": jnp.float32(1)}, ValueError, r"\['w'\].*shape \(\)"),
    "integer": (lambda g: {**g, "b": jnp.ones(3, int)}, TypeError, r"\['b'\].*int32\[3\]"),
    "complex": (lambda g: {**g, "b": g["b"] + 0j}, TypeError, r"\['b'\].*complex64\[3\]"),
}


def refuses(function: Callable[..., Any], *arguments: Any, kinds: Iterable[str] = WRONG) -> None:
    """Every kind of wrong gradients, before `arguments`, is refused with its message."""
    for kind in kinds:
        spoil, error, message = WRONG[kind]
        with pytest.raises(error, match=message):
            jax.eval_shape(function, spoil(tree(seed=1)), *arguments)


@cases("a step for every kind of mismatch")
def test_step_refuses_mismatched_gradients(case: Case) -> None:
    tx, params = case.make(), tree()
    refuses(tx.step, jax.eval_shape(tx.init, params), params)


@cases("an update for every kind of mismatch", checks_updates=True)
def test_update_refuses_mismatched_gradients(case: Case) -> None:
    tx, params = case.make(), tree()
    refuses(tx.update, jax.eval_shape(tx.init, params), params)


@cases(
    "an update for every kind of mismatch", checks_updates=True, needs_params=False, stateful=True
)
def test_moments_alone_refuse_mismatched_gradients(case: Case) -> None:
    tx = case.make()
    of_complex = jax.eval_shape(tx.init, tree("complex64"))
    # A state of magnitudes only is the same for real and for complex parameters.
    knows_complex = any(map(jnp.iscomplexobj, jax.tree.leaves(of_complex)))
    kinds = [kind for kind in WRONG if knows_complex or kind != "complex"]
    refuses(tx.update, jax.eval_shape(tx.init, tree()), kinds=kinds)


@cases("a step before and after")
def test_a_refused_step_leaves_everything_as_it_was(case: Case) -> None:
    tx, params = case.make(), tree()
    state = tx.init(params)
    with pytest.raises(ValueError, match="shape"):
        tx.step({**tree(seed=1), "w": jnp.ones((1, 2, 2))}, state, params)
    chex.assert_trees_all_equal((state, params), (tx.init(params), tree()))


@cases(checks_updates=True)
def test_parameters_of_another_shape_are_refused(case: Case) -> None:
    tx, grads = case.make(), tree(seed=1)
    with pytest.raises(ValueError, match=r"\['b'\] has shape"):
        tx.update(grads, tx.init(tree()), {**tree(), "b": jnp.ones((1, 3))})


@cases(stateful=True)
def test_the_state_of_another_transformation_is_refused(case: Case) -> None:
    tx, params = case.make(), tree()
    for state in (None, {}, (), ("not", "its own"), params, [tx.init(params)]):
        with pytest.raises(TypeError, match=r"state must be the .* that `init` returned, got"):
            tx.update(params, state, params)


@cases(needs_params=True)
def test_missing_parameters_are_asked_for(case: Case) -> None:
    tx = case.make()
    with pytest.raises(ValueError, match=r"call `tx.update\(grads, state, params\)`"):
        tx.update(tree(seed=1), tx.init(tree()))


@cases("an update with and without", needs_params=False)
def test_parameters_may_be_left_out(case: Case) -> None:
    """Updates then keep the gradients' dtype, which is the parameters' here."""
    tx, params, grads = case.make(), tree(), tree(seed=1)
    state = tx.init(params)
    chex.assert_trees_all_equal(tx.update(grads, state), tx.update(grads, state, params))


# What a step writes and never reads.
WRITTEN_ONLY = ("found_nan", "recorded", "scheduled")


@cases(stateful=True)
def test_no_number_of_the_state_broadcasts(case: Case) -> None:
    """A count of shape (3,) would be a bias correction for every element of a bias."""
    tx, params = case.make(), tree()
    state = jax.eval_shape(tx.init, params)
    flat, structure = jax.tree_util.tree_flatten_with_path(state)
    leaves = [leaf for _, leaf in flat]
    for i, (path, leaf) in enumerate(flat):
        name = jax.tree_util.keystr(path)
        if leaf.shape or any(word in name for word in WRITTEN_ONLY):
            continue
        several = jax.ShapeDtypeStruct((3,), leaf.dtype)
        bad = structure.unflatten([*leaves[:i], several, *leaves[i + 1 :]])
        with pytest.raises((TypeError, ValueError), match=r"shape \(|scalar|its mode"):
            jax.eval_shape(tx.update, params, bad, params)


@cases(stateful=True)
def test_no_count_is_negative(case: Case) -> None:
    tx, params = case.make(), tree()
    leaves, structure = jax.tree.flatten(tx.init(params))
    counts = [i for i, x in enumerate(leaves) if x.shape == () and x.dtype == jnp.int32]
    for i in counts[:1]:
        negative = jnp.asarray(-1, jnp.int32)
        bad = structure.unflatten([*leaves[:i], negative, *leaves[i + 1 :]])
        with pytest.raises(ValueError, match=r"of the state counts .*, got -1"):
            tx.update(params, bad, params)


class Model(NamedTuple):
    """What an equinox model is: arrays, and functions beside them."""

    b: Any
    w: Any
    activation: Any = jax.nn.relu


# Those that take another library's transformation as it is.
FOREIGN = ("chain-foreign",)


@every_case
def test_functions_among_the_parameters_are_named(case: Case) -> None:
    """Both calls end in an error that says where, or do without asking about the leaf."""
    tx, model, arrays = case.make(), Model(**tree()), Model(**tree(), activation=None)
    if not case.any_container or case.id in FOREIGN:
        return
    message = r"at \.activation, expected arrays, got relu .*eqx\.filter\(model"
    refused: list[Exception] = []
    state = tx.init(arrays)
    for call, given in (
        (tx.init, (model,)),
        (tx.update, (model, state, model)),
        (tx.step, (model, state, model)),
    ):
        try:
            call(*given)
        except (TypeError, ValueError) as error:
            refused.append(error)
    # A state that was made without it has another structure.
    wrong = [str(e) for e in refused if "activation" not in str(e) or isinstance(e, TypeError)]
    assert all(re.search(message, text) for text in wrong), wrong
