"""Half-precision parameters: moments in float32 unless asked otherwise, and never a NaN.

A bfloat16 second moment with b2 = 0.999 stops growing after a few steps, because each increment is
below half a unit in its last place; and a float16 eps of 1e-8 is zero, which turns a zero gradient
into 0/0. Both follow from letting the moments inherit the parameters' dtype.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

from .cases import NAMES

HALF = [jnp.bfloat16, jnp.float16]
half = pytest.mark.parametrize("dtype", HALF, ids=lambda dtype: dtype.__name__)
every_name = pytest.mark.parametrize("name", NAMES)


def moment(state: Any, field: str) -> jax.Array:
    """A moment of an optimizer whose parameters are a single array."""
    return optax.tree_utils.tree_get(state, field)


@half
@pytest.mark.parametrize("field", ["mu", "nu"])
@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "nadamw"])
def test_moments_are_float32_by_default(name: str, field: str, dtype: Any) -> None:
    tx = getattr(adamx, name)(1e-3)
    params = jnp.ones(3, dtype)
    state = tx.init(params)
    assert moment(state, field).dtype == jnp.float32
    _, state = tx.update(params, state, params)
    assert moment(state, field).dtype == jnp.float32


def test_second_moment_keeps_growing_under_bfloat16_parameters() -> None:
    """After 3000 unit gradients nu is 1 - 0.999**3000, about 0.950."""
    tx = adamx.adam(1e-3, b2=0.999)
    params = jnp.ones(4, jnp.bfloat16)

    def step(state: Any, _: None) -> tuple[Any, None]:
        return tx.update(jnp.ones_like(params), state, params)[1], None

    state, _ = jax.jit(lambda s: jax.lax.scan(step, s, None, length=3000))(tx.init(params))
    np.testing.assert_allclose(moment(state, "nu"), 1 - 0.999**3000, rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "nadamw"])
def test_mu_dtype_stores_bfloat16_and_decays_by_the_exact_b1(name: str) -> None:
    """With zero gradients each step is one product by 0.9, rounded once to bfloat16.

    In bfloat16 arithmetic the factor itself would be 0.8984, which 30 steps turn into 5%.
    """
    tx = getattr(adamx, name)(1e-3, b1=0.9, mu_dtype=jnp.bfloat16)
    params = jnp.ones(64)
    gradient = jnp.linspace(0.5, 2.0, 64)
    _, state = tx.update(gradient, tx.init(params), params)
    expected = np.asarray(moment(state, "mu"))
    np.testing.assert_array_equal(
        expected, (np.float32(0.1) * np.asarray(gradient)).astype(jnp.bfloat16)
    )
    step = jax.jit(tx.update)
    for _ in range(30):
        _, state = step(jnp.zeros(64), state, params)
        expected = (np.float32(0.9) * expected.astype(np.float32)).astype(jnp.bfloat16)
        assert moment(state, "mu").dtype == jnp.bfloat16
        np.testing.assert_array_equal(np.asarray(moment(state, "mu")), expected)


@pytest.mark.parametrize("stored", [jnp.bfloat16, jnp.float32], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("param", [jnp.bfloat16, jnp.float32], ids=lambda dtype: dtype.__name__)
def test_nu_dtype_is_the_storage_of_the_second_moment(param: Any, stored: Any) -> None:
    tx = adamx.adam(1e-3, nu_dtype=stored)
    params = jnp.ones(3, param)
    state = tx.init(params)
    assert moment(state, "nu").dtype == stored
    updates, state = tx.update(params, state, params)
    assert (moment(state, "nu").dtype, updates.dtype) == (stored, param)
    assert moment(state, "mu").dtype == jnp.float32
    np.testing.assert_allclose(np.float32(updates), -1e-3, rtol=5e-3)


@half
@every_name
def test_zero_gradient_moves_nothing_and_makes_no_nan(name: str, dtype: Any) -> None:
    tx = getattr(adamx, name)(1e-3)
    params = jnp.asarray([0.0, 1.0, -2.0], dtype)
    state, moved = tx.init(params), params
    for _ in range(3):
        updates, state = tx.update(jnp.zeros_like(params), state, moved)
        assert updates.dtype == dtype
        assert jnp.isfinite(updates).all()
        moved = adamx.apply_updates(moved, updates)
    for leaf in jax.tree.leaves(state):
        assert jnp.isfinite(leaf).all()
    # the default decay of 1e-4 and Yogi's initial momentum are far below one part in a hundred
    np.testing.assert_allclose(np.float32(moved), np.float32(params), rtol=0.01, atol=0.01)


@every_name
def test_updates_come_back_in_each_parameter_s_dtype(name: str) -> None:
    params = {dtype.__name__: jnp.ones(3, dtype) for dtype in (*HALF, jnp.float32)}
    tx = getattr(adamx, name)(1e-3)
    state = tx.init(params)
    for grads in (params, jax.tree.map(jnp.float32, params)):
        updates, state = tx.update(grads, state, params)
        assert {key: leaf.dtype for key, leaf in updates.items()} == {
            key: leaf.dtype for key, leaf in params.items()
        }
