"""Averages of the parameters against their definitions in float64."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

STEPS = 17
RNG = np.random.default_rng(0)
START = {"w": RNG.normal(size=(2, 3)), "b": RNG.normal(size=2)}
MOVES = [jax.tree.map(lambda p: RNG.normal(size=p.shape), START) for _ in range(STEPS)]


def trajectory():
    """The parameters before and after every step."""
    path = [START]
    for move in MOVES:
        path.append(jax.tree.map(np.add, path[-1], move))
    return path


def run(average, dtype=jnp.float32):
    tx = adamx.chain(adamx.scale(1.0), average)

    def cast(tree):
        return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)

    params = cast(START)
    state = tx.init(params)
    step = jax.jit(lambda p, s, g: tx.step(g, s, p))
    for move in MOVES:
        params, state = step(params, state, cast(move))
    return params, state


def reference(decay, *, debias=False, start_step=0, every=1):
    path = trajectory()
    ema = jax.tree.map(np.zeros_like, START) if debias else START
    weight = 0.0 if debias else 1.0
    for t, p in enumerate(path[1:]):
        d = decay(t) if callable(decay) else decay
        if t < start_step:
            d = 0.0
        elif (t - start_step) % every:
            d = 1.0
        ema = jax.tree.map(lambda e, x, d=d: d * e + (1 - d) * x, ema, p)
        weight = d * weight + (1 - d)
    return jax.tree.map(lambda e: e / weight, ema)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"debias": True},
        {"start_step": 5},
        {"every": 4},
        {"start_step": 3, "every": 4, "debias": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "decay", [0.9, lambda t: 1.0 - 1.0 / (t + 2.0)], ids=["number", "schedule"]
)
def test_ema_against_its_definition(decay, options):
    params, state = run(adamx.ema_params(decay, **options))
    averaged = adamx.eval_params(state, params)
    chex.assert_trees_all_close(averaged, reference(decay, **options), rtol=2e-6, atol=2e-6)
    chex.assert_trees_all_close(params, trajectory()[-1], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("start", "every"), [(0, 1), (6, 1), (4, 3)])
def test_mean_params_is_the_plain_mean(start, every):
    params, state = run(adamx.mean_params(start, every))
    counted = trajectory()[1:][start::every]
    expected = jax.tree.map(lambda *xs: np.mean(xs, axis=0), *counted)
    averaged = adamx.eval_params(state, params)
    chex.assert_trees_all_close(averaged, expected, rtol=2e-6, atol=2e-6)


def test_overwriting_replaces_the_parameters_by_their_average():
    """tf.keras: the average moves after the step, then overwrites at multiples of the frequency."""
    params, _ = run(adamx.ema_params(0.8, overwrite_every=5))
    p, ema = START, START
    for t, move in enumerate(MOVES):
        p = jax.tree.map(np.add, p, move)
        ema = jax.tree.map(lambda e, x: 0.8 * e + 0.2 * x, ema, p)
        if (t + 1) % 5 == 0:
            p = ema
    chex.assert_trees_all_close(params, p, rtol=2e-6, atol=2e-6)


def test_the_accumulator_of_16_bit_parameters_is_float32():
    params, state = run(adamx.ema_params(0.999), jnp.bfloat16)
    ema = state[-1].ema
    assert {x.dtype for x in jax.tree.leaves(ema)} == {jnp.dtype(jnp.float32)}
    averaged = adamx.eval_params(state, params)
    assert {x.dtype for x in jax.tree.leaves(averaged)} == {jnp.dtype(jnp.bfloat16)}
    # 0.999 * 1 + 0.001 * 2 would round back to 1 in bfloat16.
    tx = adamx.ema_params(0.999)
    one = jnp.ones((), jnp.bfloat16)
    _, state = tx.update(one, tx.init(one), one)
    np.testing.assert_allclose(float(state.ema), 1.001, rtol=1e-6)


def test_a_mask_leaves_the_others_as_they_are():
    params, state = run(adamx.ema_params(0.9, mask={"w": True, "b": False}))
    averaged = adamx.eval_params(state, params)
    chex.assert_trees_all_equal(averaged["b"], params["b"])
    expected = reference(0.9)["w"]
    chex.assert_trees_all_close(averaged["w"], expected, rtol=2e-6, atol=2e-6)
    assert state[-1].ema["b"] is None


def test_evaluation_costs_the_run_nothing():
    """Reading the average leaves parameters and state as they are, to the bit."""
    params, state = run(adamx.ema_params(0.9))
    before = jax.tree.map(np.array, (params, state))
    adamx.eval_params(state, params)
    chex.assert_trees_all_equal((params, state), before)


@pytest.mark.parametrize("only_updated", [False, True])
def test_a_leaf_without_an_update(only_updated):
    """Its average goes on toward it, or stays with `only_updated`."""
    tx = adamx.chain(adamx.scale(-1.0), adamx.ema_params(0.5, only_updated=only_updated))
    params, state = {"w": jnp.array(4.0)}, tx.init({"w": jnp.array(4.0)})
    averages = []
    for update in (jnp.array(2.0), None, None):
        params, state = tx.step({"w": update}, state, params)
        averages.append(float(adamx.eval_params(state, params)["w"]))
    assert averages == ([3.0, 3.0, 3.0] if only_updated else [3.0, 2.5, 2.25])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: adamx.ema_params(1.0), ValueError, r"decay.*\[0, 1\)"),
        (lambda: adamx.ema_params("0.9"), TypeError, "decay"),
        (lambda: adamx.ema_params(0.9, every=0), ValueError, "every"),
        (lambda: adamx.ema_params(0.9, start_step=-1), ValueError, "start_step"),
        (lambda: adamx.ema_params(0.9, overwrite_every=0), ValueError, "overwrite_every"),
        (lambda: adamx.ema_params(0.9, mask={"w": 2}), TypeError, "mask"),
        (lambda: adamx.mean_params(every=2.5), TypeError, "every"),
        (lambda: adamx.ema_params(0.9, True, only_updated=True), ValueError, "only_updated"),
    ],
)
def test_bad_input(make, error, text):
    with pytest.raises(error, match=text):
        make()
