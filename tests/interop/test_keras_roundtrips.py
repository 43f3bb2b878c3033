"""What Keras wrote is read whatever its spelling, and an optimizer can be changed while it runs."""

import copy
import inspect
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.interop import keras

PARAMS = {"b": jnp.ones(3), "w": jnp.full((2, 2), 2.0)}
KINDS = ("Adam", "AdamW", "Nadam", "Adamax", "Lamb")
NUMBERS = {"learning_rate": 0.001, "beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-5}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_preset = pytest.mark.parametrize("preset", ["keras", "tensorflow", "legacy"])


def single(x: float) -> float:
    """As Keras writes a number that it keeps in a variable."""
    return float(np.float32(x))


@every_kind
@pytest.mark.parametrize("spell", [str, str.lower, str.upper], ids=["as is", "lower", "upper"])
def test_class_names_are_read_in_any_case(kind: str, spell: Any) -> None:
    tx = getattr(keras, kind)(**NUMBERS)
    config = {"class_name": spell(kind), "config": keras.get_config(tx)}
    assert keras.from_config(config) == tx
    assert keras.from_config(config, kind) == tx
    assert keras.from_config(config["config"], spell(kind)) == tx
    scaled = {"class_name": spell("LossScaleOptimizer"), "config": {"inner_optimizer": config}}
    assert keras.from_config(scaled) == keras.LossScaleOptimizer(tx)


def test_schedules_are_read_in_any_case() -> None:
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}
    for name in ("ExponentialDecay", "exponentialdecay"):
        rate = {"class_name": name, "config": arguments}
        assert keras.Adam(rate) == keras.Adam(keras.schedule("ExponentialDecay", **arguments))


@every_kind
@every_preset
def test_a_configuration_comes_back(kind: str, preset: str) -> None:
    """With the digits of float32, and under the name that Keras gives."""
    if (kind, preset) == ("AdamW", "legacy"):
        pytest.skip("there was no such class")
    tx = getattr(keras, kind)(**NUMBERS, clipnorm=0.3, preset=preset)
    config = json.loads(json.dumps(keras.get_config(tx)))
    assert keras.from_config(config, kind) == tx
    snake = {"AdamW": "adam_w"}.get(kind, kind.lower())
    for name in (kind, snake, f"{snake}_3", kind.lower()):
        written = {key: single(x) if isinstance(x, float) else x for key, x in config.items()}
        assert keras.from_config({**written, "name": name}, kind) == tx
    mine = keras.from_config({**config, "name": "mine"}, kind)
    assert mine == tx.replace(scope="mine")
    assert keras.from_config(keras.get_config(mine), kind) == mine


@pytest.mark.parametrize("x", [0.1, 0.001, 1e-7, 1 / 3, 0.5, 3e-4, 0.9999, 1e-45, 0.25, 7.0])
def test_digits_of_float32_are_dropped_and_no_others(x: float) -> None:
    def read(x: float) -> Any:
        return keras.get_config(keras.from_config({"learning_rate": x}, "Adam"))["learning_rate"]

    assert read(x) == x
    assert np.float32(read(single(x))) == np.float32(x)
    assert len(repr(read(single(x)))) <= max(len(repr(x)), 14)


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_name": "Adam", "config": 3},
        {"class_name": "Adam", "config": [1]},
        {"class_name": "Adam", "config": None},
        {"class_name": ["Adam"], "config": {}},
        {"class_name": None, "config": {}},
        {"class_name": "LossScaleOptimizer", "config": {}},
        {"class_name": "LossScaleOptimizer", "config": {"inner_optimizer": "adam"}},
        {"name": "adam", "is_legacy_optimizer": "False"},
        {"name": "adam", "beta_1": [0.9]},
        {"name": "adam", "learning_rate": {"class_name": ["x"], "config": {}}},
        {"name": "adam", "learning_rate": {"class_name": "CosineDecay", "config": [1]}},
        {"name": "adam", "learning_rate": {}},
        {"name": "adam", "amsgrad": "False"},
        {"name": "adam", "use_ema": 1},
        {"name": "adam", "jit_compile": "no"},
        [{"name": "adam"}],
        "adam",
        None,
    ],
    ids=repr,
)
def test_configurations_of_another_shape_are_refused_in_words(wrong: Any) -> None:
    before = copy.deepcopy(wrong)
    with pytest.raises((TypeError, ValueError), match=r"^(from_config|Adam|keras_|a learning)"):
        keras.from_config(wrong)
    assert wrong == before


def nested(depth: int, kind: type) -> Any:
    value: Any = 0.1
    for _ in range(depth):
        value = [value] if kind is list else {"learning_rate": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_endless_nesting_is_refused(kind: type) -> None:
    with pytest.raises(ValueError, match="from_config: nested more than"):
        keras.from_config({"name": "adam", "learning_rate": nested(10_000, kind)})


# Switches.

SWITCHES = [
    (kind, name)
    for kind in KINDS
    for name, parameter in inspect.signature(getattr(keras, kind)).parameters.items()
    if isinstance(parameter.default, bool)
]


@pytest.mark.parametrize("value", ["False", 0, 1, None])
@pytest.mark.parametrize(("kind", "name"), SWITCHES)
def test_switches_are_true_or_false(kind: str, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"`{name}` must be True or False, got {value!r}"):
        getattr(keras, kind)(**{name: value})


@pytest.mark.parametrize("value", ["False", 0, None])
def test_switches_of_options_and_schedules(value: Any) -> None:
    with pytest.raises(TypeError, match="`use_ema` must be True or False"):
        keras.Adam(ema_option=keras.EMAOption(use_ema=value))
    decay = {"initial_learning_rate": 0.1, "decay_steps": 10}
    with pytest.raises(TypeError, match="`staircase` must be True or False"):
        keras.schedule("ExponentialDecay", **decay, decay_rate=0.5, staircase=value)
    with pytest.raises(TypeError, match="`staircase` must be True or False"):
        keras.schedule("InverseTimeDecay", **decay, decay_rate=0.5, staircase=value)
    with pytest.raises(TypeError, match="`cycle` must be True or False"):
        keras.schedule("PolynomialDecay", **decay, cycle=value)


@pytest.mark.parametrize("wrong", [3, "ab", [1, "a"], None, [True, 2]], ids=repr)
@pytest.mark.parametrize("name", ["boundaries", "values"])
def test_a_piecewise_schedule_takes_lists_of_numbers(name: str, wrong: Any) -> None:
    arguments = {"boundaries": [1], "values": [0.1, 0.2], name: wrong}
    with pytest.raises(TypeError, match=f"`{name}` must be a list of numbers, got"):
        keras.schedule("PiecewiseConstantDecay", **arguments)


@pytest.mark.parametrize("loss", [lambda p: p, lambda p: 1.0, lambda p: None], ids=range(3))
def test_a_loss_returns_one_array(loss: Any) -> None:
    tx = keras.Adam()
    wanted = r"minimize: `loss` must (return one array|be .*, which returned None)"
    with pytest.raises((TypeError, ValueError), match=wanted):
        keras.minimize(tx, loss, tx.init(PARAMS), PARAMS)


# Presets.


@every_preset
def test_two_clips_are_refused_with_the_right_advice(preset: str) -> None:
    """Following it must lead neither to another refusal nor to a clip that Keras does not make."""
    with pytest.raises(ValueError, match="only one of") as error:
        keras.Adam(preset=preset, clipnorm=1.0, global_clipnorm=1.0)
    assert "preset" not in str(error.value)
    assert "`adamx.clip_by_global_norm` in a chain before Adam" in str(error.value)
    if preset != "legacy":
        with pytest.raises(ValueError, match="only one of") as error:
            keras.Nadam(preset=preset, clipvalue=1.0, clipnorm=1.0)
        advice = {"keras": "leave one out, or", "tensorflow": "TensorFlow forgets `clipvalue`"}
        assert advice[preset] in str(error.value)


def momenta(tx: Any, steps: int) -> float:
    core: Any = keras.optimizer.parts_of(tx)["core"].link
    powers = 0.96 ** (np.arange(1, steps + 1) * core.momentum_decay)
    return float(np.prod(core.b1 * (1 - powers / 2)))


@every_preset
@pytest.mark.parametrize("kind", ["Nadam", "Adamax", "Lamb"])
def test_weights_have_the_order_of_the_preset(kind: str, preset: str) -> None:
    """And a run goes on from them, Nadam's product of momenta included where it is not stored."""
    tx = getattr(keras, kind)(0.1, preset=preset)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        params, state = keras.apply_gradients(tx, PARAMS, state, params)
    weights = keras.get_weights(tx, state)
    shapes = [x.shape for x in weights]
    m, v = [(3,), (2, 2)], [(3,), (2, 2)]
    slots = [*m, *v] if preset == "legacy" else [m[0], v[0], m[1], v[1]]
    nadam = kind == "Nadam"
    assert (
        shapes
        == {
            "keras": [(), (), *slots, *([()] if nadam else [])],
            "tensorflow": [(), *slots],
            "legacy": [(), *([()] if nadam else []), *slots],
        }[preset]
    )
    moved = keras.set_weights(tx, tx.init(PARAMS), weights)
    ours, theirs = (keras.apply_gradients(tx, PARAMS, s, params)[0] for s in (state, moved))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), ours, theirs)
    if nadam:
        product = moved.inner_state["core"].mu_product
        assert float(product) == pytest.approx(momenta(tx, 3), rel=1e-6)


def test_legacy_nadam_has_its_own_schedule() -> None:
    """momentum_decay is `schedule_decay`, 0.004; its configuration calls it `decay`."""
    tx = keras.Nadam(preset="legacy")
    assert keras.optimizer.parts_of(tx)["core"].link.momentum_decay == 0.004  # type: ignore[attr-defined]
    config = keras.get_config(tx)
    assert config["decay"] == 0.004
    assert keras.from_config(config) == tx
    with pytest.raises(ValueError, match="unknown key 'decay' for Nadam"):
        keras.from_config({**config, "decay": 0.1})
    scheduled = keras.Nadam(preset="tensorflow", beta_1=lambda count: 0.9)
    state = scheduled.init(PARAMS)
    with pytest.raises(ValueError, match="with a schedule of beta_1 it cannot be computed"):
        keras.set_weights(scheduled, state, keras.get_weights(scheduled, state))


# Settings of a running optimizer.

OTHER = {
    "learning_rate": 0.2,
    "decay": 0.7,
    "beta_1": 0.6,
    "beta_2": 0.8,
    "epsilon": 1e-2,
    "weight_decay": 0.3,
    "clipnorm": 0.2,
    "clipvalue": 0.3,
    "global_clipnorm": 0.4,
    "ema_momentum": 0.6,
}
WITH: dict[str, dict[str, Any]] = {
    "decay": {"decay": 0.1},
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 1.0},
    "clipvalue": {"clipvalue": 1.0},
    "global_clipnorm": {"global_clipnorm": 1.0},
    "ema_momentum": {"use_ema": True},
}


@pytest.mark.parametrize("name", OTHER)
@every_kind
def test_a_running_optimizer_gets_another_number(kind: str, name: str) -> None:
    """Its state goes on, and it is the optimizer that is made with the number."""
    make = getattr(keras, kind)
    if name == "decay" and kind != "Adam":
        pytest.skip("only Adam has it")
    changes = WITH.get(name, {})
    for around in ({}, {"gradient_accumulation_steps": 2}, {"loss_scale_factor": 2.0}):
        tx = make(**{**changes, **around})
        new = keras.set_hyperparameters(tx, **{name: OTHER[name]})
        assert new == make(**{**changes, **around, name: OTHER[name]})
        structures = [jax.tree.structure(x.init(PARAMS)) for x in (tx, new)]
        assert structures[0] == structures[1]
    scaled = keras.LossScaleOptimizer(make(**changes))
    expected = keras.LossScaleOptimizer(make(**{**changes, name: OTHER[name]}))
    assert keras.set_hyperparameters(scaled, **{name: OTHER[name]}) == expected


def test_several_numbers_at_once() -> None:
    tx = keras.set_hyperparameters(keras.Adam(decay=0.1), learning_rate=0.2, decay=0.5, beta_1=0.6)
    assert tx == keras.Adam(0.2, 0.6, decay=0.5)
    assert keras.set_learning_rate(tx, 0.3) == keras.Adam(0.3, 0.6, decay=0.5)
    legacy = keras.Adam(preset="legacy")
    assert keras.set_hyperparameters(legacy, epsilon=0.0) == legacy


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"beta1": 0.9}, ValueError, "did you mean 'beta_1'.* got 'beta1'"),
        ({"amsgrad": True}, ValueError, "known are .*, got 'amsgrad'"),
        ({"loss_scale_factor": 2.0}, ValueError, "got 'loss_scale_factor'"),
        ({"beta_1": 1.0}, ValueError, r"`beta_1` must be in \[0, 1\), got 1.0"),
        ({"beta_1": "0.9"}, TypeError, "`beta_1` must be a number"),
        ({"beta_1": lambda: 0.9}, TypeError, "only a number can be replaced by a number"),
        ({"clipnorm": 1.0}, ValueError, "not added to Adam; make a new optimizer"),
        ({"decay": 0.1}, ValueError, "not added to Adam"),
        ({"weight_decay": 0.1}, ValueError, "not added to Adam"),
        ({"epsilon": None}, ValueError, "not switched off"),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0],
)
def test_what_cannot_be_set(values: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        keras.set_hyperparameters(keras.Adam(), **values)
    scheduled = keras.Adam(beta_1=lambda count: 0.9)
    with pytest.raises(TypeError, match="only a number can be replaced by a number"):
        keras.set_hyperparameters(scheduled, beta_1=0.5)


# Weight decay.


@pytest.mark.parametrize(
    "names",
    [{"var_list": ["b"]}, {"var_names": ["^b$"]}, {"var_names": [], "var_list": ("b",)}],
    ids=repr,
)
def test_variables_are_excluded_by_their_paths(names: Any) -> None:
    tx = keras.exclude_from_weight_decay(keras.AdamW(), **names)
    mask: Any = keras.optimizer.parts_of(tx)["weight_decay"].link
    assert mask.mask({"b": 1.0, "w": 1.0, "bb": 1.0}) == {"b": False, "w": True, "bb": True}


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        ({"var_list": [jnp.ones(3)]}, TypeError, "`var_list` must hold strings, got"),
        ({"var_list": jnp.ones(3)}, TypeError, "`var_list` must be a list of strings"),
        ({"var_names": "bias"}, TypeError, r"`var_names` must be a list .*; write \['bias'\]"),
        ({"var_names": [3]}, TypeError, "`var_names` must hold strings, got 3"),
        ({"var_names": ["("]}, ValueError, "a regular expression"),
        ({"var_names": ["[b"]}, ValueError, "a regular expression"),
        ({"var_names": []}, ValueError, "at least one"),
        ({"var_names": ["b"], "mask": {"b": False, "w": True}}, ValueError, "give either"),
    ],
    ids=repr,
)
def test_bad_names_are_refused_when_they_are_given(names: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        keras.exclude_from_weight_decay(keras.AdamW(), **names)


@pytest.mark.parametrize("names", [{"var_names": ["^b:"]}, {"var_list": ["bias"]}], ids=repr)
def test_names_that_no_variable_has_are_refused_when_the_state_is_built(names: Any) -> None:
    tx = keras.exclude_from_weight_decay(keras.AdamW(), **names)
    with pytest.raises(ValueError, match="is found in none of the 2 paths"):
        keras.build(tx, PARAMS)
    with pytest.raises(ValueError, match="mask does not fit"):
        keras.build(keras.exclude_from_weight_decay(keras.AdamW(), mask={"x": True}), PARAMS)


# Loss scale.


def scaled_run(tx: Any, steps: int) -> tuple[Any, Any]:
    """Every third gradient overflows."""
    params, state = PARAMS, keras.build(tx, PARAMS)
    for i in range(steps):
        scale = adamx.loss_scale(state)
        bad = jnp.inf if i % 3 == 1 else 1.0
        grads = jax.tree.map(lambda p, s=scale * bad: s * p, params)
        params, state = keras.apply_gradients(tx, grads, state, params)
    return params, state


def test_a_loss_scale_skips_and_grows() -> None:
    inner = keras.Adam(0.1, use_ema=True, loss_scale_factor=8.0)
    tx = keras.LossScaleOptimizer(inner, 16.0, 2)
    params, state = scaled_run(tx, 6)  # good, bad, good, good (grows), bad, good
    assert float(adamx.loss_scale(state)) == 16.0 / 2 * 2 / 2
    assert int(keras.iterations(state)) == 4
    plain = keras.Adam(0.1, use_ema=True)
    expected, own = PARAMS, plain.init(PARAMS)
    for _ in range(4):
        expected, own = keras.apply_gradients(plain, expected, own, expected)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), params, expected)
    for read in (
        lambda tx, s: keras.get_slot(s, "m"),
        lambda tx, s: keras.get_slot(s, "average"),
        lambda tx, s: keras.learning_rate(tx, s),
        lambda tx, s: keras.finalize_variable_values(s, params),
    ):
        assert jax.tree.all(jax.tree.map(np.allclose, read(tx, state), read(plain, own)))
    weights = keras.get_weights(tx, state)
    assert [float(x) for x in weights[:4]] == [0.0, 0.0, 1.0, 8.0]
    moved = keras.set_weights(tx, tx.init(PARAMS), weights)
    assert jax.tree.all(
        jax.tree.map(
            np.allclose,
            moved.inner_state["dynamic_scale"].statistics,
            state.inner_state["dynamic_scale"].statistics,
        )
    )
    jax.tree.map(np.testing.assert_array_equal, keras.get_weights(tx, moved), weights)
    config = keras.get_config(tx)
    assert [*config] == ["name", "inner_optimizer", "initial_scale", "dynamic_growth_steps"]
    assert keras.from_config(json.loads(json.dumps(config)), "LossScaleOptimizer") == tx
    assert adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))) == tx


def test_what_a_loss_scale_refuses() -> None:
    tx = keras.LossScaleOptimizer(keras.Adam())
    with pytest.raises(ValueError, match="Optimizer scales the loss already"):
        keras.LossScaleOptimizer(tx)
    with pytest.raises(TypeError, match="LossScaleOptimizer: expected an optimizer of"):
        keras.LossScaleOptimizer(adamx.adam(0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="LossScaleOptimizer: `name` must be a string, got 3"):
        keras.LossScaleOptimizer(keras.Adam(), name=3)  # type: ignore[arg-type]
    for name in ("initial_scale", "dynamic_growth_steps"):
        with pytest.raises(ValueError, match=f"LossScaleOptimizer: `{name}` must be"):
            keras.LossScaleOptimizer(keras.Adam(), **{name: 0})  # type: ignore[arg-type]
    legacy = keras.LossScaleOptimizer(keras.Adam(preset="legacy"))
    with pytest.raises(ValueError, match="are known for preset='keras', not 'legacy'"):
        keras.get_weights(legacy, legacy.init(PARAMS))
