"""`SparseRows`: what it stands for, and that sums, scales and other forms stand for the same."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse as jax_sparse

import adamx
from adamx import SparseRows

V, D = 10, 3
IDS = np.array([4, 0, 4, -1, 9, 10, 4, 2**31 - 1, -(2**31)])
VALUES = np.arange(len(IDS) * D, dtype=np.float32).reshape(-1, D) - 11.0


def oracle(ids: Any, values: Any, rows: int = V) -> np.ndarray:
    dense = np.zeros((rows, *np.shape(values)[1:]))
    for i, value in zip(ids, np.float64(values), strict=True):
        if 0 <= i < rows:
            dense[i] += value
    return dense


ROWS, DENSE = SparseRows(IDS, VALUES, V), oracle(IDS, VALUES)


def test_dense_form() -> None:
    np.testing.assert_array_equal(ROWS.to_dense(), DENSE)
    assert (ROWS.shape, ROWS.ndim, ROWS.size, ROWS.dtype) == ((V, D), 2, V * D, jnp.float32)


def test_coalesced_form() -> None:
    rows = jax.jit(SparseRows.coalesce)(ROWS)
    np.testing.assert_array_equal(rows.to_dense(), DENSE)
    assert (np.diff(rows.indices) > 0).all()
    assert rows.indices[:3].tolist() == [0, 4, 9]
    assert (rows.indices[3:] >= V).all()
    assert not rows.values[3:].any()
    assert rows.coalesce() is rows


def test_coalescing_keeps_no_more_places_than_there_are_rows() -> None:
    rows = SparseRows(jnp.arange(40) % 5, jnp.ones((40, 2)), 3).coalesce()
    assert rows.indices.tolist() == [0, 1, 2]
    assert (rows.values == 8.0).all()


@pytest.mark.parametrize("values", [VALUES[:, 0], VALUES[:, :, None]], ids=["vector", "cube"])
def test_any_number_of_axes(values: np.ndarray) -> None:
    rows = SparseRows(IDS, values, V)
    for same in (rows, rows.coalesce(), rows + rows * 0.0):
        np.testing.assert_array_equal(same.to_dense(), oracle(IDS, values))


def test_sums_of_half_precision_are_formed_in_single() -> None:
    """4096 + 1 is 4096 in float16: one after the other, the ones would be lost."""
    values = np.array([4096.0] + [1.0] * 4, np.float16)[:, None]
    rows = SparseRows(jnp.zeros(5, int), values, 2)
    assert rows.to_dense()[0] == rows.coalesce().values[0] == 4100.0
    assert rows.to_dense().dtype == rows.coalesce().dtype == jnp.float16
    assert adamx.global_norm(rows) == 4100.0


def test_a_sum_of_rows_keeps_both_lists() -> None:
    total = ROWS + ROWS.coalesce()
    assert len(total.indices) == 2 * len(IDS)
    np.testing.assert_array_equal(total.to_dense(), 2 * DENSE)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_a_sum_with_an_array_is_an_array(array: Any) -> None:
    """On either side, also NumPy's, which would broadcast over unknown objects."""
    other = array(np.ones((V, D), np.float32))
    for total in (ROWS + other, other + ROWS):
        assert isinstance(total, jax.Array)
        np.testing.assert_array_equal(total, DENSE + 1.0)


@pytest.mark.parametrize("factor", [2, 2.0, np.float32(2), jnp.float32(2)], ids=type)
def test_scalar_multiples(factor: Any) -> None:
    for product in (ROWS * factor, factor * ROWS):
        np.testing.assert_array_equal(product.to_dense(), 2 * DENSE)
    assert (ROWS.coalesce() * factor).is_coalesced
    np.testing.assert_array_equal((ROWS / factor).to_dense(), DENSE / 2)
    np.testing.assert_array_equal((-ROWS).to_dense(), -DENSE)


def test_norms_are_those_of_the_dense_array() -> None:
    norm = np.sqrt((DENSE**2).sum() + 9.0)
    tree = {"b": jnp.array([3.0]), "t": ROWS}
    np.testing.assert_allclose(jax.jit(adamx.global_norm)(tree), norm, rtol=1e-6)


def test_concatenation() -> None:
    same = SparseRows.concatenate([ROWS, ROWS * 2.0, ROWS.coalesce()])
    np.testing.assert_array_equal(same.to_dense(), 4 * DENSE)
    with pytest.raises(ValueError, match="at least one part"):
        SparseRows.concatenate([])
    with pytest.raises(ValueError, match=r"\(10, 3\) and \(11, 3\)"):
        SparseRows.concatenate([ROWS, SparseRows(IDS, VALUES, V + 1)])


def test_rows_of_a_dense_array() -> None:
    mask = DENSE.any(axis=1)
    for rows in (
        SparseRows.from_dense(DENSE, mask),
        SparseRows.from_dense(DENSE, mask, size=6),
        jax.jit(lambda x, m: SparseRows.from_dense(x, m, size=6))(DENSE, mask),
    ):
        np.testing.assert_array_equal(rows.to_dense(), DENSE)
        assert (np.diff(rows.indices) > 0).all()


def test_a_row_that_does_not_fit_is_never_left_out_silently() -> None:
    mask = DENSE.any(axis=1)
    with pytest.raises(ValueError, match="3 rows do not fit into size=2"):
        SparseRows.from_dense(DENSE, mask, size=2)
    rows = jax.jit(lambda x, m: SparseRows.from_dense(x, m, size=2))(DENSE, mask)
    assert np.isnan(rows.values).all()
    with pytest.raises(ValueError, match=r"bool\[10\], got bool\[9\]"):
        SparseRows.from_dense(DENSE, mask[1:])


def test_rows_of_a_bcoo() -> None:
    matrix = jax_sparse.BCOO.fromdense(jnp.asarray(DENSE, jnp.float32), n_dense=1, nse=6)
    np.testing.assert_array_equal(SparseRows.from_bcoo(matrix).to_dense(), DENSE)
    with pytest.raises(ValueError, match=r"n_sparse=2.*bcoo_update_layout"):
        SparseRows.from_bcoo(jax_sparse.BCOO.fromdense(jnp.eye(3)))


@pytest.mark.parametrize("mean", [False, True], ids=["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_pooled_bags_have_the_gradient_that_jax_finds(mean: bool, weighted: bool) -> None:
    """Bags of several sizes, one of them empty, one of padding only."""
    ids = np.array([3, 1, 3, -1, 0, 7, 3, -1])
    bags = np.array([0, 0, 1, 1, 3, 3, 3, 4])
    weights = np.array([0.5, 2.0, 1.0, 9.0, 3.0, 0.25, 1.0, 1.0], np.float32)
    w = np.where(ids >= 0, weights if weighted else 1.0, 0.0)
    target = np.random.default_rng(0).normal(size=(5, D)).astype(np.float32)

    def loss(table: jax.Array) -> jax.Array:
        pooled = jax.ops.segment_sum(w[:, None] * table[np.maximum(ids, 0)], bags, 5)
        if mean:
            total = jax.ops.segment_sum(w, bags, 5)[:, None]
            pooled = jnp.where(total > 0, pooled / jnp.where(total > 0, total, 1.0), 0.0)
        return jnp.sum(pooled * target)

    rows = SparseRows.from_segments(
        ids, bags, target, V, weights=weights if weighted else None, mean=mean
    )
    wanted = jax.grad(loss)(jnp.zeros((V, D)))
    np.testing.assert_allclose(rows.to_dense(), wanted, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match=r"one shape \(n,\), got \(8,\), \(7,\)"):
        SparseRows.from_segments(ids, bags[1:], target, V)


def test_it_is_a_pytree_of_two_arrays() -> None:
    leaves, structure = jax.tree.flatten(ROWS)
    assert len(leaves) == 2
    np.testing.assert_array_equal(structure.unflatten(leaves).to_dense(), DENSE)
    doubled = jax.vmap(lambda rows: rows.to_dense())(
        jax.tree.map(lambda x: jnp.stack([x] * 2), ROWS)
    )
    np.testing.assert_array_equal(doubled, [DENSE, DENSE])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SparseRows(jnp.ones(2), VALUES[:2], V), TypeError, "integers, got float32"),
        (lambda: SparseRows(IDS[None], VALUES[None], V), ValueError, r"reshape\(-1\)"),
        (lambda: SparseRows(IDS[:2], VALUES, V), ValueError, r"\(2,\) and \(9, 3\)"),
        (lambda: SparseRows(IDS, VALUES, 2**31), ValueError, "divide a larger table"),
        (lambda: ROWS + np.ones((1, D)), ValueError, "nothing is broadcast"),
        (lambda: ROWS * jnp.ones(D), ValueError, r"only a scalar .* got shape \(3,\)"),
        (lambda: ROWS / jnp.ones(D), ValueError, r"only a scalar .* got shape \(3,\)"),
        (lambda: ROWS / ROWS, TypeError, "`divisor` must be an array of numbers"),
        (lambda: ROWS.add_to(jnp.ones((V + 1, D))), ValueError, "nothing is broadcast"),
        (lambda: ROWS.add_to(-1), ValueError, r"got \(\d+, 3\) and \(\)"),
        (lambda: SparseRows([0, 2**70], VALUES[:2], V), TypeError, "`indices` must be an array"),
        (lambda: SparseRows.concatenate(None), TypeError, "`parts` must be a list of SparseRows"),
        (lambda: SparseRows.concatenate(ROWS), TypeError, "`parts` must be a list of SparseRows"),
        (lambda: ROWS.astype(None), TypeError, "`dtype` must be a floating or complex dtype"),
        (lambda: ROWS.astype(IDS), TypeError, "`dtype` must be a floating or complex dtype"),
    ],
    ids=[
        "float_ids",
        "matrix_ids",
        "other_length",
        "too_many_rows",
        "broadcast",
        "array_factor",
        "array_divisor",
        "rows_by_rows",
        "other_table",
        "no_table",
        "huge_id",
        "no_parts",
        "one_part",
        "no_dtype",
        "integers",
    ],
)
def test_what_does_not_fit_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
