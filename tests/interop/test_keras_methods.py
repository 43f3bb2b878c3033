"""Each method of Keras's optimizers as a function: what its page promises."""

from __future__ import annotations

import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import adamx
from adamx.family.adam import ScaleByAdam
from adamx.interop import keras

SIMPLE = ("Nadam", "Adamax", "Lamb")
FACTORIES = (keras.Adam, keras.AdamW, keras.Nadam, keras.Adamax, keras.Lamb)


def params() -> dict[str, Any]:
    return {"b": jnp.array([0.5, -1.0, 2.0]), "w": jnp.array([[1.0, -2.0], [3.0, 0.5]])}


def loss(p: Any) -> Any:
    return jnp.sum(jnp.square(p["w"]) * 1.5) + jnp.sum(jnp.square(p["b"]))


def steps(tx: Any, number: int = 3) -> tuple[Any, Any]:
    p, state = params(), keras.build(tx, params())
    for _ in range(number):
        p, state = keras.minimize(tx, loss, state, p)
    return p, state


def test_the_example_of_the_page() -> None:
    """`opt = Adam(learning_rate=0.1); opt.minimize(lambda: (var1 ** 2) / 2.0, [var1])`: 9.9."""
    opt = keras.Adam(learning_rate=0.1)
    var1 = jnp.array(10.0)
    var1, state = keras.minimize(opt, lambda var1: (var1**2) / 2.0, keras.build(opt, var1), var1)
    assert float(var1) == pytest.approx(9.9, abs=1e-6)
    assert int(keras.iterations(state)) == 1


# The optimizer as a value.


@pytest.mark.parametrize("make", FACTORIES)
def test_an_optimizer_is_a_visible_chain_and_a_value(make: Any) -> None:
    tx = make(0.25, clipnorm=1.0)
    assert tx == make(0.25, clipnorm=1.0)
    assert hash(tx) == hash(make(0.25, clipnorm=1.0))
    assert tx != make(0.5, clipnorm=1.0)
    assert "clip_by_norm(max_norm=1.0)" in repr(tx)
    assert "learning_rate=0.25" in repr(tx)
    assert tx.chain.names[:2] == ("clipnorm", "core")
    assert adamx.from_config(adamx.get_config(tx)) == tx
    assert isinstance(keras.Adam().chain.links[0], ScaleByAdam)


def test_the_name_is_a_scope_of_the_compiled_program() -> None:
    tx = keras.Adam(name="my_adam")
    assert tx.name == "my_adam"
    state = tx.init(params())
    text = jax.jit(tx.step).lower(params(), state, params()).compile().as_text()
    assert "my_adam/" in text
    with pytest.raises(TypeError, match="`name` must be a string"):
        keras.Adam(name=3)  # type: ignore[arg-type]


def test_the_name_of_one_call() -> None:
    """`apply_gradients(..., name=...)` files the operations of that step under another name."""
    tx, state = keras.Adam(), keras.Adam().init(params())
    text = str(
        jax.jit(lambda g, s, p: keras.apply_gradients(tx, g, s, p, name="finetuning"))
        .lower(params(), state, params())
        .compile()
        .as_text()
    )
    assert "finetuning/" in text
    assert "jit(<lambda>)/Adam/" not in text


# Hyperparameters.


@pytest.mark.parametrize("epsilon", [1e-7, None])
def test_epsilon_is_epsilon_hat(epsilon: Any) -> None:
    """Beside the uncorrected root, where a tiny gradient shows it; None is the backend's 1e-7."""
    tx, g = keras.Adam(1.0, epsilon=epsilon), 1e-6
    update, _ = tx.update(jnp.array(g), tx.init(jnp.array(0.0)), jnp.array(0.0))
    m, v = 0.1 * g, 0.001 * g * g
    expected = np.sqrt(0.001) / 0.1 * m / (np.sqrt(v) + 1e-7)
    assert float(update) == pytest.approx(-expected, rel=1e-6)
    outside = keras.Adam(1.0, adaptive_epsilon=True)
    update, _ = outside.update(jnp.array(g), outside.init(jnp.array(0.0)), jnp.array(0.0))
    assert float(update) == pytest.approx(-g / (g + 1e-7), rel=1e-6)


@pytest.mark.parametrize("name", ["learning_rate", "beta_1", "beta_2", "epsilon"])
@pytest.mark.parametrize("kind", ["number", "array", "schedule", "dictionary", "callable"])
def test_hyperparameters_of_every_kind(name: str, kind: str) -> None:
    """All kinds with the same numbers are the same run."""
    config = {
        "class_name": "PiecewiseConstantDecay",
        "config": {"boundaries": [1], "values": [0.5, 0.5]},
    }
    value: Any = {
        "number": 0.5,
        "array": jnp.asarray(0.5),
        "schedule": adamx.constant_schedule(0.5),
        "dictionary": config,
        "callable": lambda: 0.5,
    }[kind]
    actual, state = steps(keras.Adam(**{name: value}))
    expected, _ = steps(keras.Adam(**{name: 0.5}))
    chex.assert_trees_all_close(actual, expected, rtol=1e-6)
    assert int(keras.iterations(state)) == 3


def test_callables_are_read_at_every_step() -> None:
    """Of minimize, apply_gradients and update_step, compiled or not; nothing is compiled anew."""
    now = [0.5]
    for jit_compile in (True, False):
        tx = keras.Adam(lambda: now[0], jit_compile=jit_compile)
        w = jnp.array(8.0)
        state = keras.build(tx, w)
        for rate, expected in ((0.5, 7.5), (0.25, 7.25)):
            now[0] = rate
            w, state = keras.apply_gradients(tx, jnp.array(1.0), state, w)
            assert float(w) == pytest.approx(expected, abs=1e-5)
        now[0] = 1.0
        w, state = keras.minimize(tx, lambda w: w, state, w)
        assert float(w) == pytest.approx(6.25, abs=1e-5)
        w, state = keras.update_step(tx, jnp.array(1.0), state, w)
        assert float(w) == pytest.approx(5.25, abs=1e-5)
        now[0] = 0.125
        assert float(keras.learning_rate(tx, state)) == 0.125


def test_make_step_reads_callables_too() -> None:
    now, traces = [0.5], []

    def counted(w: Any) -> Any:
        traces.append(None)
        return w

    tx = keras.Adam(lambda: now[0], beta_1=lambda: 0.5)
    step = adamx.make_step(counted, tx)
    w, state = jnp.float32(8.0), tx.init(jnp.float32(8.0))
    for rate, expected in ((0.5, 7.5), (0.25, 7.25), (1.0, 6.25)):
        now[0] = rate
        w, state, _ = step(w, state)
        assert float(w) == pytest.approx(expected, abs=1e-5)
    assert len(traces) == 1


def test_decay_and_lr() -> None:
    """lr / (1 + decay * iterations), from iteration 0, also on top of a schedule."""
    tx = keras.Adam(lr=0.5, decay=0.25)
    w, state, rates = jnp.array(8.0), keras.Adam(lr=0.5, decay=0.25).init(jnp.array(8.0)), []
    for _ in range(3):
        rates.append(float(keras.learning_rate(tx, state)))
        w, state = keras.apply_gradients(tx, jnp.array(1.0), state, w)
    np.testing.assert_allclose(rates, [0.5, 0.5 / 1.25, 0.5 / 1.5], rtol=1e-6)
    assert float(w) == pytest.approx(8.0 - sum(rates), abs=1e-5)
    halving = keras.schedule(
        "ExponentialDecay", initial_learning_rate=0.5, decay_steps=1, decay_rate=0.5
    )
    tx = keras.Adam(halving, decay=1.0)
    state = tx.init(w)
    for expected in (0.5, 0.25 / 2, 0.125 / 3):
        assert float(keras.learning_rate(tx, state)) == pytest.approx(expected, rel=1e-6)
        _, state = tx.step(jnp.array(1.0), state, w)


def test_setting_the_learning_rate() -> None:
    tx = keras.Adam(0.5, decay=0.25, gradient_accumulation_steps=2)
    _, state = steps(tx, 2)
    slower = keras.set_learning_rate(tx, 0.1)
    assert slower == keras.Adam(0.1, decay=0.25, gradient_accumulation_steps=2)
    assert jax.tree.structure(slower.init(params())) == jax.tree.structure(state)
    assert float(keras.learning_rate(keras.set_learning_rate(keras.Adam(), 0.25), None)) == 0.25
    for scheduled in (adamx.constant_schedule(0.5), lambda: 0.5):
        with pytest.raises(TypeError, match="only a number"):
            keras.set_learning_rate(keras.Adam(scheduled), 0.1)
        with pytest.raises(TypeError, match="only a number"):
            keras.set_learning_rate(keras.Adam(0.1), scheduled)
    with pytest.raises(ValueError, match="learning_rate"):
        keras.set_learning_rate(keras.Adam(0.1), -1.0)


# Around the rule.


def test_gradient_transformers_and_aggregator() -> None:
    """Functions of (gradient, variable) pairs, the aggregator first."""
    seen = []

    def aggregator(pairs: Any) -> Any:
        seen.append("aggregator")
        return [(g + 1.0, v) for g, v in pairs]

    def transformer(pairs: Any) -> Any:
        seen.append([v.shape for _, v in pairs])
        return [(2.0 * g, v) for g, v in pairs]

    tx = keras.Adam(gradient_aggregator=aggregator, gradient_transformers=[transformer])
    p, g = params(), jax.grad(loss)(params())
    expected = jax.tree.map(lambda g: 2.0 * (g + 1.0), g)
    plain = keras.Adam()
    chex.assert_trees_all_close(
        tx.step(g, tx.init(p), p)[0], plain.step(expected, plain.init(p), p)[0], rtol=1e-6
    )
    assert seen == ["aggregator", [(3,), (2, 2)]]
    seen.clear()
    tx.step({**g, "b": None}, tx.init(p), p)
    assert seen == ["aggregator", [(2, 2)]]


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda pairs: pairs[:1], ValueError),
        (lambda pairs: pairs[::-1], ValueError),
        (lambda pairs: [g for g, _ in pairs], TypeError),
        (lambda pairs: None, TypeError),
        (lambda pairs: [(g[:1], v) for g, v in pairs], ValueError),
    ],
    ids=["fewer", "another order", "no pairs", "nothing", "another shape"],
)
def test_a_transformer_returns_the_pairs_it_got(function: Any, error: Any) -> None:
    tx = keras.Adam(gradient_transformers=[function])
    with pytest.raises(error):
        tx.step(params(), tx.init(params()), params())


def test_gradients_are_summed_over_the_devices() -> None:
    """The default of the page, inside `shard_map` and `pmap`; under `jit` they are sums already."""
    tx = keras.Adam(0.5, gradient_aggregator=adamx.psum("devices"), clipvalue=10.0)

    def step(g: Any) -> Any:
        return tx.step(g, tx.init(jnp.zeros(2)), jnp.zeros(2))[1]

    grads = jnp.array([[1.0, -2.0], [3.0, 1.0]])
    state = jax.vmap(step, axis_name="devices")(grads)
    m = keras.get_slot(state, "m")
    np.testing.assert_allclose(m, np.broadcast_to(0.1 * grads.sum(0), (2, 2)), rtol=1e-6)

    def total(g: Any) -> Any:
        return keras.aggregate_gradients([(g, jnp.zeros(2))], "devices")[0][0]

    summed = jax.vmap(total, axis_name="devices")(grads)
    np.testing.assert_allclose(summed, np.broadcast_to(grads.sum(0), (2, 2)))


def test_options_of_the_first_dtensor_optimizers() -> None:
    clip = keras.GradientsClipOption(clipvalue=0.5)
    assert keras.Adam(gradients_clip_option=clip) == keras.Adam(clipvalue=0.5)
    ema = keras.EMAOption(use_ema=True, ema_momentum=0.9)
    assert keras.Adam(ema_option=ema) == keras.Adam(
        use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=100
    )
    assert keras.Adam(ema_option=keras.EMAOption()) == keras.Adam()
    with pytest.raises(ValueError, match="not both"):
        keras.Adam(clipnorm=1.0, gradients_clip_option=keras.GradientsClipOption(clipnorm=2.0))
    with pytest.raises(TypeError, match="`ema_option` must be a EMAOption"):
        keras.Adam(ema_option={"use_ema": True})  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", ["keras", "tensorflow", "legacy"])
def test_clips_by_preset(preset: str) -> None:
    """Legacy takes a value together with a norm, in this order; two norms go nowhere."""
    assert keras.Adam(preset=preset, clipvalue=0.5).chain.names[0] == "clipvalue"
    with pytest.raises(ValueError, match="only one of"):
        keras.Adam(preset=preset, clipnorm=1.0, global_clipnorm=1.0)
    if preset == "legacy":
        tx = keras.Adam(preset=preset, global_clipnorm=1.0, clipvalue=0.5)
        assert tx.chain.names[:2] == ("clipvalue", "global_clipnorm")
    else:
        with pytest.raises(ValueError, match="only one of"):
            keras.Adam(preset=preset, clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(ValueError, match="cannot both be set"):
        keras.Adam(preset=preset, clipnorm=1.0, gradient_transformers=[list])
    with pytest.raises(ValueError, match="`clipnorm` must be in"):
        keras.Adam(preset=preset, clipnorm=0.0)


def test_excluding_from_weight_decay() -> None:
    tx = keras.AdamW(0.1, weight_decay=0.5)
    g = jax.tree.map(jnp.zeros_like, params())
    for excluded in (
        keras.exclude_from_weight_decay(tx, ["^b$"]),
        keras.exclude_from_weight_decay(tx, mask={"b": False, "w": True}),
    ):
        p, _ = excluded.step(g, excluded.init(params()), params())
        chex.assert_trees_all_equal(p["b"], params()["b"])
        np.testing.assert_allclose(p["w"], 0.95 * params()["w"], rtol=1e-6)
    # As in Keras the names are searched, so that "b" is found in "emb", too.
    found = keras.exclude_from_weight_decay(tx, ["b"]).chain.links[1].mask  # type: ignore[attr-defined]
    assert found({"emb": 1.0, "w": 1.0}) == {"emb": False, "w": True}
    with pytest.raises(ValueError, match="no weight decay"):
        keras.exclude_from_weight_decay(keras.Adam(), ["b"])
    with pytest.raises(ValueError, match="either"):
        keras.exclude_from_weight_decay(tx)


def test_the_average_is_read_and_finalized() -> None:
    p, state = steps(keras.Adam(0.1, use_ema=True, ema_momentum=0.5))
    final = keras.finalize_variable_values(state, p)
    chex.assert_trees_all_equal(final, adamx.eval_params(state, p))
    chex.assert_trees_all_equal(final, keras.get_slot(state, "average"))
    assert np.abs(final["w"] - p["w"]).max() > 1e-3
    p, state = steps(keras.Adam(0.1))
    chex.assert_trees_all_equal(keras.finalize_variable_values(state, p), p)


def test_the_loss_scale_is_taken_back() -> None:
    """`minimize` and `make_step` multiply the loss, the chain divides the gradient."""
    scaled = keras.Adam(0.1, epsilon=0.1, loss_scale_factor=1024.0)
    plain = keras.Adam(0.1, epsilon=0.1)
    chex.assert_trees_all_close(steps(scaled)[0], steps(plain)[0], rtol=1e-6)
    step = adamx.make_step(loss, scaled, donate=False)
    p, state = params(), scaled.init(params())
    for _ in range(3):
        p, state, _ = step(p, state)
    chex.assert_trees_all_close(p, steps(plain)[0], rtol=1e-6)


# Stepping.


def test_apply_gradients_takes_pairs_or_trees() -> None:
    tx, p = keras.Adam(0.1), params()
    g = jax.grad(loss)(p)
    expected, expected_state = tx.step(g, tx.init(p), p)
    tree, state = keras.apply_gradients(tx, g, keras.build(tx, p), p)
    chex.assert_trees_all_close((tree, state), (expected, expected_state), rtol=1e-6)
    pairs = [(g["b"], p["b"]), (g["w"], p["w"])]
    variables, state = keras.apply_gradients(tx, pairs, keras.build(tx, p))
    chex.assert_trees_all_equal(variables, [tree["b"], tree["w"]])
    (one, two), _ = keras.apply_gradients(tx, zip(*zip(*pairs, strict=True), strict=True), state)
    assert one.shape == (3,)
    assert two.shape == (2, 2)


@pytest.mark.parametrize(
    "pairs",
    [None, 3.0, [1.0, 2.0], [(1.0,)], [(1.0, 2.0, 3.0)], [("a", None)], [(1.0, None)]],
    ids=str,
)
def test_malformed_pairs(pairs: Any) -> None:
    tx = keras.Adam()
    with pytest.raises(TypeError, match="list of pairs"):
        keras.apply_gradients(tx, pairs, keras.build(tx, [jnp.array(1.0)]))
    with pytest.raises(TypeError, match="list of pairs"):
        keras.aggregate_gradients(pairs, "devices")


def test_no_gradients() -> None:
    tx, v = keras.Adam(), jnp.array(1.0)
    state = keras.build(tx, [v])
    for pairs in ([], [(None, v)]):
        with pytest.raises(ValueError, match="no gradients provided for any variable"):
            keras.apply_gradients(tx, pairs, state)
    with pytest.raises(ValueError, match="no gradients provided"):
        keras.apply_gradients(tx, [None], state, [v])
    with pytest.raises(ValueError, match="no gradients provided"):
        keras.minimize(tx, lambda v: 1.0 * v[0], keras.build(tx, [jnp.array(1)]), [jnp.array(1)])
    with pytest.raises(ValueError, match="built for 1 variables, got 2 pairs"):
        keras.apply_gradients(tx, [(v, v), (v, v)], state)


def test_minimize_is_compute_gradients_and_apply_gradients() -> None:
    tx, p = keras.Adam(0.1), params()
    state = keras.build(tx, p)
    pairs = keras.compute_gradients(loss, p)
    chex.assert_trees_all_close(
        [g for g, _ in pairs], jax.tree.leaves(jax.grad(loss)(p)), rtol=1e-6
    )
    applied, _ = keras.apply_gradients(tx, pairs, state)
    minimized, _ = keras.minimize(tx, loss, state, p)
    chex.assert_trees_all_equal(applied, jax.tree.leaves(minimized))


def test_grad_loss() -> None:
    """The gradient of something else with respect to the loss, which may be an array."""
    v = jnp.array([1.0, 2.0])
    [(g, _)] = keras.compute_gradients(jnp.square, v, grad_loss=jnp.array([1.0, -3.0]))
    np.testing.assert_allclose(g, [2.0, -12.0])
    with pytest.raises(ValueError, match=r"grad_loss.*\(2,\)"):
        keras.compute_gradients(jnp.square, v, grad_loss=jnp.array(1.0))
    tx = keras.Adam(0.5)
    up, _ = keras.minimize(tx, lambda v: v[0], keras.build(tx, v), v, grad_loss=jnp.array(-1.0))
    np.testing.assert_allclose(up, [1.5, 2.0], rtol=1e-5)


def test_a_number_is_no_loss() -> None:
    tx, v = keras.Adam(), jnp.array(1.0)
    for call in (
        lambda: keras.minimize(tx, v, keras.build(tx, v), v),  # type: ignore[arg-type]
        lambda: keras.compute_gradients(v, v),  # type: ignore[arg-type]
        lambda: keras.get_gradients(v, v),  # type: ignore[arg-type]
        lambda: keras.get_updates(tx, v, keras.build(tx, v), v),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="no tape"):
            call()


def test_get_gradients_and_get_updates() -> None:
    tx, p = keras.Adam(0.1), params()
    grads = keras.get_gradients(loss, p)
    chex.assert_trees_all_close(grads, jax.tree.leaves(jax.grad(loss)(p)), rtol=1e-6)
    updates, state = keras.get_updates(tx, loss, keras.build(tx, p), p)
    stepped, stepped_state = keras.minimize(tx, loss, keras.build(tx, p), p)
    chex.assert_trees_all_close(adamx.apply_updates(p, updates), stepped, rtol=1e-6)
    chex.assert_trees_all_close(state, stepped_state, rtol=1e-6)
    with pytest.raises(ValueError, match="variable 1 has no gradient"):
        keras.get_gradients(lambda v: v[0], [jnp.array(1.0), jnp.array(1)])


@pytest.mark.parametrize("make", FACTORIES)
def test_update_step_is_the_rule_alone(make: Any) -> None:
    """Of one variable: as the whole step of an optimizer without anything around it."""
    arguments = {"weight_decay": 0.0} if make is keras.AdamW else {}
    plain, around = make(0.1, **arguments), make(0.1, **{"clipnorm": 1e-3, **arguments})
    v = w = jnp.array([1.0, -2.0])
    state, expected_state = keras.build(around, v), plain.init(v)
    for g in (jnp.array([3.0, 1.0]), jnp.array([-1.0, 2.0])):
        v, state = keras.update_step(around, g, state, v)
        w, expected_state = plain.step(g, expected_state, w)
        chex.assert_trees_all_close(v, w, rtol=1e-6)
    assert int(keras.iterations(state)) == 2
    with pytest.raises(ValueError, match="one variable"):
        keras.update_step(plain, [v], expected_state, [v])  # type: ignore[arg-type]


# Variables and their placement.


def test_slots() -> None:
    _, state = steps(keras.Adam(amsgrad=True, use_ema=True))
    assert keras.get_slot_names(state) == ["m", "v", "vhat", "average"]
    for old, new in (("m", "momentum"), ("v", "velocity"), ("vhat", "velocity_hat")):
        chex.assert_trees_all_equal(keras.get_slot(state, old), keras.get_slot(state, new))
        chex.assert_trees_all_equal_shapes(keras.get_slot(state, old), params())
    with pytest.raises(ValueError, match="no slot 'vhat'; there are m, v"):
        keras.get_slot(keras.Adam().init(params()), "vhat")
    with pytest.raises(ValueError, match="no slot 'average'"):
        keras.get_slot(keras.Adam().init(params()), "average")


def test_own_slots() -> None:
    slots = keras.add_slot({}, {**params(), "n": jnp.array(3)}, "trace", "ones")
    assert slots["trace"]["n"] is None
    np.testing.assert_array_equal(slots["trace"]["w"], np.ones((2, 2)))
    more = keras.add_slot(slots, params(), "late", lambda shape, dtype: jnp.full(shape, 2, dtype))
    assert list(more) == ["trace", "late"]
    assert list(slots) == ["trace"]
    with pytest.raises(ValueError, match="there is a slot 'trace' already"):
        keras.add_slot(slots, params(), "trace")


def test_new_variables() -> None:
    assert keras.add_variable((2, 3), "ones", "bfloat16").dtype == jnp.bfloat16
    assert keras.add_weight("iter", (), "int32") == {"iter": 0}
    reference = jnp.ones((2, 3), jnp.float16)
    like = keras.add_variable_from_reference(reference, lambda s, d: jnp.full(s, 7, d))
    assert (like.shape, like.dtype, float(like[0, 0])) == ((2, 3), jnp.float16, 7.0)
    with pytest.raises(ValueError, match="one of zeros, ones"):
        keras.add_variable((2,), "glorot")
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(2,\)"):
        keras.add_variable((2,), jnp.ones(3))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: keras.add_weight("a", 3), TypeError, "`shape` must be a list of whole numbers"),
        (lambda: keras.add_weight("a", (-1,)), ValueError, "`shape` must be at least 0"),
        (lambda: keras.add_variable((2,), dtype="foo"), TypeError, "`dtype` must be a dtype"),
        (
            lambda: keras.add_variable((2,), lambda: 1),
            TypeError,
            r"`initializer` must be a function \(shape, dtype\)",
        ),
        (
            lambda: keras.add_variable_from_reference("a"),
            TypeError,
            "`reference_variable` must be an array of numbers",
        ),
        (lambda: keras.add_slot(None, params(), "m"), TypeError, "`slots` must be a dict"),
        (
            lambda: keras.minimize(keras.Adam(), lambda: 1.0, keras.Adam().init(1.0), 1.0),
            TypeError,
            "minimize: `loss` must be a function of the variables",
        ),
        (
            lambda: keras.learning_rate(keras.Adam(), adamx.adam(0.1).init(params())),
            TypeError,
            "the state must have the field `inner_state`",
        ),
    ],
)
def test_what_makes_no_variable_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.eight_devices
def test_variables_are_placed_like_their_reference() -> None:
    mesh = jax.make_mesh((8,), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    reference = jax.device_put(jnp.ones((8, 2)), rows)
    assert keras.add_variable_from_reference(reference).sharding == rows
    assert keras.add_slot({}, [reference], "trace")["trace"][0].sharding == rows


@pytest.mark.eight_devices
def test_state_on_a_mesh() -> None:
    """`mesh`: the counts are replicated over it, slots are where their variables are."""
    mesh = jax.make_mesh((8,), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    replicated = NamedSharding(mesh, PartitionSpec())
    tx = keras.Adam(0.1, mesh=mesh, amsgrad=True, use_ema=True)
    p = {"rows": jax.device_put(jnp.ones((8, 2)), rows), "somewhere": jnp.ones(3)}
    state = keras.build(tx, p)
    for slot in keras.get_slot_names(state):
        slots = keras.get_slot(state, slot)
        assert slots["rows"].sharding.is_equivalent_to(rows, 2)
        assert slots["somewhere"].sharding.is_equivalent_to(replicated, 1)
    assert keras.iterations(state).sharding == replicated
    with pytest.raises(TypeError, match="mesh"):
        keras.Adam(mesh="data")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mesh"):
        keras.get_config(tx)


def test_weights_are_checked() -> None:
    tx = keras.Adam(0.5)
    state = keras.build(tx, params())
    weights = keras.get_weights(tx, state)
    assert all(isinstance(x, np.ndarray) for x in weights)
    assert [x.shape for x in weights] == [(), (), (3,), (3,), (2, 2), (2, 2)]
    assert [x.shape for x in keras.variables(tx, state)] == [x.shape for x in weights]
    with pytest.raises(ValueError, match="has 6 weights, got 5"):
        keras.set_weights(tx, state, weights[:-1])
    with pytest.raises(ValueError, match=r"weight 2 \(mu\) has shape \(2, 2\)"):
        keras.set_weights(tx, state, [*weights[:2], weights[4], *weights[3:]])
    with pytest.raises(ValueError, match=r"set_learning_rate\(tx, 0.25\)"):
        keras.set_weights(tx, state, [weights[0], np.float32(0.25), *weights[2:]])
    with pytest.raises(TypeError, match="complex"):
        keras.set_weights(tx, state, [*weights[:2], weights[2] + 1j, *weights[3:]])


def test_weights_of_the_first_version() -> None:
    """TF 1.x kept a place for v_max without `amsgrad`, too; TensorFlow itself drops it."""
    tx = keras.Adam(preset="legacy")
    state = keras.build(tx, params())
    weights = [np.full(np.shape(x), i + 1.0) for i, x in enumerate(keras.get_weights(tx, state))]
    weights[0] = np.array(5)
    read = keras.set_weights(tx, state, [*weights, np.zeros(1), np.zeros(1)])
    chex.assert_trees_all_equal(read, keras.set_weights(tx, state, weights))
    assert [int(x.ravel()[0]) for x in jax.tree.leaves(keras.get_slot(read, "v"))] == [4, 5]
    with pytest.raises(ValueError, match="has 5 weights, got 6"):
        keras.set_weights(tx, state, [*weights, np.zeros(1)])


def test_weights_fit_another_recipe_only_if_it_has_the_same() -> None:
    weights = keras.get_weights(keras.Adam(), keras.build(keras.Adam(), params()))
    amsgrad = keras.Adam(amsgrad=True)
    with pytest.raises(ValueError, match="build both optimizers with the same arguments"):
        keras.set_weights(amsgrad, keras.build(amsgrad, params()), weights)


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"learning_rate": -0.1}, ValueError, "Adam: `learning_rate`"),
        ({"learning_rate": "fast"}, TypeError, "Adam: `learning_rate`"),
        ({"learning_rate": 0.1, "lr": 0.2}, ValueError, "not both"),
        ({"beta_1": 1.0}, ValueError, "`beta_1`"),
        ({"beta_2": -0.1}, ValueError, "`beta_2`"),
        ({"epsilon": -1e-3}, ValueError, "`epsilon`"),
        ({"amsgrad": 1}, TypeError, "amsgrad"),
        ({"decay": -0.1}, ValueError, "decay"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay"),
        ({"clipvalue": -1.0}, ValueError, "`clipvalue`"),
        ({"use_ema": 1}, TypeError, "use_ema"),
        ({"use_ema": True, "ema_momentum": 1.5}, ValueError, "`ema_momentum`"),
        ({"use_ema": True, "ema_overwrite_frequency": 0}, ValueError, "`ema_overwrite_frequency`"),
        ({"ema_overwrite_frequency": 5}, ValueError, "no effect without"),
        ({"gradient_accumulation_steps": 1}, ValueError, "gradient_accumulation_steps"),
        ({"gradient_accumulation_steps": 2.0}, ValueError, "gradient_accumulation_steps"),
        ({"loss_scale_factor": 0.0}, ValueError, "`loss_scale_factor`"),
        ({"gradient_transformers": len}, TypeError, "functions"),
        ({"gradient_aggregator": 3}, TypeError, "gradient_aggregator"),
        ({"jit_compile": "yes"}, TypeError, "jit_compile"),
        ({"name": 0.01}, TypeError, "`name` must be a string.*by keyword"),
        ({"preset": "torch"}, ValueError, "preset"),
        (
            {
                "use_ema": True,
                "ema_overwrite_frequency": 2,
                "gradient_accumulation_steps": 2,
            },
            ValueError,
            "give up one",
        ),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_invalid_arguments(arguments: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        keras.Adam(**arguments)


def test_the_signatures_are_those_of_keras() -> None:
    """Names, order and defaults; `Adam` has `name` where TF 2.0-2.8 have it."""
    common = {
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
    }
    rule = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    expected: dict[str, dict[str, Any]] = {
        "Adam": {**rule, "amsgrad": False, "name": "Adam", "weight_decay": None, **common},
        "AdamW": {
            "learning_rate": 0.001,
            "weight_decay": 0.004,
            **rule,
            "amsgrad": False,
            **common,
            "name": "AdamW",
        },
        **{k: {**rule, "weight_decay": None, **common, "name": k} for k in SIMPLE},
    }
    for kind, arguments in expected.items():
        parameters = inspect.signature(getattr(keras, kind)).parameters.values()
        positional = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
        assert list(positional.items()) == list(arguments.items())


def test_adamw_needs_a_weight_decay() -> None:
    with pytest.raises(ValueError, match="must be a number, got None"):
        keras.AdamW(weight_decay=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["build", "minimize", "variables", "get_config", "update_step"])
def test_the_methods_are_for_the_optimizers_here(method: str) -> None:
    function = getattr(keras, method)
    needed = list(inspect.signature(function).parameters)
    state = keras.Adam().init(1.0)
    known = {"tx": adamx.adam(0.1), "loss": loss, "state": state, "gradient": 1.0, "variable": 1.0}
    arguments = {name: known.get(name, 1.0) for name in needed}
    with pytest.raises(TypeError, match=r"expected an optimizer of `adamx\.interop\.keras`"):
        function(**{k: x for k, x in arguments.items() if k not in ("grad_loss", "name")})


def test_another_state_is_refused() -> None:
    state = adamx.adam(0.1).init(params())
    for call in (
        lambda: keras.iterations(state),
        lambda: keras.get_slot(state, "m"),
        lambda: keras.variables(keras.Adam(), state),
        lambda: keras.apply_gradients(keras.Adam(), params(), state, params()),
    ):
        with pytest.raises(TypeError, match="KerasOptimizerState"):
            call()
