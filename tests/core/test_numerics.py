"""Scalars and norms stay exact where float16, int32 and cancellation would spoil them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.core import hyperparameter, numerics


def test_float16_norm_does_not_overflow() -> None:
    tree = {"a": jnp.full(1000, 1000.0, jnp.float16), "b": jnp.full((), 60000.0, jnp.float16)}
    norm = adamx.global_norm(tree)
    assert norm.dtype == jnp.float32
    np.testing.assert_allclose(norm, math.hypot(1000 * math.sqrt(1000), 60000), rtol=1e-3)


def test_bfloat16_norm_does_not_stall() -> None:
    """Summed in bfloat16, ones stop adding up at 256."""
    np.testing.assert_allclose(adamx.global_norm(jnp.ones(10_000, jnp.bfloat16)), 100.0, rtol=1e-6)


def test_norm_counts_floating_leaves_only() -> None:
    float0 = np.zeros(3, jax.dtypes.float0)
    tree = [jnp.array([3.0]), 4.0, jnp.arange(5), None, float0, jnp.zeros((0, 2)), True]
    assert adamx.global_norm(tree) == 5.0
    assert adamx.global_norm({}) == 0.0
    assert adamx.global_norm([jnp.arange(5), None]) == 0.0


def test_norm_of_complex_numbers_is_real() -> None:
    norm = adamx.global_norm({"a": jnp.array([3 + 4j]), "b": jnp.array(12.0)})
    assert (norm.dtype, float(norm)) == (jnp.float32, 13.0)


def test_norm_has_a_derivative_at_zero() -> None:
    np.testing.assert_array_equal(jax.grad(adamx.global_norm)(jnp.zeros(3)), 0.0)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_norm_reports_what_is_not_finite(value: float) -> None:
    norm = adamx.global_norm([jnp.ones(2), jnp.array([1.0, value])])
    np.testing.assert_array_equal(norm, value)


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_count_saturates(dtype: str) -> None:
    largest = jnp.asarray(np.iinfo(dtype).max, dtype)
    for count, expected in ((jnp.zeros((), dtype), 1), (largest - 1, largest), (largest, largest)):
        after = numerics.safe_increment(count)
        assert (after.dtype, int(after)) == (jnp.dtype(dtype), int(expected))


def test_a_step_at_the_largest_count_goes_on() -> None:
    tx = adamx.adam(adamx.cosine_decay_schedule(0.1, 10, alpha=0.5))
    params = jnp.ones(2)
    last = jnp.asarray(np.iinfo(np.int32).max)
    state = jax.tree.map(lambda x: last if x.dtype == jnp.int32 else x, tx.init(params))
    params, state = tx.step(params, state, params)
    assert np.isfinite(params).all()
    assert [int(x) for x in jax.tree.leaves(state) if x.dtype == jnp.int32] == [last, last]


@pytest.mark.parametrize("b", [0.0, 0.5, 0.9, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("count", [1, 10, 100_000])
def test_bias_correction_does_not_cancel(b: float, count: int) -> None:
    got = hyperparameter.one_minus_power(b, jnp.asarray(count))
    exact = -math.expm1(count * math.log(b)) if b else 1.0
    np.testing.assert_allclose(got, exact, rtol=3e-7)
    np.testing.assert_allclose(hyperparameter.one_minus_power(jnp.float32(0.0), count), 1.0)


@pytest.mark.parametrize(
    ("parameter", "wanted", "moment", "magnitude"),
    [
        ("float32", None, "float32", "float32"),
        ("bfloat16", None, "float32", "float32"),
        ("float16", None, "float32", "float32"),
        ("float32", "bfloat16", "bfloat16", "bfloat16"),
        ("float32", "float64", "float32", "float32"),  # without 64-bit mode
        ("complex64", None, "complex64", "float32"),
        ("complex64", "bfloat16", "complex64", "float32"),
        ("complex64", "float64", "complex64", "float32"),  # without 64-bit mode
    ],
)
def test_dtypes_of_moments(parameter: str, wanted: Any, moment: str, magnitude: str) -> None:
    params = jnp.ones(2, parameter)
    state = adamx.scale_by_adam(mu_dtype=wanted, nu_dtype=wanted).init(params)
    assert (state.mu.dtype, state.nu.dtype) == (moment, magnitude)


def test_scalars_are_at_least_float32() -> None:
    assert hyperparameter.scalar(jnp.bfloat16(0.5), "b1").dtype == jnp.float32
    assert type(hyperparameter.scalar(1, "b1")) is float
    with pytest.raises(ValueError, match=r"b1 must be a scalar inside a step, got shape \(10,\)"):
        hyperparameter.scalar(jnp.ones(10), "b1")


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32, np.complex64])
def test_a_sum_of_finite_numbers_is_finite(dtype: Any) -> None:
    """Two gradients of 3e38 would give an infinite momentum, and NaN behind it."""
    most = jnp.asarray(jnp.finfo(dtype).max, dtype)
    half, nan, inf = jnp.asarray([most / 2, np.nan, np.inf], dtype)
    np.testing.assert_array_equal(numerics.finite_sum(most, most), most)
    np.testing.assert_array_equal(numerics.finite_sum(-most, -half), -most)
    np.testing.assert_array_equal(numerics.finite_sum(half, -most), -half)
    assert np.isnan(numerics.finite_sum(nan, most))
    assert np.isinf(numerics.finite_sum(inf, -most))
