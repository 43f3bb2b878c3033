"""The train-step maker: what it returns, what it donates, how often it traces."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import adamx

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
Y = jnp.arange(4.0)


def loss(w, x, y):
    return jnp.mean((x @ w - y) ** 2)


def test_it_is_the_step_written_by_hand():
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(0.1))
    w = jnp.zeros(3)
    step = adamx.make_step(loss, tx, donate=False)
    new_w, state, value = step(w, tx.init(w), X, Y)
    expected, expected_state = tx.step(jax.grad(loss)(w, X, Y), tx.init(w), w)
    chex.assert_trees_all_close((new_w, state), (expected, expected_state), rtol=1e-6)
    chex.assert_trees_all_close(value, loss(w, X, Y), rtol=1e-6)


def test_aux_comes_back():
    tx = adamx.adam(0.1)
    step = adamx.make_step(lambda w, x, y: (loss(w, x, y), x @ w), tx, has_aux=True)
    w = jnp.zeros(3)
    *_, value, prediction = step(w, tx.init(w), X, Y)
    assert value.shape == ()
    chex.assert_trees_all_equal(prediction, jnp.zeros(4))


def test_it_traces_once_and_donates():
    traces = []

    def counted(w, x, y):
        traces.append(None)
        return loss(w, x, y)

    tx = adamx.adam(0.1)
    step = adamx.make_step(counted, tx)
    w, state = jnp.zeros(3), tx.init(jnp.zeros(3))
    first = w
    for _ in range(3):
        w, state, _ = step(w, state, X, Y)
    assert len(traces) == 1
    assert first.is_deleted()


def test_gradients_are_averaged_over_the_axis():
    tx = adamx.adam(0.1)
    step = adamx.make_step(loss, tx, axis_name="device", donate=False)
    w = jnp.zeros(3)
    mapped = jax.vmap(step, in_axes=(None, None, 0, 0), axis_name="device")
    new_w, _, value = mapped(w, tx.init(w), X.reshape(2, 2, 3), Y.reshape(2, 2))
    expected, _, whole = adamx.make_step(loss, tx, donate=False)(w, tx.init(w), X, Y)
    chex.assert_trees_all_close(new_w[0], expected, rtol=1e-6)
    chex.assert_trees_all_close(value[1], whole, rtol=1e-6)


def test_integer_parameters_stay():
    tx = adamx.adam(0.1)
    params = {"w": jnp.zeros(3), "n": jnp.arange(2)}
    step = adamx.make_step(lambda p, x, y: loss(p["w"], x, y), tx, donate=False)
    new, _, _ = step(params, tx.init(params), X, Y)
    chex.assert_trees_all_equal(new["n"], params["n"])


@pytest.mark.parametrize(
    ("loss_fn", "tx", "text"),
    [(3, adamx.adam(0.1), "loss_fn"), (loss, optax.adam(0.1), "adamx.chain")],
)
def test_bad_input(loss_fn, tx, text):
    with pytest.raises(TypeError, match=text):
        adamx.make_step(loss_fn, tx)


@pytest.mark.parametrize(
    ("returned", "has_aux", "got"),
    [
        (lambda loss: None, False, "got None; if"),
        (lambda loss: loss * X, False, r"got float32\[4, 3\]; if something .* `has_aux=True`"),
        (lambda loss: (loss, 1), False, "got a tuple; if something comes with it"),
        (lambda loss: loss * 1j, False, r"got complex64\[\]"),
        (lambda loss: 1, False, r"got int32\[\]"),
        (lambda loss: "a", False, "got a str"),
        (lambda loss: (loss * X, 1), True, r"got float32\[4, 3\]\n"),
        (lambda loss: loss, True, r"`loss_fn` must return `\(loss, aux\)`, got float32\[\]"),
    ],
)
def test_a_loss_is_a_real_number(returned, has_aux, got):
    tx, w = adamx.adam(0.1), jnp.zeros(3)
    step = adamx.make_step(lambda *args: returned(loss(*args)), tx, has_aux=has_aux)
    with pytest.raises(TypeError, match=got):
        step(w, tx.init(w), X, Y)


def test_a_state_in_the_place_of_parameters_is_told():
    tx, w = adamx.adam(0.1), jnp.zeros(3)
    with pytest.raises(TypeError, match=r"takes `\(params, state, \*batch\)`, .* swapped\?"):
        adamx.make_step(loss, tx)(tx.init(w), w, X, Y)


@pytest.mark.parametrize("tables", ["w", ["w"], {"w": None}])
def test_tables_are_checked_when_the_step_is_made(tables):
    with pytest.raises(TypeError, match="make_step: `tables` must be a dict from patterns"):
        adamx.make_step(loss, adamx.adam(0.1), tables=tables)


def test_a_model_with_functions_in_it_is_refused():
    tx, w = adamx.adam(0.1), jnp.zeros(3)
    step = adamx.make_step(lambda model, x, y: loss(model["w"], x, y), tx)
    wanted = r"parameters at \['f'\], expected arrays, got relu .*`eqx.partition`"
    with pytest.raises(TypeError, match=wanted):
        step({"w": w, "f": jax.nn.relu}, tx.init({"w": w}), X, Y)
