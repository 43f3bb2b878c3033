"""Keras 3 on its JAX backend, live: the same path, and runs that move from one to the other."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.interop import keras as ours

os.environ.setdefault("KERAS_BACKEND", "jax")
theirs = pytest.importorskip("keras", reason="compares with Keras 3 on its JAX backend")
if theirs.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

# Keras's own `variable.numpy()`, which its `get_config` calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOLERANCE = 2e-6
FIRST, STEPS = 7, 14
SHAPES = {"w": (3, 2), "b": (4,)}
# Betas that float32 holds: Keras raises the rounded beta to a power, but takes the exact 1 - beta.
BASE: dict[str, Any] = {"learning_rate": 0.05, "beta_1": 0.875, "beta_2": 0.9375}
HALVING = ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5})
WARMUP = (
    "CosineDecay",
    {"initial_learning_rate": 0.01, "decay_steps": 9, "warmup_target": 0.2, "warmup_steps": 4},
)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Adam": ("Adam", BASE),
    "Adam-epsilon": ("Adam", {**BASE, "epsilon": 0.1}),
    "Adam-amsgrad": ("Adam", {**BASE, "amsgrad": True}),
    "Adam-weight_decay": ("Adam", {**BASE, "weight_decay": 0.3}),
    "Adam-clipnorm": ("Adam", {**BASE, "epsilon": 0.1, "clipnorm": 0.7}),
    "Adam-clipvalue": ("Adam", {**BASE, "epsilon": 0.1, "clipvalue": 0.4}),
    "Adam-global_clipnorm": ("Adam", {**BASE, "epsilon": 0.1, "global_clipnorm": 0.9}),
    "Adam-ema": ("Adam", {**BASE, "use_ema": True, "ema_momentum": 0.75}),
    "Adam-ema_overwrite": (
        "Adam",
        {**BASE, "use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 3},
    ),
    "Adam-loss_scale": ("Adam", {**BASE, "epsilon": 0.1, "loss_scale_factor": 8.0}),
    "Adam-accumulation": ("Adam", {**BASE, "gradient_accumulation_steps": 3}),
    "Adam-accumulation_of_all": (
        "Adam",
        {
            **BASE,
            "learning_rate": HALVING,
            "gradient_accumulation_steps": 3,
            "clipnorm": 0.5,
            "weight_decay": 0.3,
            "use_ema": True,
            "ema_momentum": 0.75,
            "loss_scale_factor": 4.0,
        },
    ),
    "Adam-schedule": ("Adam", {**BASE, "learning_rate": WARMUP, "weight_decay": 0.3}),
    "AdamW": ("AdamW", BASE),
    "AdamW-all": (
        "AdamW",
        {**BASE, "learning_rate": HALVING, "weight_decay": 0.5, "amsgrad": True, "use_ema": True},
    ),
    "Nadam": ("Nadam", BASE),
    "Nadam-schedule": ("Nadam", {**BASE, "learning_rate": HALVING, "weight_decay": 0.3}),
    "Adamax": ("Adamax", BASE),
    "Adamax-epsilon": ("Adamax", {**BASE, "epsilon": 0.1, "weight_decay": 0.3, "clipnorm": 0.5}),
    "Lamb": ("Lamb", BASE),
    "Lamb-weight_decay": ("Lamb", {**BASE, "learning_rate": HALVING, "weight_decay": 0.9}),
}
every_case = pytest.mark.parametrize("case", CASES)
# One by default: stored paths of Keras (test_keras_golden.py) stand for the others.
trains = pytest.mark.full("trains with Keras")
every_run = pytest.mark.parametrize(
    "case", [case if case == "AdamW-all" else pytest.param(case, marks=trains) for case in CASES]
)


def make_theirs(case: str) -> Any:
    kind, arguments = copy.deepcopy(CASES[case])
    if isinstance(arguments["learning_rate"], tuple):
        name, config = arguments["learning_rate"]
        arguments["learning_rate"] = getattr(theirs.optimizers.schedules, name)(**config)
    return getattr(theirs.optimizers, kind)(**arguments)


def make_ours(case: str) -> ours.KerasOptimizer:
    kind, arguments = copy.deepcopy(CASES[case])
    if isinstance(arguments["learning_rate"], tuple):
        name, config = arguments["learning_rate"]
        arguments["learning_rate"] = ours.schedule(name, **config)
    tx: ours.KerasOptimizer = getattr(ours, kind)(**arguments)
    return tx


def start() -> list[jax.Array]:
    rng = np.random.default_rng(3)
    return [jnp.asarray(rng.standard_normal(s), jnp.float32) for s in SHAPES.values()]


def gradients(step: int) -> list[jax.Array]:
    rng = np.random.default_rng(100 + step)
    size = 10.0 ** (1 - step / 4)
    return [jnp.asarray(size * rng.standard_normal(s), jnp.float32) for s in SHAPES.values()]


def run_theirs(optimizer: Any, variables: list[Any], steps: range) -> list[list[np.ndarray]]:
    path = []
    for step in steps:
        optimizer.apply(gradients(step), variables)
        path.append([np.asarray(v.value) for v in variables])
    return path


def run_ours(
    tx: ours.KerasOptimizer, state: Any, variables: Any, steps: range
) -> tuple[list[Any], Any]:
    path = []
    for step in steps:
        pairs = zip(gradients(step), variables, strict=True)
        variables, state = ours.apply_gradients(tx, pairs, state)
        path.append(variables)
    return path, state


def keras_variables(values: Any) -> list[Any]:
    return [theirs.Variable(np.array(x), name=name) for name, x in zip(SHAPES, values, strict=True)]


def assert_same_path(actual: Any, expected: Any) -> None:
    for i in range(len(SHAPES)):
        x = np.asarray([step[i] for step in actual], np.float64)
        y = np.asarray([step[i] for step in expected], np.float64)
        np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE * np.abs(y).max())


class Run(NamedTuple):
    """A whole run of Keras."""

    path: list[list[np.ndarray]]
    middle: list[np.ndarray]  # its weights after the first steps
    last: list[np.ndarray]
    iterations: int
    rate: float
    final: list[np.ndarray]  # the finalized variables


@functools.cache
def their_run(case: str) -> Run:
    optimizer, variables = make_theirs(case), keras_variables(start())
    path = run_theirs(optimizer, variables, range(FIRST))
    middle = [np.array(v.value) for v in optimizer.variables]
    path += run_theirs(optimizer, variables, range(FIRST, STEPS))
    last = [np.array(v.value) for v in optimizer.variables]
    iterations, rate = int(optimizer.iterations), rate_of(optimizer)
    optimizer.finalize_variable_values(variables)
    return Run(path, middle, last, iterations, rate, [np.array(v.value) for v in variables])


@every_run
def test_the_path_is_that_of_keras(case: str) -> None:
    expected, tx = their_run(case), make_ours(case)
    path, state = run_ours(tx, ours.build(tx, start()), start(), range(STEPS))
    assert_same_path(path, expected.path)
    assert int(ours.iterations(state)) == expected.iterations
    assert float(ours.learning_rate(tx, state)) == pytest.approx(expected.rate, rel=1e-6)
    final = ours.finalize_variable_values(state, path[-1])
    assert_same_path([final], [expected.final])


def rate_of(optimizer: Any) -> float:
    """Of the next step: Keras reads its schedule there."""
    every = optimizer.gradient_accumulation_steps or 1
    if every > 1 and not isinstance(optimizer._learning_rate, theirs.Variable):
        # That of the last gradient of the step, not of the next gradient.
        count = int(optimizer._iterations) // every * every + every - 1
        return float(optimizer._learning_rate(count))
    return float(optimizer.learning_rate)


@every_run
def test_a_run_of_keras_goes_on_here(case: str) -> None:
    expected, tx = their_run(case), make_ours(case)
    values = [jnp.asarray(x) for x in expected.path[FIRST - 1]]
    state = ours.set_weights(tx, ours.build(tx, values), expected.middle)
    path, state = run_ours(tx, state, values, range(FIRST, STEPS))
    assert_same_path(path, expected.path[FIRST:])
    for mine, other in zip(ours.get_weights(tx, state), expected.last, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@every_run
def test_a_run_from_here_goes_on_in_keras(case: str) -> None:
    tx = make_ours(case)
    path, state = run_ours(tx, ours.build(tx, start()), start(), range(FIRST))
    optimizer, variables = make_theirs(case), keras_variables(path[-1])
    optimizer.build(variables)
    optimizer.set_weights(ours.get_weights(tx, state))
    expected, _ = run_ours(tx, state, path[-1], range(FIRST, STEPS))
    assert_same_path(run_theirs(optimizer, variables, range(FIRST, STEPS)), expected)


@every_case
def test_configurations_go_both_ways(case: str) -> None:
    optimizer, tx = make_theirs(case), make_ours(case)
    kind, _ = CASES[case]
    config = optimizer.get_config()
    before = copy.deepcopy(config)
    read = ours.from_config(config, kind)
    assert config == before
    if isinstance(config["learning_rate"], float):  # A schedule is kept as Keras wrote it.
        assert read == tx
    # Keras writes the digits of float32 and a name of its own.
    written = {**ours.get_config(read), "name": config["name"]}
    if isinstance(config["learning_rate"], float):
        written["learning_rate"] = float(np.float32(written["learning_rate"]))
    assert written == config
    serialised = theirs.optimizers.serialize(optimizer)
    assert ours.from_config(serialised) == read
    theirs.optimizers.deserialize(serialised)  # lowers the name of the class, in place
    assert ours.from_config(serialised) == read
    assert ours.from_config(config) == read
    back = type(optimizer).from_config(ours.get_config(tx))
    assert {**back.get_config(), "name": ""} == {**config, "name": ""}


@pytest.mark.full("one case more of what a quicker test shows")
def test_a_loss_scale_is_that_of_keras() -> None:
    """Every step there and here, with gradients that overflow; then weights and configuration."""
    optimizer = theirs.optimizers.LossScaleOptimizer(
        theirs.optimizers.Adam(**BASE, use_ema=True), initial_scale=2.0**10, dynamic_growth_steps=3
    )
    tx = ours.LossScaleOptimizer(ours.Adam(**BASE, use_ema=True), 2.0**10, 3)
    optimizer.build(keras_variables(start()))
    weights, variables = [v.value for v in optimizer.variables], start()
    values, state = start(), ours.build(tx, start())
    for step in range(12):
        scale = adamx.loss_scale(state)
        grads = [scale * g for g in gradients(step)]
        if step in (1, 2, 9):
            grads[0] = grads[0].at[0].set(jnp.inf)
        # As `model.fit` does it; `apply` alone leaks tracers on this backend.
        variables, weights = optimizer.stateless_apply(weights, grads, variables)
        values, state = ours.apply_gradients(tx, zip(grads, values, strict=True), state)
        assert float(adamx.loss_scale(state)) == float(weights[3])
        assert_same_path([values], [variables])
    assert int(ours.iterations(state)) == int(weights[4]) == 9
    for mine, other in zip(ours.get_weights(tx, state), weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    assert int(ours.iterations(ours.set_weights(tx, ours.build(tx, values), weights))) == 9
    config = theirs.optimizers.serialize(optimizer)
    assert ours.from_config(config) == tx
    back = type(optimizer).from_config(ours.get_config(tx))
    assert back.get_config()["inner_optimizer"]["class_name"] == "Adam"


def test_the_weights_have_their_order() -> None:
    """Every weight of Keras is told apart by its number, and arrives under its name."""
    tx = ours.Adam(0.5, amsgrad=True, use_ema=True, gradient_accumulation_steps=2)
    optimizer = theirs.optimizers.Adam(
        0.5, amsgrad=True, use_ema=True, gradient_accumulation_steps=2
    )
    optimizer.build(keras_variables(start()))
    numbered = [np.full(v.shape, i, v.dtype) for i, v in enumerate(optimizer.variables)]
    numbered[1] = np.float32(0.5)
    state = ours.set_weights(tx, ours.build(tx, start()), numbered)
    slots = {"momentum": "momentum", "velocity": "velocity", "velocity_hat": "velocity_hat"}
    for slot in (*slots, "average"):
        expected = [i for i, v in enumerate(optimizer.variables) if v.path.endswith(f"_{slot}")]
        assert [int(x.ravel()[0]) for x in ours.get_slot(state, slot)] == expected


def test_a_gradient_of_none() -> None:
    """Variable and slots stay, the iterations advance; Keras warns, we do not."""
    optimizer, variables = theirs.optimizers.Adam(**BASE), keras_variables(start())
    tx = ours.Adam(**BASE)
    values, state = start(), ours.build(tx, start())
    for step in range(12):
        grads: list[Any] = gradients(step)
        if step in (2, 3, 8):
            grads[0] = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer.apply(grads, variables)
        before = ours.get_slot(state, "m")[0]
        values, state = ours.apply_gradients(tx, zip(grads, values, strict=True), state)
        assert_same_path([values], [[v.value for v in variables]])
        if grads[0] is None:
            np.testing.assert_array_equal(before, ours.get_slot(state, "m")[0])
    assert int(ours.iterations(state)) == 12
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply([None, None], variables)
    with pytest.raises(ValueError, match="no gradients provided for any variable"):
        ours.apply_gradients(tx, [(None, values[0]), (None, values[1])], state)


def test_a_function_without_arguments() -> None:
    """Keras calls it at every step, too."""
    now = [0.0]
    optimizer = theirs.optimizers.Adam(lambda: now[0], beta_1=0.875, beta_2=0.9375)
    variables = keras_variables(start())
    tx = ours.Adam(lambda: now[0], beta_1=0.875, beta_2=0.9375)
    values, state = start(), ours.build(tx, start())
    for step in range(12):
        now[0] = 0.1 / (1 + step)
        optimizer.apply(gradients(step), variables)
        pairs = zip(gradients(step), values, strict=True)
        values, state = ours.apply_gradients(tx, pairs, state)
        assert_same_path([values], [[v.value for v in variables]])


def test_a_schedule_object_of_keras_is_taken_as_it_is() -> None:
    name, config = WARMUP
    theirs_schedule = getattr(theirs.optimizers.schedules, name)(**config)
    tx = ours.Adam(theirs_schedule)
    rate = ours.get_config(tx)["learning_rate"]
    assert rate == theirs.optimizers.schedules.serialize(theirs_schedule)
    assert ours.Adam(rate) == tx


def test_a_trained_model_goes_on_in_adamx() -> None:
    """`model.fit`, then `adamx.make_step` on the same batches: as if fit had gone on."""
    theirs.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3)).astype("f"), rng.standard_normal((12, 1)).astype("f")

    def network() -> Any:
        layers = [theirs.layers.Dense(4, activation="tanh"), theirs.layers.Dense(1)]
        model = theirs.Sequential([theirs.Input((3,)), *layers])
        model.compile(theirs.optimizers.Adam(**BASE, weight_decay=0.1), "mse")
        return model

    model = network()
    model.fit(x, y, epochs=6, batch_size=12, shuffle=False, verbose=0)
    tx = ours.from_config(theirs.optimizers.serialize(model.optimizer))
    params = [jnp.copy(v.value) for v in model.trainable_variables]
    state = ours.set_weights(tx, ours.build(tx, params), model.optimizer.variables)
    other = [v.value for v in model.non_trainable_variables]

    def loss(params: Any) -> Any:
        prediction, _ = model.stateless_call(params, other, x)
        return jnp.mean(jnp.square(prediction - y))

    step = adamx.make_step(loss, tx)
    for _ in range(6):
        params, state, _ = step(params, state)
    model.fit(x, y, epochs=6, batch_size=12, shuffle=False, verbose=0)
    for mine, v in zip(params, model.trainable_variables, strict=True):
        np.testing.assert_allclose(mine, v.value, rtol=0, atol=TOLERANCE)
        v.assign(mine)
    model.optimizer.set_weights(ours.get_weights(tx, state))
    assert int(model.optimizer.iterations) == 12


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "Nadam", "Adamax", "Lamb"])
def test_the_arguments_are_those_of_keras(kind: str) -> None:
    """With their defaults and in their order, but for where `Adam` has its `name`."""

    def arguments(function: Any) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
        skip = ("self", "name")
        return {p.name: p.default for p in parameters if p.kind in kinds and p.name not in skip}

    mine, others = getattr(ours, kind), getattr(theirs.optimizers, kind).__init__
    assert list(arguments(mine).items()) == list(arguments(others).items())


def test_the_default_betas() -> None:
    """Keras mixes the exact `1 - beta` with powers of the rounded beta; ours is exact.

    The direction of the first step is off by 6.5e-6 of itself: sqrt((1 - beta_r) / (1 - beta)).
    """
    optimizer, variables = theirs.optimizers.Adam(1.0, epsilon=1e-20), keras_variables(start())
    optimizer.apply(gradients(0), variables)
    tx = ours.Adam(1.0, epsilon=1e-20)
    values, _ = ours.apply_gradients(
        tx, zip(gradients(0), start(), strict=True), ours.build(tx, start())
    )
    for before, mine, v, g in zip(start(), values, variables, gradients(0), strict=True):
        exact = np.asarray(before, np.float64) - np.sign(np.asarray(g))
        rounding = 2.0**-23 * np.maximum(np.abs(exact), 1.0)
        assert np.all(np.abs(np.asarray(mine) - exact) <= rounding)
        off = np.abs(np.asarray(v.value) - exact)
        assert np.all((off > 5e-6) & (off < 8e-6))
