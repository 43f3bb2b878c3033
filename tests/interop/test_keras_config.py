"""Configurations of Keras: what is read, what is refused by name, and what cannot be written."""

from __future__ import annotations

import json
from typing import Any

import jax.numpy as jnp
import pytest

import adamx
from adamx.interop import keras

HALVING = {
    "module": "keras.optimizers.schedules",
    "class_name": "ExponentialDecay",
    "config": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    "registered_name": None,
}
EVERYTHING: dict[str, dict[str, Any]] = {
    "keras": {
        "learning_rate": HALVING,
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-3,
        "amsgrad": True,
        "name": "mine",
        "weight_decay": 0.1,
        "global_clipnorm": 1.0,
        "use_ema": True,
        "ema_momentum": 0.9,
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 2,
    },
    "tensorflow": {
        "learning_rate": 0.1,
        "clipvalue": 0.5,
        "use_ema": True,
        "ema_overwrite_frequency": 10,
        "jit_compile": False,
        "adaptive_epsilon": True,
    },
    "legacy": {"learning_rate": HALVING, "decay": 0.1, "clipvalue": 0.5, "clipnorm": 1.0},
}


@pytest.mark.parametrize("preset", EVERYTHING)
def test_it_is_json_and_comes_back(preset: str) -> None:
    tx = keras.Adam(**EVERYTHING[preset], preset=preset)
    config = keras.get_config(tx)
    assert keras.from_config(json.loads(json.dumps(config))) == tx
    for key, x in EVERYTHING[preset].items():
        assert config[key] == x


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "Nadam", "Adamax", "Lamb"])
def test_every_class(kind: str) -> None:
    make = getattr(keras, kind)
    tx = make(0.1, beta_1=0.8, weight_decay=0.3, clipnorm=1.0)
    assert keras.from_config(keras.get_config(tx), kind) == tx
    serialised = {"class_name": kind, "config": keras.get_config(tx), "module": "keras.optimizers"}
    assert keras.from_config(serialised) == tx
    snake = {"AdamW": "adam_w"}.get(kind, kind.lower())
    for name in (kind, kind.lower(), snake, f"{snake}_12"):
        read = keras.from_config({**keras.get_config(tx), "name": name})
        assert (read.kind, read.replace(scope=tx.name)) == (kind, tx)


def test_the_class_is_told_and_never_guessed() -> None:
    named = keras.get_config(keras.Lamb(0.1, name="mine"))
    with pytest.raises(ValueError, match=r"name='mine'\) does not say .*say `class_name=`, one of"):
        keras.from_config(named)
    assert keras.from_config(named, "Lamb") == keras.Lamb(0.1, name="mine")
    assert keras.from_config({"name": "mine", "amsgrad": False}).kind == "Adam"
    for nothing in ({}, {"learning_rate": 0.1}, {"name": "sgd"}, {"name": None}):
        with pytest.raises(ValueError, match="say `class_name=`"):
            keras.from_config(nothing)
    with pytest.raises(ValueError, match="unknown key 'amsgrad' for Nadam"):
        keras.from_config({"name": "nadam_3", "amsgrad": False})
    with pytest.raises(ValueError, match=r"is of class 'Lamb', but `class_name='Adam'`"):
        keras.from_config({"class_name": "Lamb", "config": named}, "Adam")


def test_unknown_keys_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown key 'momentum' for Adam; known are .*beta_1"):
        keras.from_config({"momentum": 0.9}, "Adam")
    with pytest.raises(ValueError, match="unknown key 'amsgrad' for Nadam"):
        keras.from_config({"amsgrad": True}, "Nadam")
    with pytest.raises(ValueError, match="unknown class 'SGD'; known are Adam"):
        keras.from_config({"class_name": "SGD", "config": {}})
    with pytest.raises(ValueError, match="unknown key 'preset'"):
        keras.from_config({"preset": "legacy"}, "Adam")


@pytest.mark.parametrize(
    ("rate", "match"),
    [
        ({"class_name": "function", "config": "lambda: 0.1"}, "class_name.*ExponentialDecay"),
        ({"class_name": "os.system", "config": {"command": "true"}}, "class_name"),
        ({**HALVING, "code": "import os"}, "written"),
        ({"config": {}}, "written"),
        ({**HALVING, "config": {"initial_learning_rate": 0.1}}, "missing argument 'decay_steps'"),
        (
            {**HALVING, "config": {**HALVING["config"], "staircases": True}},  # type: ignore[dict-item]
            "unknown argument 'staircases'; it takes",
        ),
        ({**HALVING, "config": {**HALVING["config"], "decay_rate": -1.0}}, "decay_rate"),  # type: ignore[dict-item]
    ],
    ids=["function", "no schedule", "extra", "no class", "missing", "unknown", "range"],
)
def test_a_schedule_is_data_and_nothing_else(rate: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        keras.from_config({"learning_rate": rate}, "Adam")


def test_what_is_no_configuration() -> None:
    for wrong in (None, "Adam", [("learning_rate", 0.1)]):
        with pytest.raises(TypeError, match="expected a dictionary"):
            keras.from_config(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a dictionary of arguments"):
        keras.from_config({"learning_rate": {**HALVING, "config": None}}, "Adam")


@pytest.mark.parametrize(
    ("tx", "match"),
    [
        (keras.Adam(adamx.constant_schedule(0.1)), r"learning_rate is constant_schedule"),
        (keras.Adam(lambda: 0.1), "learning_rate"),
        (keras.Adam(beta_1=lambda: 0.5), "beta_1"),
        (keras.Adam(gradient_transformers=[list]), "gradient_transformers"),
        (keras.Adam(gradient_aggregator=list), "gradient_aggregator"),
        (keras.Adam(decay=0.5), r"has decay=0\.5.*preset='keras'"),
        (keras.Adam(jit_compile=False), "jit_compile=False"),
        (keras.Adam(preset="legacy", weight_decay=0.1), r"weight_decay=0\.1.*preset='legacy'"),
        (keras.exclude_from_weight_decay(keras.AdamW(), ["b"]), "excludes variables"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_a_configuration_cannot_hold(tx: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        keras.get_config(tx)


def test_an_array_is_written_as_a_number() -> None:
    assert keras.get_config(keras.Adam(jnp.asarray(0.5)))["learning_rate"] == 0.5


def test_the_preset_is_told_by_the_keys() -> None:
    """Keras 3 writes no `decay`, the current TensorFlow class marks itself."""
    assert keras.from_config({}, "Adam").preset == "keras"
    assert keras.from_config({"is_legacy_optimizer": False}, "Adam").preset == "tensorflow"
    assert keras.from_config({"is_legacy_optimizer": True}, "Adam").preset == "legacy"
    assert keras.from_config({"decay": 0.0}, "Adam").preset == "legacy"
    assert keras.from_config({"lr": 0.1}, "Adam") == keras.Adam(0.1, preset="legacy")
    assert keras.from_config({"decay": 0.0}, "Adam", preset="tensorflow").preset == "tensorflow"


def test_the_first_configurations() -> None:
    """TF 1.x wrote `lr`, `decay` and an epsilon of 1e-8 or None."""
    config = {
        "lr": 0.01,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "decay": 0.1,
        "amsgrad": False,
    }
    assert keras.from_config(config) == keras.Adam(0.01, epsilon=1e-8, decay=0.1, preset="legacy")
    assert keras.from_config({"name": "Adam", "epsilon": None}) == keras.Adam(epsilon=1e-7)
