"""`eval_params` finds the one average in a state, however deep, and guesses nothing."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

PARAMS = {"w": jnp.ones(2)}


def test_finds_the_average_inside_other_states() -> None:
    inner = adamx.named_chain(("core", adamx.chain(adamx.scale(-1.0), adamx.ema_params(0.5))))
    tx = optax.apply_if_finite(optax.chain(inner), 1)
    state = tx.init(PARAMS)
    updates, state = tx.update({"w": jnp.array([1.0, -3.0])}, state, PARAMS)
    averaged = adamx.eval_params(state, optax.apply_updates(PARAMS, updates))
    np.testing.assert_array_equal(averaged["w"], [0.5, 2.5])


def test_no_average_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"add `ema_params` to the chain\), found none"):
        adamx.eval_params(adamx.adam(0.1).init(PARAMS), PARAMS)


def test_two_averages_are_an_error() -> None:
    tx = adamx.chain(adamx.ema_params(0.5), adamx.ema_params(0.9))
    with pytest.raises(ValueError, match="found EmaParamsState, EmaParamsState"):
        adamx.eval_params(tx.init(PARAMS), PARAMS)


def test_before_the_first_step_it_is_the_parameters() -> None:
    for tx in (adamx.ema_params(0.9), adamx.ema_params(0.9, True), adamx.schedule_free_adamw()):
        np.testing.assert_allclose(adamx.eval_params(tx.init(PARAMS), PARAMS)["w"], PARAMS["w"])


def test_comes_in_the_parameters_dtype() -> None:
    params = {"w": jnp.ones(2, jnp.bfloat16), "n": jnp.arange(2), "none": None}
    averaged = adamx.eval_params(adamx.ema_params(0.9).init(params), params)
    assert averaged["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(averaged["n"], params["n"])
    assert averaged["none"] is None
