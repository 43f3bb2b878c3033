"""The average of a table in each mode, at every step, beside that of the float64 oracle."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.oracles import sparse as oracles
from tests.selection import one_in
from tests.sparse.test_modes_long import STEPS, Problem, learning_rate
from tests.sparse.test_modes_long import problem as long_problem

ORACLES = {
    "dense": oracles.dense,
    "exact": oracles.dense,
    "lazy": oracles.lazy,
    "rowwise": oracles.rowwise,
}


class Rate(adamx.Schedule):
    """The learning rate of the oracles, from a table."""

    def __call__(self, count: Any) -> Any:
        return jnp.asarray(learning_rate(np.arange(STEPS)), jnp.float32)[count]


def averages(trajectory: np.ndarray, decay: float) -> np.ndarray:
    """Keras's and optax's average of the parameters after each step, from the first ones on."""
    ema = [trajectory[0]]
    for p in trajectory[1:]:
        ema.append(decay * ema[-1] + (1.0 - decay) * p)
    return np.stack(ema)


def run(tx: adamx.GradientTransformation, given: Problem) -> tuple[np.ndarray, Any, Any]:
    """What `eval_params` gave after every step, and how it ended."""

    def step(carry: Any, x: Any) -> Any:
        table, state = carry
        table, state = tx.step(adamx.SparseRows(*x, len(table)), state, table)
        return (table, state), adamx.eval_params(state, table)

    @jax.jit
    def train(table: jax.Array, *steps: Any) -> Any:
        end, read = jax.lax.scan(step, (table, tx.init(table)), steps)
        return jnp.concatenate([table[None], read]), *end

    read, table, state = train(jnp.asarray(given.table), given.ids, given.values)
    return np.asarray(read), table, state


def problem() -> Problem:
    """The first half of the long one."""
    table, ids, values = long_problem()
    return Problem(table, ids[: STEPS // 2], values[: STEPS // 2])


@functools.cache
def expected(mode: str, weight_decay: float, b2: float) -> np.ndarray:
    given = problem()
    oracle = ORACLES[mode]
    return oracle(given.table, given.steps, learning_rate, weight_decay, b2=b2)


# Modes, decays of the average and of the weights, and b2; beside them the measured errors as shares
# of the largest movement.
CASES = [
    ("dense", 0.99, 0.0, 0.999),  # 1.2e-5
    ("lazy", 0.99, 0.1, 0.999),  # 1.5e-6
    ("rowwise", 0.999, 0.0, 0.999),  # 3.7e-6
    ("exact", 0.99, 0.0, 0.999),  # 3.5e-6
    ("exact", 0.999, 0.1, 0.999),  # 9.2e-7
    ("exact", 0.9, 0.0, 0.95),  # 4.7e-6
    ("exact", 0.0, 0.0, 0.999),  # 4.3e-6
]


@pytest.mark.parametrize(
    ("mode", "decay", "weight_decay", "b2"), one_in(2, CASES, "every pair of rates")
)
def test_average_of_every_step(mode: str, decay: float, weight_decay: float, b2: float) -> None:
    given = problem()
    inner = adamx.sparse.adamw(Rate(), mode, b2=b2, weight_decay=weight_decay)
    tx = adamx.sparse.ema_params(adamx.chain(adamx.clip_by_global_norm(1e9), inner), decay)
    read, _, _ = run(tx, given)
    trajectory = expected(mode, weight_decay, b2)
    wanted = averages(trajectory, decay)
    movement = np.abs(trajectory - given.table).max()
    assert np.abs(read - wanted).max() <= 2e-5 * movement


@pytest.mark.parametrize("mode", ["lazy", "exact"])
def test_a_flush_pays_the_average_too(mode: str) -> None:
    given, decay = problem(), 0.9
    tx = adamx.sparse.ema_params(adamx.sparse.adamw(Rate(), mode, weight_decay=0.0), decay)
    _, table, state = run(tx, given)
    trajectory = expected(mode, 0.0, 0.999)
    tolerance = 2e-5 * np.abs(trajectory - given.table).max()
    flushed, paid = jax.jit(adamx.sparse.flush)(state, table)
    evaluate, step = jax.jit(adamx.eval_params), jax.jit(tx.step)
    np.testing.assert_allclose(flushed, trajectory[-1], rtol=0.0, atol=tolerance)
    wanted = averages(trajectory, decay)[-1]
    np.testing.assert_allclose(evaluate(paid, flushed), wanted, rtol=0.0, atol=tolerance)
    # Going on after a flush is going on without one.
    rows = adamx.SparseRows(given.ids[0], given.values[0], len(table))
    ends = []
    for p, s in ((table, state), (flushed, paid)):
        p, s = step(rows, s, p)
        ends.append(evaluate(s, p))
    np.testing.assert_allclose(*ends, rtol=0.0, atol=tolerance)


PARAMS = {"bias": jnp.array([1.0, 2.0]), "n": jnp.array(3), "scale": jnp.array(2.0)}


def test_other_parameters_are_averaged_as_always() -> None:
    grads = {"bias": jnp.array([1.0, -1.0]), "n": None, "scale": jnp.array(0.5)}
    trees = []
    for tx in (
        adamx.chain(adamx.adam(0.1), adamx.ema_params(0.5)),
        adamx.sparse.ema_params(adamx.sparse.adam(0.1, "exact"), 0.5),
        adamx.sparse.ema_params(adamx.sparse.rows(adamx.adam(0.1), "exact"), 0.5),
    ):
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(3):
            params, state = tx.step(grads, state, params)
        trees.append(adamx.eval_params(state, params))
    expected, *got = trees
    for tree in got:
        for name in ("bias", "scale"):
            np.testing.assert_allclose(tree[name], expected[name], rtol=1e-5)
        np.testing.assert_array_equal(tree["n"], PARAMS["n"])


def test_a_parameter_without_an_update_stands_still() -> None:
    tx = adamx.sparse.ema_params(adamx.sparse.adam(0.1), 0.5)
    params, state = {"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)})
    params, state = tx.step({"w": jnp.ones(2)}, state, params)
    for _ in range(2):
        params, state = tx.step({"w": None}, state, params)
    np.testing.assert_allclose(params["w"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(adamx.eval_params(state, params)["w"], 0.9 + 0.1 / 8, rtol=1e-6)


def test_the_average_of_a_table_that_is_behind_is_refused() -> None:
    table = {"embed": jnp.ones((5, 2))}
    rows = {"embed": adamx.SparseRows(jnp.array([1]), jnp.ones((1, 2)), 5)}
    tx = adamx.chain(adamx.sparse.adam(0.1, "exact"), adamx.ema_params(0.5))
    params, state = jax.jit(tx.step)(rows, tx.init(table), table)
    with pytest.raises(ValueError, match=r"average of \['embed'\] is not .* `sparse.ema_params\("):
        adamx.eval_params(state, params)


@pytest.mark.parametrize(
    "inner",
    [
        lambda: adamx.adam(0.1),
        lambda: adamx.apply_if_finite(adamx.sparse.adam(0.1)),
        lambda: adamx.chain(adamx.sparse.adam(0.1), adamx.sparse.adam(0.1)),
        lambda: None,
    ],
    ids=["dense", "guarded", "two", "none"],
)
def test_what_is_around_what(inner: Any) -> None:
    with pytest.raises(TypeError, match=r"`inner` must be an optimizer of `adamx\.sparse` or"):
        adamx.sparse.ema_params(inner(), 0.9)


def test_a_decay_alone_is_refused() -> None:
    with pytest.raises(TypeError, match=r"`sparse.ema_params\(optimizer, 0.9\)`.* got 0.9"):
        adamx.sparse.ema_params(0.9)
    with pytest.raises(TypeError, match=r"`decay` must be a number.* got None"):
        adamx.sparse.ema_params(adamx.sparse.adam(0.1))


def test_a_scheduled_decay_is_refused() -> None:
    with pytest.raises(TypeError, match="`decay` must be a number"):
        adamx.sparse.ema_params(adamx.sparse.adam(0.1), adamx.linear_schedule(0.5, 0.9, 10))


@pytest.mark.parametrize("mode", ["lazy", "exact"])
def test_in_place(mode: str) -> None:
    rows, width = 100_000, 8
    tx = adamx.sparse.ema_params(adamx.sparse.adam(0.1, mode), 0.99)

    def step(table: Any, state: Any, ids: Any, values: Any) -> Any:
        return tx.step(adamx.SparseRows(ids, values, rows), state, table)

    table = jax.ShapeDtypeStruct((rows, width), jnp.float32)
    arguments = jax.ShapeDtypeStruct((32,), jnp.int32), jax.ShapeDtypeStruct((32, width), "float32")
    state = jax.eval_shape(tx.init, table)
    program = jax.jit(step, donate_argnums=(0, 1)).lower(table, state, *arguments).compile()
    assert program.memory_analysis().temp_size_in_bytes < rows
