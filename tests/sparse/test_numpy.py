"""Ids, tables and states may be NumPy arrays, which is what a restored checkpoint is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.selection import one_in

IDS = [1, 3, 3, 200]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
TABLE = np.ones((5, 2), np.float32)
MODES = ("dense", "lazy", "exact", "rowwise", "counted")
ADAM = {mode: adamx.sparse.adam(0.1, mode) for mode in MODES}
TRANSFORMATIONS = {
    **ADAM,
    "amsgrad": adamx.sparse.amsgrad(0.1, "exact"),
    "average": adamx.sparse.ema_params(ADAM["lazy"], 0.5),
    "exact_average": adamx.sparse.ema_params(ADAM["exact"], 0.5),
    "multi_steps": adamx.multi_steps(adamx.adam(0.1), 2),
    "guard": adamx.apply_if_finite(ADAM["lazy"]),
    "plain": adamx.adamw(0.1),
    "clipped": adamx.chain(adamx.clip_by_global_norm(1.0), ADAM["lazy"]),
}


def values() -> np.ndarray:
    return np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_ids_of_every_integer_dtype(dtype: str, make: Any) -> None:
    ids = make(np.asarray([i if i < 100 or "8" not in dtype else 100 for i in IDS]).astype(dtype))
    rows = adamx.SparseRows(ids, values(), 5)
    wanted = np.zeros((5, 2))
    wanted[1], wanted[3] = values()[0], values()[1] + values()[2]
    np.testing.assert_array_equal(rows.to_dense(), wanted)
    np.testing.assert_array_equal(rows.coalesce().to_dense(), wanted)


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_table_may_have_more_rows_than_its_ids_can_count(dtype: str, make: Any) -> None:
    rows = adamx.SparseRows(make(np.asarray([1, 100]).astype(dtype)), values()[:2], 300)
    wanted = np.zeros((300, 2))
    wanted[1], wanted[100] = values()[:2]
    np.testing.assert_array_equal(rows.to_dense(), wanted)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_bags_of_every_integer_dtype(dtype: str) -> None:
    """There are more of them than an id of 8 bits can count."""
    bags = np.asarray([0, 1, 1, 2]).astype(dtype)
    ids = np.asarray([0, 1, 2, 4]).astype(dtype)
    grads = np.ones((300, 2), np.float32)
    rows = adamx.SparseRows.from_segments(ids, bags, grads, 5)
    np.testing.assert_array_equal(rows.to_dense()[:, 0], [1, 1, 1, 0, 1])


def test_moments_of_numpy_in_64_bits_are_those_that_jax_makes_of_them() -> None:
    for tx in (adamx.adam(0.1), ADAM["lazy"]):
        wide = jax.tree.map(
            lambda x: np.asarray(x, np.float64) if x.dtype == np.float32 else x, tx.init(TABLE)
        )
        got, expected = (tx.step(TABLE, state, TABLE)[0] for state in (wide, tx.init(TABLE)))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", one_in(2, TRANSFORMATIONS, "one way into a table for each"))
def test_tables_and_states_of_numpy(name: str) -> None:
    """The same as with the arrays of JAX."""
    tx = TRANSFORMATIONS[name]

    def run(convert: Any) -> list[Any]:
        results = []
        params, state = convert(TABLE), convert(tx.init(TABLE))
        for _ in range(2):
            rows = adamx.SparseRows(np.asarray(IDS), values(), 5)
            rows = rows.replace(values=convert(rows.values))
            results.append(tx.update(rows, state, params))
            params, state = map(convert, tx.step(rows, state, params))
        results.append((params, state))
        for read in (adamx.sparse.flush, adamx.eval_params):
            try:
                results.append(read(state, params))
            except ValueError:  # There is nothing of the kind in the state.
                results.append(())
        return results

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        run(lambda tree: jax.tree.map(np.asarray, tree)),
        run(lambda tree: jax.tree.map(jnp.asarray, tree)),
    )
