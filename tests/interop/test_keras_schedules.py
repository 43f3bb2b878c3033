"""The schedules of Keras 3 under their own names and in their own words, live."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np
import pytest

import adamx
from adamx.interop import keras as ours

os.environ.setdefault("KERAS_BACKEND", "jax")
theirs = pytest.importorskip("keras", reason="compares with Keras 3 on its JAX backend")
if theirs.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

COUNTS = np.arange(60, dtype=np.int32)
CASES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.5}),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.5, "staircase": True},
    ),
    ("InverseTimeDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.5}),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.5, "staircase": True},
    ),
    ("PiecewiseConstantDecay", {"boundaries": [10, 30], "values": [0.4, 0.0, 0.2]}),
    ("PiecewiseConstantDecay", {"boundaries": [2.5], "values": [0.4, 0.1]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.7, "decay_steps": 20}),
    (
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.7,
            "decay_steps": 8,
            "end_learning_rate": 0.1,
            "power": 2.0,
            "cycle": True,
        },
    ),
    ("CosineDecay", {"initial_learning_rate": 0.3, "decay_steps": 30, "alpha": 0.1}),
    (
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 30,
            "alpha": 0.1,
            "warmup_target": 0.3,
            "warmup_steps": 8,
        },
    ),
    (
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 30,
            "warmup_target": 0.3,
            "warmup_steps": 0,
        },
    ),
    # Theirs ignores `warmup_steps` without a `warmup_target`.
    ("CosineDecay", {"initial_learning_rate": 0.3, "decay_steps": 30, "warmup_steps": 8}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.3, "first_decay_steps": 5}),
    (
        "CosineDecayRestarts",
        {
            "initial_learning_rate": 0.3,
            "first_decay_steps": 8,
            "t_mul": 1.5,
            "m_mul": 0.8,
            "alpha": 0.1,
        },
    ),
]


@pytest.mark.parametrize(("name", "config"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_its_values_are_those_of_keras(name: str, config: dict[str, Any]) -> None:
    other = getattr(theirs.optimizers.schedules, name)(**config)
    schedule = ours.schedule(name, **config)
    expected = np.asarray(jax.jit(jax.vmap(other))(COUNTS), np.float64)
    actual = np.asarray(jax.jit(jax.vmap(schedule))(COUNTS), np.float64)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * expected.max())


@pytest.mark.parametrize(("name", "config"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_it_is_the_configuration_of_keras(name: str, config: dict[str, Any]) -> None:
    other = getattr(theirs.optimizers.schedules, name)(**config)
    serialised = theirs.optimizers.schedules.serialize(other)
    tx = ours.Adam(serialised)
    assert ours.get_config(tx)["learning_rate"] == serialised
    assert ours.Adam(other) == tx
    assert adamx.from_config(adamx.get_config(tx)) == tx
    back = theirs.optimizers.schedules.deserialize(serialised)
    assert back.get_config() == other.get_config()


def test_at_a_boundary_the_old_value_still_holds() -> None:
    schedule = ours.schedule("PiecewiseConstantDecay", boundaries=[10], values=[0.4, 0.1])
    np.testing.assert_allclose([schedule(t) for t in (9, 10, 11)], [0.4, 0.4, 0.1])


@pytest.mark.parametrize(
    ("boundaries", "values"),
    [([1, 2], [0.1, 0.2]), ([2, 1], [0.1, 0.2, 0.3]), ([], [])],
    ids=["too few values", "not increasing", "no values"],
)
def test_boundaries_and_values_fit(boundaries: Any, values: Any) -> None:
    with pytest.raises(ValueError, match="`boundaries` must increase and `values` be one more"):
        ours.schedule("PiecewiseConstantDecay", boundaries=boundaries, values=values)


def test_it_is_a_value() -> None:
    one, same = (
        ours.schedule("CosineDecay", initial_learning_rate=0.1, decay_steps=10) for _ in range(2)
    )
    assert one == same
    assert hash(one) == hash(same)
    assert one != ours.schedule("CosineDecay", initial_learning_rate=0.1, decay_steps=11)
    assert "CosineDecay" in repr(one)
    with pytest.raises(ValueError, match="one of ExponentialDecay"):
        ours.schedule("StepLR", initial_learning_rate=0.1)
