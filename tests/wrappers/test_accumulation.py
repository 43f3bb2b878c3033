"""k micro-batches make the step of one big batch, and nothing happens in between."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.array([0.5, -0.25])}
RECIPE = adamx.chain(
    adamx.clip_by_global_norm(1.0), adamx.adamw(0.05, weight_decay=0.1), adamx.ema_params(0.9)
)


def loss(params, x):
    # In full float32: a GPU's shorter products depend on the size of the batch.
    product = jnp.matmul(x, params["w"].T, precision="highest")
    return jnp.mean((product + params["b"] - 1.0) ** 2)


def data(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, 3)), jnp.float32)


def test_eight_micro_batches_equal_one_big_batch():
    tx = adamx.multi_steps(RECIPE, 8)
    x = data(5 * 64)

    @jax.jit
    def micro(carry, batch):
        params, state = carry
        return tx.step(jax.grad(loss)(params, batch), state, params), None

    @jax.jit
    def big(carry, batch):
        params, state = carry
        return RECIPE.step(jax.grad(loss)(params, batch), state, params), None

    (params, state), _ = jax.lax.scan(micro, (PARAMS, tx.init(PARAMS)), x.reshape(40, 8, 3))
    (expected, big_state), _ = jax.lax.scan(big, (PARAMS, RECIPE.init(PARAMS)), x.reshape(5, 64, 3))
    chex.assert_trees_all_close(params, expected, rtol=1e-6, atol=1e-6)
    chex.assert_trees_all_close(state.inner_opt_state, big_state, rtol=1e-5, atol=1e-6)
    assert (int(state.gradient_step), int(state.mini_step)) == (5, 0)


def test_between_steps_nothing_moves():
    tx = adamx.multi_steps(RECIPE, 3)
    state = tx.init(PARAMS)
    grads = jax.grad(loss)(PARAMS, data(4))
    updates, after = tx.update(grads, state, PARAMS)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, PARAMS))
    chex.assert_trees_all_equal(after.inner_opt_state, state.inner_opt_state)
    chex.assert_trees_all_equal(after.acc_grads, grads)


def test_sum_instead_of_mean():
    tx = adamx.multi_steps(adamx.scale(-1.0), 4, use_grad_mean=False)
    params, state = jnp.array(0.0), tx.init(jnp.array(0.0))
    for g in (1.0, 2.0, 3.0, 4.0):
        params, state = tx.step(jnp.array(g), state, params)
    assert float(params) == -10.0


def test_a_scheduled_k_and_optax_agree():
    def schedule(step):
        return jnp.where(step < 2, 1, 3)

    ours = adamx.multi_steps(adamx.adam(0.1), schedule)
    theirs = optax.MultiSteps(adamx.adam(0.1), schedule)
    a, b = PARAMS, PARAMS
    sa, sb = ours.init(a), theirs.init(b)
    step = jax.jit(lambda p, s, g: ours.step(g, s, p))
    for i in range(11):
        grads = jax.grad(loss)(PARAMS, data(4, seed=i))
        a, sa = step(a, sa, grads)
        updates, sb = theirs.update(grads, sb, b)
        b = optax.apply_updates(b, updates)
        chex.assert_trees_all_close(a, b, rtol=2e-6, atol=2e-6)
        assert int(sa.gradient_step) == int(sb.gradient_step)


def test_half_precision_gradients_are_added_in_float32():
    tx = adamx.multi_steps(adamx.scale(-1.0), 64, use_grad_mean=False)
    params = jnp.zeros((), jnp.bfloat16)
    state = tx.init(params)
    assert state.acc_grads.dtype == jnp.float32
    step = jax.jit(lambda p, s, g: tx.step(g, s, p))
    for g in [256.0] + 62 * [1.0]:
        params, state = step(params, state, jnp.asarray(g, jnp.bfloat16))
    assert float(state.acc_grads) == 318.0  # bfloat16 would have stayed at 256


def test_a_bad_micro_batch_does_not_outlive_its_step():
    tx = adamx.multi_steps(adamx.apply_if_finite(adamx.adam(0.1)), 2)
    step = jax.jit(lambda p, s, g: tx.step(g, s, p))
    params, state = jnp.ones(2), tx.init(jnp.ones(2))
    for g in (jnp.full(2, jnp.nan), jnp.ones(2)):
        params, state = step(params, state, g)
    chex.assert_trees_all_equal(params, jnp.ones(2))
    for g in (jnp.ones(2), jnp.ones(2)):
        params, state = step(params, state, g)
    chex.assert_trees_all_close(params, jnp.full(2, 0.9), rtol=1e-6)


def test_a_parameter_without_gradient_is_left_alone():
    tx = adamx.multi_steps(adamx.adamw(0.1, weight_decay=0.5), 2)
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    state = tx.init(params)
    for _ in range(2):
        params, state = tx.step({"a": jnp.ones(2), "b": None}, state, params)
    chex.assert_trees_all_equal(params["b"], jnp.ones(2))


def test_the_inner_update_runs_under_a_conditional():
    tx = adamx.multi_steps(RECIPE, 8)
    grads = PARAMS

    def step(params, state):
        return tx.step(grads, state, params)

    outside = [
        equation.primitive.name
        for equation in jax.make_jaxpr(step)(PARAMS, tx.init(PARAMS)).jaxpr.eqns
    ]
    assert outside.count("cond") == 1
    assert not {"sqrt", "div"} & set(outside)
    compiled = jax.jit(step).lower(PARAMS, tx.init(PARAMS)).compile().as_text()
    assert "conditional(" in compiled


@pytest.mark.parametrize(
    ("k", "error"),
    [(0, ValueError), (-1, ValueError), (2**31, ValueError), (2.0, TypeError), ("2", TypeError)],
)
def test_bad_k(k, error):
    with pytest.raises(error, match="every_k_schedule"):
        adamx.multi_steps(adamx.adam(0.1), k)
