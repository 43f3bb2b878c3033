"""What is still owed is paid when somebody asks, and only then."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

V, D = 7, 3
PARAMS = {
    "bias": jnp.linspace(-1.0, 1.0, D),
    "table": jnp.asarray(np.random.default_rng(0).standard_normal((V, D)), jnp.float32),
}
MODES = {"table": "exact"}


def gradients(step: int) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    ids = jnp.asarray([step % 3, 5, 5, -1])
    values = jnp.asarray(rng.standard_normal((4, D)), jnp.float32)
    return {"bias": values[0], "table": adamx.SparseRows(ids, values, V)}


def train(tx: adamx.GradientTransformation, steps: int = 20) -> tuple[Any, Any]:
    params, state = PARAMS, tx.init(PARAMS)
    update = jax.jit(tx.step)
    for step in range(steps):
        params, state = update(gradients(step), state, params)
    return params, state


def adamw(mode: str) -> adamx.GradientTransformation:
    return adamx.sparse.adamw(0.1, {"table": mode}, weight_decay=0.1)


def assert_close(got: Any, wanted: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, wanted)


@pytest.fixture(scope="module")
def dense() -> Any:
    return train(adamw("dense"))[0]


WRAPPED = {
    "alone": lambda tx: tx,
    "chained": lambda tx: adamx.chain(adamx.clip_by_global_norm(1e9), tx),
    "guarded": lambda tx: adamx.apply_if_finite(adamx.named_chain(("core", tx))),
    "grouped": lambda tx: adamx.multi_transform(
        {"tables": adamx.sparse.adamw(0.1, "exact", weight_decay=0.1), "rest": adamw_rest()},
        {"bias": "rest", "table": "tables"},
    ),
}


def adamw_rest() -> adamx.GradientTransformation:
    return adamx.adamw(0.1, weight_decay=0.1)


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_flushed_and_evaluated_tables_are_dense(wrapped: str, dense: Any) -> None:
    params, state = train(WRAPPED[wrapped](adamw("exact")))
    assert np.abs(params["table"] - dense["table"]).max() > 0.05  # something is owed
    assert_close(adamx.eval_params(state, params), dense)
    flushed, _ = adamx.sparse.flush(state, params)
    assert_close(flushed, dense)


def test_a_flush_is_not_felt_afterwards() -> None:
    tx = adamw("exact")
    params, state = train(tx)
    flushed = adamx.sparse.flush(state, params)
    assert jax.tree.structure(flushed) == jax.tree.structure((params, state))
    again, _ = adamx.sparse.flush(flushed[1], flushed[0])
    jax.tree.map(np.testing.assert_array_equal, again, flushed[0])
    pair, other, update = (params, state), flushed, jax.jit(tx.step)
    for step in range(20, 30):
        grads = gradients(step)
        pair, other = (update(grads, s, p) for p, s in (pair, other))
    assert_close(adamx.eval_params(pair[1], pair[0]), adamx.eval_params(other[1], other[0]))


def test_reading_changes_nothing() -> None:
    tx = adamw("exact")
    params, state = train(tx)
    before = jax.tree.map(np.array, (params, state))
    adamx.eval_params(state, params)
    jax.tree.map(np.testing.assert_array_equal, (params, state), before)
    memory = state.memory["table"]
    ids = jnp.array([6, 0, 0, 3])
    rows = memory.read(params["table"], state.mu["table"], state.nu["table"], ids)
    assert_close(rows, adamx.eval_params(state, params)["table"][ids])


def test_an_average_is_read_after_the_tables() -> None:
    mask = {"bias": True, "table": False}
    tx = adamx.chain(adamw("exact"), adamx.ema_params(0.5, mask=mask))
    params, state = train(tx)
    read = adamx.eval_params(state, params)
    np.testing.assert_array_equal(read["bias"], state[1].ema["bias"])
    assert_close(read["table"], adamx.sparse.flush(state, params)[0]["table"])


def test_a_state_without_tables_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found none in dict; the arguments are `\(state, params"):
        adamx.sparse.flush({"w": jnp.ones(2)}, adamx.sparse.adam(0.1).init(PARAMS))


def test_a_low_precision_table_stays_one() -> None:
    params = {**PARAMS, "table": PARAMS["table"].astype(jnp.bfloat16)}
    tx = adamw("exact")
    state = tx.init(params)
    for step in range(5):
        params, state = tx.step(gradients(step), state, params)
    flushed, after = adamx.sparse.flush(state, params)
    assert flushed["table"].dtype == jnp.bfloat16
    assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b1": 0.95, "b2": 0.9}, r"`b1` must be below sqrt\(b2\) = 0.948683, got 0.95"),
        ({"b2": adamx.linear_schedule(0.9, 0.99, 10)}, r"`b2` must be a number, got linear"),
        ({"b1": adamx.linear_schedule(0.9, 0.99, 10)}, r"`b1` must be a number, got linear"),
        ({"eps_root": 1e-8}, r"`eps_root` must be 0, got 1e-08"),
    ],
)
def test_what_exact_cannot_do_is_refused(options: Any, message: str) -> None:
    for modes in ("exact", {"table": "exact"}):
        with pytest.raises(ValueError, match="sparse.adam: in mode `exact`, " + message):
            adamx.sparse.adam(0.1, modes, **options)
    adamx.sparse.adam(0.1, "lazy", **options)


def test_decay_rates_may_be_traced() -> None:
    def final(b2: Any) -> Any:
        tx = adamx.sparse.adam(0.1, MODES, b2=b2)
        params, state = PARAMS, tx.init(PARAMS)
        for step in range(3):
            params, state = tx.step(gradients(step), state, params)
        return adamx.eval_params(state, params)["table"]

    both = jax.jit(jax.vmap(final))(jnp.array([0.999, 0.95]))
    np.testing.assert_allclose(both[1], final(0.95), rtol=1e-4, atol=1e-6)


def test_a_dense_gradient_touches_every_row() -> None:
    grads = [{**gradients(i), "table": gradients(i)["table"].to_dense()} for i in range(3)]
    ends = []
    for mode in ("dense", "exact"):
        tx = adamw(mode)
        params, state = PARAMS, tx.init(PARAMS)
        for grad in grads:
            params, state = tx.step(grad, state, params)
        ends.append(params)
    assert_close(*ends)
