"""Every mode over 2,000 steps of skewed ids against its float64 oracle, at every step.

An error is the largest difference of any element that any step's forward pass could have read, as
a share of the largest movement of any element.  The measured ones stand beside the cases.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.sparse import exact
from tests.oracles import sparse as oracles
from tests.selection import full

V, D, N, STEPS, WARMUP = 96, 5, 12, 2000, 100
PEAK = 0.01
# A row that is read for 300 steps only because it has been forgotten, and one for longer than that.
GAPS = {90: 300, 91: 301, 92: 700}


def learning_rate(count: Any) -> Any:
    """Linear warm-up and half a cosine down to zero."""
    rest = 0.5 * (1.0 + np.cos(np.pi * (count - WARMUP) / (STEPS - WARMUP)))
    return PEAK * np.where(count < WARMUP, count / WARMUP, rest)


class Problem(NamedTuple):
    """A table and what every step does to it."""

    table: np.ndarray  # float32[V, D]
    ids: np.ndarray  # int32[STEPS, N]: duplicates, -1 and V among them
    values: np.ndarray  # float32[STEPS, N, D]

    @property
    def steps(self) -> list[oracles.Step]:
        return list(zip(self.ids, self.values, strict=True))


@functools.cache
def problem(scale: float = 1.0, size: float = 1.0) -> Problem:
    """Zipf's ids and gradients whose sizes differ from row to row and from step to step."""
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, V + 1) ** 1.3
    weights[list(GAPS)] = 0.0
    ids = rng.choice(V, (STEPS, N), p=weights / weights.sum()).astype(np.int32)
    ids[:, 0] = np.where(rng.random(STEPS) < 0.5, -1, V)
    for row, gap in GAPS.items():
        ids[::gap, 1 + row % 3] = row
    values = rng.standard_normal((STEPS, N, D)) * np.exp(rng.standard_normal((STEPS, N, 1)))
    table = size * rng.standard_normal((V, D))
    return Problem(table.astype(np.float32), ids, (scale * values).astype(np.float32))


def current(table: jax.Array, state: adamx.sparse.SparseAdamState) -> jax.Array:
    """The table as a forward pass reads it."""
    if not hasattr(state.memory, "read"):
        return table
    return state.memory.read(table, state.mu, state.nu, jnp.arange(len(table)))


class Rate(adamx.Schedule):
    """The learning rate of the oracles, from a table."""

    def __call__(self, count: Any) -> Any:
        return jnp.asarray(learning_rate(np.arange(STEPS)), jnp.float32)[count]


def run(
    mode: str,
    given: Problem,
    weight_decay: float = 0.0,
    core: Callable[..., adamx.GradientTransformation] = adamx.scale_by_adam,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """What every forward pass read, float32[STEPS + 1, V, D], and the table after a flush."""
    tx = adamx.sparse.rows(
        adamx.chain(
            core(**options),
            adamx.add_decayed_weights(weight_decay),
            adamx.scale_by_learning_rate(Rate()),
        ),
        mode,
    )

    def step(carry: Any, x: Any) -> Any:
        table, state = carry
        table, state = tx.step(adamx.SparseRows(*x, len(table)), state, table)
        return (table, state), current(table, state)

    @jax.jit
    def train(table: jax.Array, *steps: Any) -> Any:
        (table, state), read = jax.lax.scan(step, (table, tx.init(table)), steps)
        read = jnp.concatenate([given.table[None], read])
        return read, adamx.sparse.flush(state, table)[0]

    read, flushed = train(jnp.asarray(given.table), given.ids, given.values)
    return np.asarray(read), np.asarray(flushed)


def error(given: Problem, expected: np.ndarray, read: np.ndarray, flushed: np.ndarray) -> float:
    """The largest difference at any step or after the flush, in units of the largest movement."""
    movement = np.abs(expected - given.table).max()
    worst = max(np.abs(read - expected).max(), np.abs(flushed - expected[-1]).max())
    return float(worst / movement)


# Beside each: the measured errors of `exact` and of `dense`.  Elements move by 1 to 3.
CASES: dict[str, dict[str, Any]] = {
    "default": {},  # 4.3e-6, 1.1e-5
    "decay": {"weight_decay": 0.1},  # 4.2e-7, 9.4e-7
    "b2=.95": {"b2": 0.95},  # 4.7e-6, 1.2e-5
    "b2=.95 decay": {"b2": 0.95, "weight_decay": 0.1},  # 4.5e-7, 9.8e-7
    "eps_hat": {"eps_hat": True, "eps": 1e-3},  # 4.0e-6, 8.5e-6
}
EXACT_CASES: dict[str, dict[str, Any]] = {
    "b1=.5": {"b1": 0.5},  # 2.8e-6
    "b1=0": {"b1": 0.0},  # 2.8e-6
    "nesterov": {"nesterov": True},  # 2.4e-6
    "eps=1e-30": {"eps": 1e-30},  # 4.3e-6
}
# The size of the gradients, where eps is 1e-8.
NEAR_EPS: dict[str, tuple[float, dict[str, Any]]] = {
    "b2=.999": (1e-8, {}),  # 2.2e-6
    "b2=.95 a tenth": (1e-9, {"b2": 0.95}),  # 6.6e-6
    "b2=.95": (1e-8, {"b2": 0.95}),  # 4.9e-6
    "b2=.95 ten times": (1e-7, {"b2": 0.95}),  # 7.6e-6
    "b2=.95 a hundred times": (1e-6, {"b2": 0.95}),  # 1.1e-5
    "b2=.95 decay": (1e-8, {"b2": 0.95, "weight_decay": 0.1}),  # 5.0e-6
    "b2=.95 eps_hat": (1e-8, {"b2": 0.95, "eps_hat": True}),  # 4.9e-6
    "b2=.99 b1=.95": (1e-8, {"b1": 0.95, "b2": 0.99}),  # 1.5e-6
    "b2=.9 b1=.8": (1e-8, {"b1": 0.8, "b2": 0.9}),  # 4.5e-6
}


def each(names: Iterable[str]) -> list[Any]:
    """The first by default, the others in the full suite."""
    first, *others = names
    return [first, *full(others, "2,000 steps")]


def check_dense_result(mode: str, given: Problem, tolerance: float, **options: Any) -> None:
    expected = oracles.dense(given.table, given.steps, learning_rate, **options)
    assert error(given, expected, *run(mode, given, **options)) <= tolerance


@pytest.mark.full("2,000 steps")
@pytest.mark.parametrize("name", CASES)
def test_dense_is_dense(name: str) -> None:
    check_dense_result("dense", problem(), 2e-5, **CASES[name])


@pytest.mark.parametrize("name", each(CASES | EXACT_CASES))
def test_exact_is_dense(name: str) -> None:
    check_dense_result("exact", problem(), 2e-5, **(CASES | EXACT_CASES)[name])


@pytest.mark.full("2,000 steps")
@pytest.mark.parametrize("name", NEAR_EPS)
def test_exact_is_dense_with_gradients_near_eps(name: str) -> None:
    scale, options = NEAR_EPS[name]
    check_dense_result("exact", problem(scale, size=0.1), 2e-5, **options)


@pytest.mark.full("2,000 steps")
def test_equal_decay_rates_near_eps() -> None:
    # The y_i grow as fast as the w_i shrink, so that their mean grows with every step: 1.1e-4.
    check_dense_result("exact", problem(1e-8, size=0.1), 2e-4, b1=0.9, b2=0.9)


@pytest.mark.full("2,000 steps")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])  # 5.1e-6, 4.5e-7
def test_every_row_is_computed_in_time(
    weight_decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many rows are not touched for longer than 24 steps are remembered.
    monkeypatch.setattr(exact, "_AGES", 24)
    check_dense_result("exact", problem(), 2e-5, weight_decay=weight_decay)


@pytest.mark.full("2,000 steps")
@pytest.mark.parametrize("mode", ["dense", "exact"])
@pytest.mark.parametrize("corrected", [True, False])
def test_amsgrad(mode: str, corrected: bool) -> None:
    given = problem()
    flags = {"bias_correction_mu": corrected, "bias_correction_nu": corrected}
    expected = oracles.dense(given.table, given.steps, learning_rate, amsgrad=True, **flags)
    # dense 1.0e-5 and 4.2e-6, exact 4.0e-6 and 1.8e-6
    assert error(given, expected, *run(mode, given, core=adamx.scale_by_amsgrad, **flags)) <= 2e-5


# 3.0e-6, 4.7e-6, 2.4e-6, 4.1e-6, and with decay 1.1e-6 to 1.4e-6.
@pytest.mark.full("2,000 steps")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("b2", [0.999, 0.95])
@pytest.mark.parametrize(
    ("mode", "oracle"),
    [("lazy", oracles.lazy), ("rowwise", oracles.rowwise), ("counted", oracles.counted)],
    ids=["lazy", "rowwise", "counted"],
)
def test_touched_rows_only(
    mode: str, oracle: Callable[..., np.ndarray], b2: float, weight_decay: float
) -> None:
    given = problem()
    expected = oracle(given.table, given.steps, learning_rate, weight_decay, b2=b2)
    assert error(given, expected, *run(mode, given, weight_decay, b2=b2)) <= 2e-5


def test_lazy_is_something_else() -> None:
    given = problem()
    expected = oracles.dense(given.table, given.steps, learning_rate)
    lazy = oracles.lazy(given.table, given.steps, learning_rate)
    assert np.abs(lazy - expected).max() > 0.02 * np.abs(expected - given.table).max()
