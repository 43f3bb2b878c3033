"""Mode `counted`: every row is as a parameter of its own that is there in its own steps only."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.contract.support import precision
from tests.oracles import sparse as oracles
from tests.selection import one_in

V, D, STEPS = 5, 3, 12
INNER = {
    "adam": adamx.adam(0.1, eps_hat=True),
    "nesterov": adamx.adam(0.1, nesterov=True, b2=0.9),
    "adamw": adamx.adamw(0.1, weight_decay=0.1),
    "adabelief": adamx.adabelief(0.1),
    "yogi": adamx.yogi(0.1),
    "adamax": adamx.adamax(0.1),
    "radam": adamx.radam(0.1, b2=0.9),
}


def steps() -> list[tuple[np.ndarray, np.ndarray]]:
    """The last row is first read in the last step."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, V - 1, (STEPS, 4))
    ids[-1, 0] = V - 1
    return [(i, rng.normal(size=(4, D))) for i in ids]


def run(tx: Any) -> list[np.ndarray]:
    table = jnp.ones((V, D))
    state, seen = tx.init(table), [np.asarray(table)]
    for ids, values in steps():
        rows = adamx.SparseRows(jnp.asarray(ids), jnp.asarray(values, table.dtype), V)
        table, state = tx.step(rows, state, table)
        seen.append(np.asarray(table))
    return seen


@pytest.mark.parametrize("name", one_in(4, INNER, "every member"))
def test_every_row_is_a_parameter_of_its_own(name: str) -> None:
    tx = INNER[name]
    with precision("float64"):
        trajectory = run(adamx.sparse.rows(tx, "counted"))
        for row in range(V):
            p = jnp.ones(D)
            state = tx.init(p)
            for t, (ids, values) in enumerate(steps(), 1):
                if row in ids:
                    p, state = tx.step(jnp.asarray(values[ids == row].sum(0)), state, p)
                np.testing.assert_allclose(trajectory[t][row], p, rtol=1e-12, atol=1e-13)


def test_against_the_oracle_with_a_schedule() -> None:
    rate = adamx.linear_schedule(0.1, 0.01, STEPS)
    with precision("float64"):
        found = run(adamx.sparse.adamw(rate, "counted", weight_decay=0.1, b2=0.95))
    expected = oracles.counted(
        np.ones((V, D)), steps(), lambda t: 0.1 - 0.09 * t / STEPS, 0.1, b2=0.95
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_schedules_of_the_core_go_by_all_steps() -> None:
    """b1 is 0 in the last step: its row moves by one learning rate against its gradient."""
    drop = adamx.piecewise_constant_schedule(0.9, {STEPS - 1: 0.0})
    table = run(adamx.sparse.adam(0.1, "counted", b1=drop))[-1]
    ids, values = steps()[-1]
    np.testing.assert_allclose(table[-1], 1.0 - 0.1 * np.sign(values[ids == V - 1][0]), rtol=1e-5)


def test_the_first_step_of_a_late_row_is_one_learning_rate_long() -> None:
    late = jnp.asarray(20_000, jnp.int32)
    table = jnp.zeros((V, D))
    rows = adamx.SparseRows(jnp.array([3]), jnp.ones((1, D)), V)
    for mode, length in (("counted", 0.1), ("lazy", 0.316)):
        tx = adamx.sparse.adam(0.1, mode)
        moved, _ = tx.step(rows, tx.init(table)._replace(count=late), table)
        np.testing.assert_allclose(moved[3], -length, rtol=2e-3)


def test_cores_without_two_moments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mode `counted` needs a core .* `lazy`"):
        adamx.sparse.amsgrad(0.1, "counted")
    with pytest.raises(ValueError, match="mode `counted` needs a core"):
        adamx.sparse.rows(adamx.adopt(0.1), {"table": "counted"})
