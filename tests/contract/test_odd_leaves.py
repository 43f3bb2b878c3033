"""Leaves that are not trained stay as they are and change nothing for the others.

Real trees hold step counters, random keys, empty arrays and frozen layers beside the weights, and
`jax.grad(..., allow_int=True)` returns `float0` for some of them.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

import adamx
from tests.contract.support import tree
from tests.contract.table import Case, cases, every_case


def float0(*shape: int) -> np.ndarray:
    return np.zeros(shape, jax.dtypes.float0)


# A parameter, and what stands in the gradient's place.
ODD = {
    "none": (None, None),
    "zero_size": (jnp.zeros((0, 3)), jnp.zeros((0, 3))),
    "integer": (jnp.arange(2), jnp.ones(2, int)),
    "integer_float0": (jnp.arange(2), float0(2)),
    "integer_none": (jnp.arange(2), None),
    "boolean": (jnp.array([True, False]), float0(2)),
    "random_key": (jax.random.key(0), float0()),
    "frozen_none": (jnp.ones(2), None),
    "frozen_float0": (jnp.ones(2, jnp.complex64), float0(2)),
}


def beside(like: Any, odd: Any) -> Any:
    """The tree with odd leaves inside "w"."""
    return {**like, "w": {"itself": like["w"], **odd}}


def train(tx: Any, params: Any, *gradients: Any) -> Any:
    state = tx.init(params)
    with jax.disable_jit():  # A conditional then runs its branch instead of compiling both.
        for grads in gradients:
            params, state = tx.step(grads, state, params)
    return params, state


@cases("steps of two trees, one by one")
def test_odd_leaves_stay_and_the_others_do_not_notice(case: Case) -> None:
    tx = case.make()
    odd, odd_grads = ({kind: pair[i] for kind, pair in ODD.items()} for i in (0, 1))
    gradients = tree(seed=1), tree(seed=2)
    params, state = train(tx, beside(tree(), odd), *(beside(g, odd_grads) for g in gradients))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(beside(tree(), odd)))
    read = adamx.eval_params(state, params) if case.averages else params
    for kind, leaf in odd.items():
        assert_equal(params["w"][kind], leaf, kind)
        assert_equal(read["w"][kind], leaf, kind)

    expected, _ = train(tx, beside(tree(), {}), *(beside(g, {}) for g in gradients))
    params["w"] = {"itself": params["w"]["itself"]}
    chex.assert_trees_all_equal(params, expected)


def assert_equal(x: Any, y: Any, kind: str) -> None:
    assert x is y or (x.dtype == y.dtype and jnp.array_equal(x, y)), kind


@every_case
def test_empty_tree(case: Case) -> None:
    tx, empty = case.make(), {"b": (), "w": {}}
    assert train(tx, empty, empty, empty)[0] == empty


@cases("steps of two trees, one by one")
def test_python_numbers_are_scalars(case: Case) -> None:
    tx = case.make()
    numbers = [{"b": 0.5, "w": -1.5}, {"b": 0.25, "w": 3.0}, {"b": -1.0, "w": 0.0}]
    arrays = [jax.tree.map(jnp.float32, x) for x in numbers]
    params, state = train(tx, *numbers)
    expected = train(tx, *arrays)
    chex.assert_trees_all_equal((params, state), expected)
    assert {leaf.dtype for leaf in params.values()} == {jnp.dtype("float32")}
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(numbers[0]))
