"""`init` and `update` are optax's pair, `step` is the two together, and `jit` changes nothing.

Training loops written for optax unpack the pair, and users move between `update` and `step`.
"""

import chex
import jax

import adamx
from tests.contract.support import step, tree
from tests.contract.table import Case, every_case


@every_case
def test_unpacks_into_the_pair(case: Case) -> None:
    tx = case.make()
    init, update = tx
    assert (len(tx), tx[0], tx[1]) == (2, init, update)
    assert (init, update) == (tx.init, tx.update)
    params, grads = tree(), tree(seed=1)
    chex.assert_trees_all_equal(init(params), tx.init(params))
    state = tx.init(params)
    chex.assert_trees_all_equal(update(grads, state, params), tx.update(grads, state, params))


@every_case
def test_step_is_update_and_apply(case: Case) -> None:
    tx, params, grads = case.make(), tree(), tree(seed=1)
    state = tx.init(params)
    updates, after = tx.update(grads, state, params)
    expected = adamx.apply_updates(params, updates), after
    chex.assert_trees_all_equal(tx.step(grads, state, params), expected)


@every_case
def test_compiled_step_equals_the_eager_one(case: Case) -> None:
    tx, params = case.make(), tree()
    eager = compiled = params, tx.init(params)
    for seed in (1, 2):
        grads = tree(seed=seed)
        eager = tx.step(grads, eager[1], eager[0])
        compiled = step(case)(grads, compiled[1], compiled[0])
    chex.assert_trees_all_close(eager, compiled, rtol=1e-5, atol=1e-7)


@every_case
def test_init_needs_only_shapes_and_dtypes(case: Case) -> None:
    tx, params = case.make(), tree()
    types = jax.eval_shape(lambda: params)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(tx.init, types), tx.init(params))


@every_case
def test_ignores_arguments_meant_for_others(case: Case) -> None:
    """`update(..., value=loss)` reaches every link of a chain, though few want it."""
    tx, params = case.make(), tree()
    state = tx.init(params)
    chex.assert_trees_all_equal(
        tx.update(params, state, params, value=1.0), tx.update(params, state, params)
    )
