"""Whatever ids a batch has, a step is that of the same rows written down cleanly.

Each of these has gone wrong in some library: -1 wrapped around to the last row, ids past the end
were clipped to it, duplicates overwrote each other, padding stepped row 0.
"""

import functools
import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx import SparseRows
from tests.contract.support import precision
from tests.selection import in_turn, one_in

V, D = 6, 5
MODES = ("dense", "lazy", "rowwise", "exact")
KINDS = ("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64")
ARRAYS = {"numpy": np.asarray, "jax": jnp.asarray}
every_mode = pytest.mark.parametrize("mode", MODES)
sparse_modes = pytest.mark.parametrize("mode", ["lazy", "rowwise"])


def rows_of(n: int, columns: int = D) -> np.ndarray:
    """Multiples of 1/4, whose sums are exact in any order."""
    rng = np.random.default_rng(n)
    return rng.integers(-8, 9, (n, columns)).astype(np.float32) / 4 + 0.125


flushed = jax.jit(adamx.sparse.flush)


@functools.cache
def optimizer(mode: str) -> Any:
    tx = adamx.sparse.adamw(0.1, mode, b2=0.95, weight_decay=0.1)
    return tx, jax.jit(tx.step)


@functools.cache
def started(mode: str, rows: int = V, columns: int = D) -> tuple[Any, Any]:
    """A table and a state in which every row has moved, and no two moments are alike."""
    tx, step = optimizer(mode)
    table = jnp.asarray(rows_of(rows, columns))
    state = tx.init(table)
    for seed in (10, 11):
        grads = SparseRows(jnp.arange(rows), rows_of(rows + seed, columns)[:rows], rows)
        table, state = step(grads, state, table)
    return table, state


def stepped(mode: str, ids: Any, values: np.ndarray, rows: int = V) -> tuple[Any, Any]:
    """The table and the state after one more step, with nothing left to pay."""
    table, state = started(mode, rows, values.shape[1])
    table, state = optimizer(mode)[1](SparseRows(ids, values, rows), state, table)
    return flushed(state, table)


def assert_equal(got: Any, wanted: Any) -> None:
    chex.assert_trees_all_close(got, wanted, rtol=1e-6, atol=1e-7)


CLEAN = (np.array([1, 4]), rows_of(2))
ONE, FOUR = CLEAN[1]
NOTHING = np.zeros((1, D), np.float32)
WILD = np.full((1, D), np.nan, np.float32)
SAME: dict[str, tuple[list[int], list[Any]]] = {
    "duplicates": ([4, 1, 4, 1], [FOUR / 2, ONE / 4, FOUR / 2, 3 * ONE / 4]),
    "minus_one": ([1, -1, 4, -1], [ONE, WILD[0], FOUR, WILD[0]]),
    "past_the_end": ([1, V, 4, 2**31 - 1], [ONE, WILD[0], FOUR, WILD[0]]),
    "before_the_start": ([-V, 1, -2, 4], [WILD[0], ONE, WILD[0], FOUR]),
    "unsorted": ([4, -1, -1, 1], [FOUR, WILD[0], WILD[0], ONE]),
}


@every_mode
@pytest.mark.parametrize("kind", SAME)
def test_a_batch_steps_like_the_same_rows_written_cleanly(mode: str, kind: str) -> None:
    ids, values = SAME[kind]
    assert_equal(stepped(mode, np.array(ids), np.stack(values)), stepped(mode, *CLEAN))


@every_mode
@pytest.mark.parametrize("n", [0, 3], ids=["empty", "padding"])
def test_a_batch_of_no_rows_is_a_step_without_gradient(mode: str, n: int) -> None:
    table, state = stepped(mode, np.full(n, -1, np.int32), np.full((n, D), np.nan, np.float32))
    assert state.count == 3
    before, old = flushed(*reversed(started(mode)))
    if mode in ("lazy", "rowwise"):
        chex.assert_trees_all_equal((table, state[1:]), (before, old[1:]))
    else:
        zero = SparseRows(jnp.arange(V), jnp.zeros((V, D)), V)
        wanted, moments = optimizer("dense")[1](zero, *reversed(started("dense")))
        assert_equal((table, *state[1:3]), (wanted, *moments[1:3]))
        assert not np.array_equal(table, before)


@sparse_modes
def test_untouched_rows_keep_every_bit(mode: str) -> None:
    before, after = started(mode), stepped(mode, *CLEAN)
    untouched = [0, 2, 3, 5]
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if x.ndim:
            assert np.asarray(x)[untouched].tobytes() == np.asarray(y)[untouched].tobytes()
            assert not (np.asarray(x)[CLEAN[0]] == np.asarray(y)[CLEAN[0]]).any()


@pytest.mark.parametrize(("mode", "rows"), in_turn(MODES, [1, 2], "both numbers in every mode"))
def test_tables_of_hardly_any_rows(mode: str, rows: int) -> None:
    values = rows_of(6)
    got = stepped(mode, np.array([0, 0, -1, rows, 0, -1]), values, rows)
    assert_equal(got, stepped(mode, np.array([0]), values[[0, 1, 4]].sum(0, keepdims=True), rows))


@pytest.mark.parametrize(
    ("columns", "mode"), in_turn([1, 3, 7], ["dense", "lazy", "exact"], "every width in each")
)
def test_any_width(columns: int, mode: str) -> None:
    """The columns are independent: a narrow table is part of a wide one, to the last bit or so."""
    ids, values = np.array([5, 0, 5]), rows_of(3, 8)

    def narrow(tree: Any) -> Any:
        return jax.tree.map(lambda x: x[:, :columns] if x.shape == (V, 8) else x, tree)

    wide = stepped(mode, ids, values)
    table, state = narrow(started(mode, V, 8))
    got = optimizer(mode)[1](SparseRows(ids, values[:, :columns], V), state, table)
    assert_equal(flushed(*reversed(got)), narrow(wide))


def test_rows_of_one_column_have_the_ordinary_second_moment() -> None:
    ids, values = np.array([5, 0, 5]), rows_of(3, 1)
    assert_equal(stepped("rowwise", ids, values)[0], stepped("lazy", ids, values)[0])


@every_mode
def test_the_order_of_a_batch_does_not_matter(mode: str) -> None:
    """To the last bit, where the sums of duplicates are exact."""
    ids, values = np.array([3, 0, 3, -1, 5, 3, 0]), rows_of(7)
    order = np.random.default_rng(0).permutation(7)
    chex.assert_trees_all_equal(
        stepped(mode, ids, values), stepped(mode, ids[order], values[order])
    )


@pytest.mark.parametrize(
    ("mode", "kind", "array"),
    one_in(3, itertools.product(MODES, KINDS, ARRAYS), "every kind in every mode"),
    ids=str,
)
def test_ids_of_any_integer_dtype(mode: str, kind: str, array: str) -> None:
    """The largest and smallest number of the dtype are padding; 2**32 + 1 is not row 1."""
    info = np.iinfo(kind)
    large = [2**32 + 1] if info.max > 2**32 else []
    ids = np.array([1, info.max, 4, info.min or info.max, *large], kind)
    values = np.concatenate([ONE[None], WILD, FOUR[None], *[WILD] * (1 + len(large))])
    wanted = stepped(mode, *CLEAN)
    with precision("float64" if info.bits == 64 and array == "jax" else "float32"):
        rows = SparseRows(ARRAYS[array](ids), values, V).coalesce()
    assert rows.indices.dtype == jnp.int32
    assert_equal(stepped(mode, rows.indices, np.asarray(rows.values)), wanted)


@pytest.mark.parametrize("modes", ["exact", {"embed": "lazy", "head": "exact"}], ids=["all", "one"])
@pytest.mark.parametrize(
    "build",
    [
        lambda tx: adamx.chain(tx, adamx.scale(0.5)),
        lambda tx: adamx.named_chain(("tx", tx), ("half", adamx.scale(0.5))),
        lambda tx: adamx.chain(adamx.chain(tx), adamx.identity(), adamx.scale(0.5)),
        lambda tx: adamx.chain(adamx.apply_if_finite(tx), adamx.scale(0.5)),
        lambda tx: adamx.chain(adamx.sparse.ema_params(tx, 0.9), adamx.scale(0.5)),
        lambda tx: adamx.chain(adamx.chain(tx, adamx.identity()), adamx.chain(adamx.scale(0.5))),
        lambda tx: adamx.chain(tx, optax.scale(0.5)),
        lambda tx: adamx.chain(tx, adamx.ema_params(0.5, overwrite_every=3)),
    ],
    ids=["chain", "named", "nested", "guarded", "averaged", "two_chains", "optax", "overwriting"],
)
def test_a_link_behind_a_table_that_is_put_off_is_refused(build: Any, modes: Any) -> None:
    """It would change a row's own step, and not what is made up for between its steps."""
    with pytest.raises(ValueError, match=r"link \d, .*, changes the updates of .* in front,"):
        build(adamx.sparse.adamw(0.1, modes))


def test_links_that_change_nothing_may_be_behind() -> None:
    tx = adamx.sparse.adamw(0.1, "exact")
    adamx.chain(adamx.clip(1.0), tx, adamx.identity(), adamx.ema_params(0.5))
    adamx.chain(tx, adamx.chain(adamx.record_metrics(adamx.identity(), "grad_norm")))
    adamx.chain(adamx.sparse.adamw(0.1, {"embed": "lazy"}), adamx.scale(0.5))
