"""The oracles are right: each one agrees with optax run in float64 to nearly machine precision.

Two independent programs that agree to 1e-10 over 25 steps implement the same mathematics, which is
what lets the float32 tests elsewhere blame rounding, and only rounding, for what they measure.
"""

import itertools

import jax
import numpy as np
import optax
import pytest

from tests.adam.cases import SHARED
from tests.adam.support import REGIMES, Case, data, distance, oracle, run
from tests.oracles import family
from tests.selection import one_in
from tests.versions import enable_x64

TOLERANCE = 1e-10


@pytest.mark.parametrize(
    ("case", "regime"),
    one_in(9, itertools.product(SHARED, REGIMES), "every case in every regime"),
    ids=str,
)
def test_agrees_with_optax_in_float64(case: Case, regime: str) -> None:
    with enable_x64(True):
        theirs = run(optax, case, regime, np.float64)
    assert distance(case, regime, theirs, oracle(case, regime)).max() <= TOLERANCE


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "nadamw", "amsgrad"])
def test_both_epsilon_forms_agree_without_epsilon(name: str) -> None:
    """Reordering the computation matters only through where the constants are added."""
    params, gradients = data("normal")
    hyper = {"learning_rate": 0.1, "eps": 0.0}
    plain = family.trajectory(name, params, gradients, **hyper)
    hat = family.trajectory(name, params, gradients, eps_hat=True, **hyper)
    for a, b in zip(plain[-1], hat[-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_epsilon_hat_first_step_by_hand() -> None:
    """Section 2 of Kingma & Ba at t = 1: lr * sqrt(1 - b2) / (1 - b1) * m / (sqrt(v) + eps)."""
    ((moved,),) = family.adam(
        [np.array([1.0])], [[np.array([2.0])]], 0.1, b1=0.9, b2=0.99, eps=0.3, eps_hat=True
    )
    m, v = 0.1 * 2.0, 0.01 * 4.0
    expected = 1.0 - 0.1 * np.sqrt(0.01) / 0.1 * m / (np.sqrt(v) + 0.3)
    np.testing.assert_allclose(moved, [expected], rtol=1e-14)


def test_schedule_free_evaluation_parameters_agree_with_optax() -> None:
    hyper = {"learning_rate": 0.0625, "warmup_steps": 8, "weight_decay": 0.3}
    leaves, gradients = data("normal")
    expected = family.schedule_free_adamw_eval_params(leaves, gradients, **hyper)
    with enable_x64(True):
        tx = optax.contrib.schedule_free_adamw(**hyper)
        params = [jax.numpy.asarray(leaf, np.float64) for leaf in leaves]
        state = tx.init(params)
        for grads, exact in zip(gradients, expected, strict=True):
            updates, state = tx.update([np.float64(g) for g in grads], state, params)
            params = optax.apply_updates(params, updates)
            averaged = optax.contrib.schedule_free_eval_params(state, params)
            for a, e in zip(averaged, exact, strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-12)
