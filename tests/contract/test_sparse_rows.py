"""`SparseRows` are a dense array written shorter: every transformation gives the same result.

A link that took them for two leaves, counted duplicates twice in a norm or wrapped -1 around to
the last row would train, and wrongly.
"""

from typing import Any

import jax
import numpy as np

import adamx
from adamx import SparseRows
from tests.contract.support import PARAMS, dense, sparse
from tests.contract.table import Case, cases, every_case


def assert_close(got: Any, wanted: Any) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(np.float64(x), np.float64(y), rtol=2e-6, atol=1e-7)


@cases("compiles both", rows_as_dense=True)
def test_update_and_step_are_those_of_the_dense_array(case: Case) -> None:
    tx = case.make()
    states = {kind: tx.init(PARAMS) for kind in ("update", "step", "dense")}
    params = PARAMS
    with jax.disable_jit():  # A conditional then runs its branch instead of compiling both.
        for seed in (1, 2):
            grads = sparse(seed)
            wanted, states["dense"] = tx.update(dense(grads), states["dense"], params)
            updates, states["update"] = tx.update(grads, states["update"], params)
            stepped, states["step"] = tx.step(grads, states["step"], params)
            params = adamx.apply_updates(params, wanted)
            assert_close(dense(updates), wanted)
            assert_close(adamx.apply_updates(params, updates), adamx.apply_updates(params, wanted))
            assert_close(stepped, params)
            assert_close(states["update"], states["dense"])
            assert_close(states["step"], states["dense"])


@every_case
def test_rows_stay_rows_where_zeros_stay_zeros(case: Case) -> None:
    tx = case.make()
    updates, _ = jax.eval_shape(tx.update, sparse(1), tx.init(PARAMS), PARAMS)
    assert isinstance(updates["w"], SparseRows) is case.keeps_rows


@every_case
def test_the_state_keeps_its_form(case: Case) -> None:
    """So that a step can be the body of a loop."""
    tx = case.make()
    state = jax.eval_shape(tx.init, PARAMS)
    _, after = jax.eval_shape(tx.step, sparse(1), state, PARAMS)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
