"""Rows of a table whose moments have fewer bits: gathered, stepped and scattered as words."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

V, D, STEPS = 64, 16, 4
FORMATS = {
    "bfloat16": adamx.bfloat16_format(seed=3),
    "pair": adamx.pair_format(min_size=0),
    "blocks": adamx.pair_format(8, 0),
    "by path": {"table": adamx.pair_format(min_size=0)},
}
ALL = pytest.mark.parametrize("name", FORMATS)


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (np.append(rng.integers(0, V, 11), -1).astype(np.int32), rng.normal(size=(12, D)))
        for _ in range(STEPS)
    ]


def trained(tx: adamx.GradientTransformation, batches: Any, *, sparse: bool = True) -> Any:
    params = {"b": jnp.ones(3), "table": jnp.ones((V, D))}
    state = tx.init(params)
    step = jax.jit(tx.step)
    for ids, values in batches:
        rows: Any = adamx.SparseRows(jnp.asarray(ids), jnp.asarray(values, jnp.float32), V)
        grads = {"b": jnp.ones(3), "table": rows if sparse else rows.to_dense()}
        params, state = step(grads, state, params)
    return params, state


@ALL
def test_touched_rows_hold_the_words_of_the_dense_step(name: str) -> None:
    """Every row in every step: then `lazy` is Adam, bit by bit, random ones included."""
    chain = adamx.adamw(1e-2, state_format=FORMATS[name])
    rng = np.random.default_rng(1)
    every = [(rng.permutation(V).astype(np.int32), rng.normal(size=(V, D))) for _ in range(STEPS)]
    got, rows = trained(adamx.sparse.rows(chain, {"table": "lazy"}), every)
    expected, dense = trained(chain, every, sparse=False)
    np.testing.assert_array_equal(rows.mu["table"], dense[0].mu["table"])
    jax.tree.map(np.testing.assert_array_equal, rows.nu["table"], dense[0].nu["table"])
    np.testing.assert_allclose(got["table"], expected["table"], rtol=1e-6)


@ALL
def test_other_rows_keep_every_bit(name: str) -> None:
    tx = adamx.sparse.rows(adamx.adamw(1e-2, state_format=FORMATS[name]), {"table": "lazy"})
    some = batches()
    _, before = trained(tx, some[:-1])
    params, after = trained(tx, some)
    rest = np.setdiff1d(np.arange(V), some[-1][0])
    for field in ("mu", "nu"):
        old, new = getattr(before, field)["table"], getattr(after, field)["table"]
        if old is not None:
            np.testing.assert_array_equal(np.asarray(new)[rest], np.asarray(old)[rest])
    assert np.all(np.isfinite(params["table"]))


@ALL
def test_rows_follow_their_float32_selves(name: str) -> None:
    wide, _ = trained(adamx.sparse.rows(adamx.adam(1e-2), {"table": "lazy"}), batches())
    chain = adamx.adam(1e-2, state_format=FORMATS[name])
    got, _ = trained(adamx.sparse.rows(chain, {"table": "lazy"}), batches())
    moved = np.abs(np.asarray(wide["table"]) - 1.0).sum()
    assert np.abs(np.asarray(got["table"] - wide["table"])).sum() < 0.25 * moved


@ALL
def test_tables_of_words_are_read_and_flushed(name: str) -> None:
    """Also with an average beside them; nothing in these modes is stale."""
    tx = adamx.sparse.rows(adamx.adamw(1e-2, state_format=FORMATS[name]), {"table": "lazy"})
    for make in (tx, adamx.sparse.ema_params(tx, 0.5)):
        params, state = trained(make, batches())
        flushed, after = adamx.sparse.flush(state, params)
        jax.tree.map(np.testing.assert_array_equal, flushed, params)
        read = [adamx.eval_params(*pair) for pair in ((state, params), (after, flushed))]
        jax.tree.map(np.testing.assert_array_equal, *read)
    expected = adamx.chain(tx, adamx.ema_params(0.5))
    read.append(adamx.eval_params(*trained(expected, batches())[::-1]))
    np.testing.assert_allclose(read[0]["table"], read[2]["table"], rtol=1e-6)


def test_one_second_moment_for_a_row_in_bfloat16() -> None:
    chain = adamx.adam(1e-2, state_format="bfloat16")
    _, state = trained(adamx.sparse.rows(chain, {"table": "rowwise"}), batches())
    assert state.nu["table"].shape == (V,)
    assert state.nu["table"].dtype == state.mu["table"].dtype == jnp.bfloat16


def test_rows_with_counts_of_their_own_in_bfloat16() -> None:
    def moved(form: Any) -> Any:
        tx = adamx.sparse.rows(adamx.adam(1e-2, state_format=form), {"table": "counted"})
        return np.asarray(trained(tx, batches())[0]["table"]) - 1.0

    assert np.abs(moved("bfloat16") - moved(None)).max() < 0.1 * np.abs(moved(None)).max()


def test_in_chunks_the_random_bits_are_those_of_the_rows() -> None:
    big_v, big_d, n = 4096, 512, 1024
    chain = adamx.adam(1e-2, state_format="pair")
    tx = adamx.sparse.rows(chain, "lazy")
    table = jnp.ones((big_v, big_d))
    ids = jnp.asarray(np.random.default_rng(2).permutation(big_v)[:n], jnp.int32)
    rows = adamx.SparseRows(ids, jnp.full((n, big_d), 0.5), big_v)
    _, state = jax.jit(tx.step)(rows, tx.init(table), table)
    _, dense = jax.jit(chain.step)(rows.to_dense(), chain.init(table), table)
    np.testing.assert_array_equal(state.mu[ids], dense[0].mu[ids])


@pytest.mark.parametrize(
    ("mode", "form", "message"),
    [
        ("exact", "bfloat16", "mode `exact` makes up for steps that were never stored"),
        ("exact", "pair", "mode `exact` makes up for steps that were never stored"),
        ("rowwise", "pair", "mode `rowwise` keeps one second moment for a row"),
        ("exact", {"table": "pair"}, "mode `exact` makes up for steps that were never stored"),
        ("counted", "pair", "mode `counted` corrects every row by itself"),
        ("lazy", {"tabel": "pair"}, "'tabel' is found in none"),
    ],
)
def test_what_a_mode_cannot_follow_is_refused(mode: str, form: Any, message: str) -> None:
    def init() -> Any:
        tx = adamx.sparse.rows(adamx.adam(1e-2, state_format=form), {"table": mode})
        return tx.init({"table": jnp.ones((V, D))})

    with pytest.raises(ValueError, match=message):
        init()


def test_a_table_in_mode_exact_beside_words() -> None:
    chain = adamx.adam(1e-2, state_format={"words": adamx.pair_format(min_size=0)})
    tx = adamx.sparse.rows(chain, {"table": "exact", "words": "lazy"})
    params = {"table": jnp.ones((8, 2)), "words": jnp.ones((8, 2))}
    state = tx.init(params)
    assert state.mu["words"].dtype == jnp.uint16
    assert state.mu["table"].dtype == jnp.float32
    rows = adamx.SparseRows(jnp.array([1]), jnp.ones((1, 2)), 8)
    params, _ = tx.step({"table": rows, "words": rows}, state, params)
    assert np.all(np.asarray(params["words"])[1] < 1.0)
