"""A guarded run is the run in which the bad batches never came, bit for bit."""

from __future__ import annotations

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.array([0.5, -0.25])}


def recipe():
    return adamx.chain(
        adamx.clip_by_global_norm(1.0),
        adamx.adamw(adamx.warmup_cosine_decay_schedule(0.0, 0.1, 5, 40), weight_decay=0.1),
        adamx.ema_params(0.9),
    )


def batches(steps, seed=0):
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), PARAMS)
        for _ in range(steps)
    ]


def run(tx, grads, through_update=False):
    @functools.partial(jax.jit)
    def step(params, state, g):
        if through_update:
            updates, state = tx.update(g, state, params)
            return adamx.apply_updates(params, updates), state
        return tx.step(g, state, params)

    params, state = PARAMS, tx.init(PARAMS)
    for g in grads:
        params, state = step(params, state, g)
    return params, state


def poisoned(grads, at, value):
    # Not by `.at`: JAX may type what that gives by the mesh of an earlier call.
    there = np.arange(6).reshape(2, 3) == 5
    return [
        {**g, "w": jnp.asarray(np.where(there, np.float32(value), g["w"]))} if i in at else g
        for i, g in enumerate(grads)
    ]


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("through_update", [False, True])
def test_bad_batches_never_came(value, through_update):
    grads = batches(20)
    at = {0, 3, 4, 11, 19}
    tx = adamx.apply_if_finite(recipe())
    params, state = run(tx, poisoned(grads, at, value), through_update)
    good = [g for i, g in enumerate(grads) if i not in at]
    expected_params, expected_state = run(tx, good, through_update)
    chex.assert_trees_all_equal(params, expected_params)
    chex.assert_trees_all_equal(state.inner_state, expected_state.inner_state)
    assert int(state.skipped_steps) == 5
    assert int(state.skipped_in_a_row) == 1


def test_optax_skips_the_same_steps():
    """Up to its limit; past it, optax lets the bad step in and adamx raises."""
    grads = poisoned(batches(12), {0, 4, 5}, jnp.nan)
    ours, state = run(adamx.apply_if_finite(adamx.adam(0.1)), grads)
    theirs, their_state = run(optax.apply_if_finite(adamx.adam(0.1), 9), grads, True)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)
    assert int(state.skipped_steps) == int(their_state.total_notfinite)


def test_a_non_finite_loss_skips_too():
    tx = adamx.apply_if_finite(adamx.adam(0.1))
    state = tx.init(PARAMS)
    params, state = tx.step(batches(1)[0], state, PARAMS, value=jnp.array(jnp.nan))
    chex.assert_trees_all_equal(params, PARAMS)
    assert adamx.metrics(state)["skipped_steps"] == 1


def test_finite_gradients_whose_squares_overflow_are_skipped():
    tx = adamx.apply_if_finite(adamx.adam(0.1))
    params = jnp.ones(2)
    stepped, _ = tx.step(jnp.array([1e30, 1.0]), tx.init(params), params)
    chex.assert_trees_all_equal(stepped, params)


def test_an_error_after_too_many_in_a_row():
    tx = adamx.apply_if_finite(adamx.adam(0.1), max_consecutive_errors=3)
    step = jax.jit(lambda p, s, g: tx.step(g, s, p))
    params, state = jnp.ones(2), tx.init(jnp.ones(2))
    bad = jnp.full(2, jnp.nan)

    def advance(gradient):
        nonlocal params, state
        params, state = step(params, state, gradient)
        adamx.check_guards(tx, state, params)

    for gradient in (bad, bad, jnp.ones(2), bad, bad, bad):
        advance(gradient)
    accepted, after = params, state
    with pytest.raises(adamx.DivergedError, match="4 steps in a row were skipped") as raised:
        advance(bad)
    chex.assert_trees_all_equal(raised.value.params, accepted)
    for call in (tx.step, tx.update):  # Without `jit`.
        with pytest.raises(FloatingPointError, match="4 steps in a row"):
            call(bad, after, accepted)


def test_make_step_raises_with_what_was_accepted_in_hand():
    tx = adamx.apply_if_finite(adamx.adam(0.1), max_consecutive_errors=1)
    step = adamx.make_step(lambda w, x: jnp.sum(w * x), tx)
    params = jnp.ones(2)
    params, state, _ = step(params, tx.init(params), jnp.ones(2))
    accepted = np.asarray(params)
    params, state, _ = step(params, state, jnp.full(2, jnp.nan))
    with pytest.raises(adamx.DivergedError) as raised:
        step(params, state, jnp.full(2, jnp.nan))
    # The arguments were donated; these are arrays that live.
    np.testing.assert_array_equal(raised.value.params, accepted)
    assert int(raised.value.state.inner_state[0].count) == 1


def test_one_device_sees_a_nan_and_all_skip():
    tx = adamx.apply_if_finite(adamx.adam(0.1), axis_name="device")
    params = jnp.ones((3, 2))
    state = jax.vmap(tx.init)(params)
    grads = jnp.ones((3, 2)).at[1, 0].set(jnp.nan)
    step = jax.vmap(lambda p, s, g: tx.step(g, s, p), axis_name="device")
    stepped, state = step(params, state, grads)
    chex.assert_trees_all_equal(stepped, params)
    assert state.skipped_steps.tolist() == [1, 1, 1]


def test_a_spike_never_came():
    """Batches whose norm is far from the usual leave no trace, not even in what is usual."""
    tx = adamx.skip_spikes(recipe(), num_std=6.0, warmup_steps=5)
    grads = batches(30)
    spikes = {8, 9, 20}
    spiky = [
        jax.tree.map(lambda x: 100.0 * x, g) if i in spikes else g for i, g in enumerate(grads)
    ]
    params, state = run(tx, spiky)
    expected, expected_state = run(tx, [g for i, g in enumerate(grads) if i not in spikes])
    chex.assert_trees_all_equal(params, expected)
    chex.assert_trees_all_equal(state.inner_state, expected_state.inner_state)
    chex.assert_trees_all_equal(state.statistics, expected_state.statistics)
    assert int(state.skipped_steps) == 3


def test_nothing_is_a_spike_during_the_warm_up():
    tx = adamx.skip_spikes(adamx.scale(-1.0), num_std=0.0, warmup_steps=4)
    params, state = jnp.zeros(()), tx.init(jnp.zeros(()))
    for g in (1.0, 100.0, 1.0, 100.0, 1e4):
        params, state = tx.step(jnp.array(g), state, params)
    assert float(params) == -202.0
    assert int(state.skipped_steps) == 1


def test_loss_scale_backs_off_and_grows():
    tx = adamx.dynamic_loss_scale(
        adamx.adam(0.1), initial_scale=8.0, growth_interval=2, growth_factor=4.0
    )
    state = tx.init(PARAMS)
    scales = []
    good = batches(1)[0]
    bad = poisoned([good], {0}, jnp.inf)[0]
    params = PARAMS
    for g in (good, good, bad, good, bad, bad):
        params, state = tx.step(g, state, params)
        scales.append(float(adamx.loss_scale(state)))
    assert scales == [8.0, 32.0, 16.0, 16.0, 8.0, 4.0]
    assert int(state.skipped_steps) == 3


def test_loss_scale_rescues_gradients_that_float16_loses():
    def loss(w, x):
        # The gradient with respect to `w` is x * x = 1e-8, below the smallest float16.
        return jnp.sum(w * x * x)

    w, x = jnp.ones(3, jnp.float16), jnp.full(3, 1e-4, jnp.float16)
    moved = {}
    for name, tx in {
        "plain": adamx.scale(-1.0),
        "scaled": adamx.dynamic_loss_scale(adamx.scale(-1e6), initial_scale=2.0**14),
    }.items():
        step = adamx.make_step(loss, tx, donate=False)
        moved[name] = step(w, tx.init(w), x)[0]
    chex.assert_trees_all_equal(moved["plain"], w)
    assert bool(jnp.all(moved["scaled"] < w))


def test_the_unscaled_gradient_is_what_inner_sees():
    # Neither is indifferent to the scale, as Adam is and a clip of what exceeds it.
    inner = adamx.chain(adamx.clip(1.0), adamx.trace(0.9), adamx.scale(-0.1))
    tx = adamx.dynamic_loss_scale(inner, initial_scale=1024.0)
    grads = batches(3)
    scaled = [jax.tree.map(lambda g: 1024.0 * g, g) for g in grads]
    chex.assert_trees_all_equal(run(tx, scaled)[0], run(inner, grads)[0])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: adamx.apply_if_finite(3), TypeError, "inner"),
        (lambda: adamx.apply_if_finite(adamx.adam(0.1), -1), ValueError, "at least 0"),
        (lambda: adamx.apply_if_finite(adamx.adam(0.1), 1.5), TypeError, "whole number"),
        (lambda: adamx.apply_if_finite(adamx.adam(0.1), axis_name=3), TypeError, "axis name"),
        (lambda: adamx.dynamic_loss_scale(adamx.adam(0.1), 0.0), ValueError, "initial_scale"),
        (lambda: adamx.skip_spikes(adamx.adam(0.1), -1.0), ValueError, "num_std"),
        (lambda: adamx.skip_spikes(adamx.adam(0.1), decay=1.0), ValueError, "decay"),
        (
            lambda: adamx.dynamic_loss_scale(adamx.adam(0.1), growth_interval=0),
            ValueError,
            "growth_interval",
        ),
        (
            lambda: adamx.dynamic_loss_scale(adamx.adam(0.1), growth_factor=0.5),
            ValueError,
            r"`growth_factor` must be in \[1, inf\)",
        ),
        # It would grow after an overflow.
        (
            lambda: adamx.dynamic_loss_scale(adamx.adam(0.1), backoff_factor=2.0),
            ValueError,
            r"`backoff_factor` must be in \(0, 1\)",
        ),
    ],
)
def test_bad_input(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_check_guards_names_the_state_of_another_optimizer():
    tx, adam = adamx.apply_if_finite(adamx.adam(0.1), 3), adamx.adam(0.1)
    for state in (adam.init(PARAMS), PARAMS, None):
        if state is not None:
            with pytest.raises(TypeError, match="apply_if_finite: the state must be the GuardSt"):
                adamx.check_guards(tx, state)
    masked = adamx.masked(tx, jax.tree.map(lambda _: True, PARAMS))
    with pytest.raises(TypeError, match="masked: the state must have the field `inner_state`"):
        adamx.check_guards(masked, adam.init(PARAMS))
    with pytest.raises(TypeError, match="call it on the host"):
        jax.jit(lambda state: adamx.check_guards(tx, state))(tx.init(PARAMS))


def test_two_loss_scales_are_refused():
    tx = adamx.dynamic_loss_scale(adamx.dynamic_loss_scale(adamx.adam(0.1)))
    with pytest.raises(ValueError, match="2 loss scales"):
        adamx.loss_scale(tx.init(PARAMS))


def conditionals(tx: adamx.GradientTransformation, platform: str) -> list[str]:
    """What the conditionals of a step ask, lowered for a platform that need not be there.

    One that asks for the platform, a constant, is gone when the program is compiled.
    """
    params = {"w": jax.ShapeDtypeStruct((64, 64), jnp.float32)}
    traced = jax.jit(tx.step).trace(params, jax.eval_shape(tx.init, params), params)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    made = dict(re.findall(r'(%\w+)(?::\d+)? = "?(?:stablehlo|call)\.?(\w+)', text))
    return [made[asked] for asked in re.findall(r'"stablehlo\.case"\((%\w+)\)', text)]


@pytest.mark.parametrize("platform", ["cuda", "rocm"])
def test_on_a_gpu_a_guarded_step_waits_for_no_conditional(platform: str) -> None:
    clipped = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3))
    guarded = adamx.apply_if_finite(clipped)
    assert set(conditionals(guarded, platform)) <= {"constant", "case"}
    assert "convert" in conditionals(guarded, "cpu")
