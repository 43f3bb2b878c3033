"""Many rows, worked through in chunks: the same as all at once, wherever a step may stand."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import adamx
from adamx.sparse import chunks
from tests.oracles import sparse as oracle
from tests.selection import one_in

V, D = 23, 4
# Elements of a chunk: three rows.
SMALL = 3 * D
TX = {
    "lazy": adamx.sparse.adam(0.1, "lazy"),
    "rowwise": adamx.sparse.adam(0.1, "rowwise"),
    "counted": adamx.sparse.adamw(0.1, "counted", weight_decay=0.1),
    "decaying": adamx.sparse.adamw(0.1, "lazy", weight_decay=0.1),
    "amsgrad": adamx.sparse.amsgrad(0.1, "lazy"),
    "exact": adamx.sparse.adamw(0.1, "exact", weight_decay=0.1),
    "exact amsgrad": adamx.sparse.amsgrad(0.1, "exact"),
    "exact, averaged": adamx.sparse.ema_params(adamx.sparse.adam(0.1, "exact"), 0.9),
    "no epsilon": adamx.sparse.adam(0.1, "lazy", eps=0.0),
    "bfloat16": adamx.sparse.adam(0.1, "lazy", mu_dtype="bfloat16"),
}
IDS = {
    "a whole number of chunks": [3, 1, 4, 1, 5, 9, 2, 6, 5],
    "one more": [3, 1, 4, 1, 5, 9, 2, 6, 5, 0],
    "all different": [*range(20, 0, -1)],
    "more than rows": [*range(V), *range(V), 5],
    "padding only": [-1] * 10,
    "mostly padding": [-1] * 10 + [V, V - 1, 0],
}


def rows_of(ids: Any, seed: int = 0) -> adamx.SparseRows:
    values = np.random.default_rng(seed).normal(size=(len(ids), D))
    return adamx.SparseRows(jnp.asarray(ids, jnp.int32), jnp.asarray(values, jnp.float32), V)


def table() -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=(V, D)), jnp.float32)


def steps(tx: adamx.GradientTransformation, ids: Any) -> Any:
    """The updates of the last of two steps, the table and the state."""
    params, state = table(), tx.init(table())
    for seed in range(2):
        updates, state = tx.update(rows_of(ids, seed), state, params)
        params = adamx.apply_updates(params, updates)
    return updates.values, params, state


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any]]:
    """A function's results with all rows at once and in chunks."""

    def run(f: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
        results = []
        in_chunks = Mock(side_effect=chunks._move_chunks)
        monkeypatch.setattr(chunks, "_move_chunks", in_chunks)
        for size in (10**9, SMALL):
            monkeypatch.setattr(chunks, "_CHUNK", size)
            results.append(jax.jit(lambda *a: f(*a))(*args))
            assert in_chunks.called == (size == SMALL)
        return results[0], results[1]

    return run


def assert_same(results: tuple[Any, Any]) -> None:
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        assert np.all(np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


TWICE = "compiles a step twice"


@pytest.mark.parametrize("name", one_in(3, TX, TWICE))
def test_in_every_mode(both: Any, name: str) -> None:
    assert_same(both(lambda: steps(TX[name], IDS["one more"])))


@pytest.mark.parametrize("ids", one_in(4, IDS, TWICE))
def test_whatever_the_rows(both: Any, ids: str) -> None:
    assert_same(both(lambda: steps(TX["decaying"], IDS[ids])))
    assert_same(both(lambda: steps(TX["exact"], IDS[ids])))


@pytest.mark.parametrize("mode", ["lazy", "rowwise"])
def test_against_the_oracle(mode: str) -> None:
    """As many rows as make several chunks of the size that is used."""
    v, d, n = 6_000, 64, 9_000
    random = np.random.default_rng(0)
    taken = [
        (random.integers(-100, v, n), random.normal(size=(n, d)).astype(np.float32))
        for _ in range(2)
    ]
    start = random.normal(size=(v, d)).astype(np.float32)
    wanted = getattr(oracle, mode)(start, taken, 0.1)[-1]

    tx = adamx.sparse.adam(0.1, mode)
    step = jax.jit(tx.step)
    params, state = jnp.asarray(start), tx.init(start)
    for ids, values in taken:
        params, state = step(adamx.SparseRows(ids, jnp.asarray(values), v), state, params)
    np.testing.assert_allclose(params, wanted, rtol=2e-6, atol=2e-6)


def test_under_vmap(both: Any) -> None:
    """Each with another number of rows that are needed."""
    ids = jnp.asarray([[1, 1, 1, 1, 1, 1, 1, 1], [*range(8)], [-1] * 8], jnp.int32)
    assert_same(both(jax.vmap(lambda i: steps(TX["lazy"], i)), ids))


def test_under_scan(both: Any) -> None:
    def run(ids: jax.Array) -> Any:
        def one(carry: Any, i: jax.Array) -> Any:
            params, state = carry
            return TX["lazy"].step(rows_of(i), state, params), None

        return jax.lax.scan(one, (table(), TX["lazy"].init(table())), ids)[0]

    assert_same(both(run, jnp.asarray([[*range(8)], [3] * 8, [-1] * 8], jnp.int32)))


@pytest.mark.parametrize("transform", one_in(2, [jax.grad, jax.jacfwd], TWICE))
def test_derivatives(both: Any, transform: Callable[..., Any]) -> None:
    """Of two steps by the learning rate, the gradient and (without NaN at 0) epsilon."""

    def loss(rate: jax.Array, values: jax.Array, eps: jax.Array) -> jax.Array:
        tx = adamx.sparse.adam(rate, "lazy", eps=eps)
        params, state = table(), tx.init(table())
        for _ in range(2):
            rows = rows_of(IDS["one more"]).replace(values=values)
            params, state = tx.step(rows, state, params)
        return jnp.sum(params**2)

    values = rows_of(IDS["one more"]).values
    assert_same(both(transform(loss, argnums=(0, 1)), jnp.float32(0.1), values, jnp.float32(0.1)))
    assert_same(both(transform(loss, argnums=(0, 2)), jnp.float32(0.1), values, jnp.float32(0.0)))


@pytest.mark.eight_devices
def test_under_shard_map(both: Any) -> None:
    """Gradients that differ between devices, of a table and moments that do not yet."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def on_each(ids: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[None], steps(TX["lazy"], ids))

    spec = PartitionSpec("data")
    run = jax.shard_map(on_each, mesh=mesh, in_specs=spec, out_specs=spec)
    ids = np.random.default_rng(0).integers(-1, V, 40)
    assert_same(both(run, jnp.asarray(ids, jnp.int32)))


@pytest.mark.cpu_program
def test_chunks_that_are_not_needed_are_passed_over() -> None:
    """What is computed stands in a branch, inside of a loop."""
    tx = TX["lazy"]
    n = 4 * chunks._CHUNK // D
    rows = adamx.SparseRows.tree_unflatten(
        (V * n, False),
        (jax.ShapeDtypeStruct((n,), jnp.int32), jax.ShapeDtypeStruct((n, D), jnp.float32)),
    )
    like = jax.ShapeDtypeStruct((V * n, D), jnp.float32)
    step = jax.jit(lambda t, s, g: tx.step(g, s, t), donate_argnums=(0, 1))
    program = step.lower(like, jax.eval_shape(tx.init, like), rows).compile()
    assert "conditional(" in program.as_text()
    # The sums of the rows, in whose place the changes come, and the ids; and one chunk.
    gradient = 4 * n * D
    assert program.memory_analysis().temp_size_in_bytes < 1.6 * gradient + 8 * n * 4
