"""The schedules of Keras, on its JAX backend, said in our words."""

import os
from typing import Any

import jax
import numpy as np
import pytest

import adamx

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="compares with Keras 3 on its JAX backend")
if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)
theirs = keras.optimizers.schedules

TOLERANCE = 2e-6

PAIRS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "exponential": (
        theirs.ExponentialDecay(0.3, decay_steps=10, decay_rate=0.8),
        adamx.exponential_decay(0.3, 10, 0.8),
        (10, 20),
    ),
    "exponential-staircase": (
        theirs.ExponentialDecay(0.3, decay_steps=7, decay_rate=0.5, staircase=True),
        adamx.exponential_decay(0.3, 7, 0.5, staircase=True),
        (7, 14, 21),
    ),
    "piecewise-constant": (
        # Theirs is still at the old value in the step at the boundary.
        theirs.PiecewiseConstantDecay([10, 30], [0.4, 0.1, 0.2]),
        adamx.piecewise_constant_schedule(0.4, {10 + 1: 0.25, 30 + 1: 2.0}),
        (10, 30),
    ),
    "polynomial": (
        theirs.PolynomialDecay(0.7, decay_steps=64, end_learning_rate=0.01, power=2.0),
        adamx.polynomial_schedule(0.7, 0.01, 2.0, 64),
        (64,),
    ),
    "polynomial-cycle": (
        theirs.PolynomialDecay(0.7, 16, end_learning_rate=0.01, power=0.7, cycle=True),
        adamx.polynomial_schedule(0.7, 0.01, 0.7, 16, cycle=True),
        (16, 32, 48),
    ),
    "inverse-time": (
        theirs.InverseTimeDecay(0.3, decay_steps=9, decay_rate=0.5),
        adamx.inverse_time_decay(0.3, 0.5, 9),
        (9, 18),
    ),
    "inverse-time-staircase": (
        theirs.InverseTimeDecay(0.3, decay_steps=9, decay_rate=0.5, staircase=True),
        adamx.inverse_time_decay(0.3, 0.5, 9, staircase=True),
        (9, 18),
    ),
    "cosine": (
        theirs.CosineDecay(0.3, decay_steps=80, alpha=0.1),
        adamx.cosine_decay_schedule(0.3, 80, alpha=0.1),
        (80,),
    ),
    "cosine-warmup": (
        # Their decay starts after the warm-up; our `decay_steps` includes it.
        theirs.CosineDecay(0.01, decay_steps=80, alpha=0.1, warmup_target=0.3, warmup_steps=20),
        adamx.warmup_cosine_decay_schedule(0.01, 0.3, 20, 20 + 80, end_value=0.1 * 0.3),
        (20, 100),
    ),
    "cosine-warmup-without-target": (
        # Theirs ignores `warmup_steps` without a `warmup_target`.
        theirs.CosineDecay(0.3, decay_steps=80, warmup_steps=20),
        adamx.cosine_decay_schedule(0.3, 80),
        (20, 80),
    ),
    "restarts": (
        theirs.CosineDecayRestarts(0.3, first_decay_steps=12, alpha=0.1),
        adamx.cosine_restarts_schedule(0.3, 12, alpha=0.1),
        (12, 36, 84),
    ),
    "restarts-equal": (
        theirs.CosineDecayRestarts(0.3, first_decay_steps=16, t_mul=1.0, m_mul=0.8),
        adamx.cosine_restarts_schedule(0.3, 16, t_mul=1.0, m_mul=0.8),
        (16, 32, 48),
    ),
    "restarts-fractional": (
        theirs.CosineDecayRestarts(0.3, first_decay_steps=10, t_mul=1.5, m_mul=0.8),
        adamx.cosine_restarts_schedule(0.3, 10, t_mul=1.5, m_mul=0.8),
        (10, 25, 48),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_keras(name: str) -> None:
    keras_schedule, ours, boundaries = PAIRS[name]
    near = [boundary + step for boundary in boundaries for step in (-1, 0, 1)]
    counts = np.unique([*near, *range(150)]).astype(np.int32)
    expected = np.asarray(jax.jit(jax.vmap(keras_schedule))(counts), np.float64)
    actual = np.asarray(jax.jit(jax.vmap(ours))(counts), np.float64)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * expected.max())


def test_the_step_at_a_boundary_differs() -> None:
    keras_schedule = theirs.PiecewiseConstantDecay([10], [0.4, 0.1])
    ours = adamx.piecewise_constant_schedule(0.4, {10: 0.25})
    assert [float(keras_schedule(t)) for t in (9, 10, 11)] == pytest.approx([0.4, 0.4, 0.1])
    assert [float(ours(t)) for t in (9, 10, 11)] == pytest.approx([0.4, 0.1, 0.1])


@pytest.mark.parametrize(
    ("first_decay_steps", "t_mul", "start"),
    [(1000, 2.0, 8_191_000), (1024, 1.5, 2_015_768)],
)
def test_restarts_are_on_time_where_those_of_keras_are_not(
    first_decay_steps: int, t_mul: float, start: int
) -> None:
    """Theirs are found through a float32 logarithm."""
    keras_schedule = theirs.CosineDecayRestarts(1.0, first_decay_steps, t_mul=t_mul)
    ours = adamx.cosine_restarts_schedule(1.0, first_decay_steps, t_mul)
    exact = [0.0, 1.0]
    assert [float(ours(t)) for t in (start - 1, start)] == pytest.approx(exact, abs=1e-3)
    assert [float(keras_schedule(t)) for t in (start - 1, start)] != pytest.approx(exact, abs=0.5)
