"""Configurations hold plain data only; everything else is an error that says where."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adamx


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (
            {"name": "adam_optimiser"},
            ValueError,
            "unknown name 'adam_optimiser'; known are .*scale",
        ),
        ({"name": "scale"}, TypeError, "missing argument 'step_size'"),
        ({"name": "scale", "step_size": 1.0, "x": 1}, TypeError, "unknown argument 'x'"),
        ({"name": "scale", "step_size": "1.0"}, TypeError, "`step_size` must be a number"),
        ({"name": "clip_by_global_norm", "max_norm": -1.0}, ValueError, r"in \[0, inf\)"),
        ({"name": "chain", "links": [{"name": "scale", "step_size": []}]}, TypeError, "step_size"),
        (
            {"name": "chain", "links": [{"name": "constant_schedule", "value": 1.0}]},
            TypeError,
            "link 0",
        ),
        ({"name": "stateless", "f": "print"}, TypeError, "`f` must be a function"),
        ({"name": "callable_schedule", "function": "print"}, TypeError, "must be a function"),
        ({"name": "foreign", "transformation": "optax.adam"}, TypeError, "must be a gradient"),
        ({"max_norm": 1.0}, TypeError, "expected a dict with a 'name'"),
        ({"name": ["scale"]}, TypeError, "expected a dict with a 'name'"),
        *(
            ({"name": "chain", "links": [link]}, TypeError, "expected a dict with a 'name'")
            for link in ({}, {"max_norm": 1.0}, {"name": ["scale"]}, {"name": None})
        ),
        ({"name": ["scale"], "links": []}, TypeError, "expected a dict with a 'name'"),
        ([], TypeError, "expected a dict with a 'name'"),
        ("scale", TypeError, "expected a dict with a 'name'"),
    ],
)
def test_a_bad_configuration_is_refused(config: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        adamx.from_config(config)


@pytest.mark.parametrize(
    ("array", "dtype", "error", "message"),
    [
        (300, "int8", ValueError, "int8 cannot hold 300"),
        (-1, "uint8", ValueError, "uint8 cannot hold -1"),
        (2**31, "int32", ValueError, "int32 cannot hold"),
        (1.5, "int32", ValueError, "int32 cannot hold 1.5"),
        (float("nan"), "int32", ValueError, "int32 cannot hold nan"),
        ([1.0, 1e6], "float16", ValueError, "float16 cannot hold"),
        (1e39, "bfloat16", ValueError, "bfloat16 cannot hold"),
        (True, "float32", TypeError, "must hold real numbers, got True"),
        ("0.5", "float32", TypeError, "must hold real numbers, got '0.5'"),
        (None, "float32", TypeError, "must hold real numbers, got None"),
        (0.5, "complex64", TypeError, "must hold real numbers"),
        (1, "bool", TypeError, "must hold real numbers"),
        (1, "timedelta64[s]", TypeError, "must hold real numbers"),
        (0.5, "float31", TypeError, "no array of a dtype"),
        (0.5, 32, TypeError, "no array of a dtype"),
        ([[1.0], 2.0], "float32", TypeError, "no array of a dtype"),
        (-1.0, "float32", ValueError, r"`max_norm` must be in \[0, inf\), got array\(-1."),
    ],
)
def test_an_array_that_its_dtype_cannot_hold_is_refused(
    array: Any, dtype: Any, error: Any, message: str
) -> None:
    config = {"name": "clip_by_global_norm", "max_norm": {"array": array, "dtype": dtype}}
    with pytest.raises(error, match=message):
        adamx.from_config(config)


@pytest.mark.parametrize("dtype", ["int8", "uint32", "float16", "bfloat16", "float32", "float64"])
def test_an_array_keeps_its_dtype(dtype: str) -> None:
    config = {"name": "clip_by_global_norm", "max_norm": {"array": 100, "dtype": dtype}}
    limit = adamx.from_config(config).max_norm
    assert (limit.dtype.name, limit) == (dtype, 100)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (adamx.stateless(lambda updates, params: updates), "stateless.f"),
        (adamx.adam(lambda count: 0.1), r"chain.links\[1\].learning_rate.function"),
        (adamx.adamw(0.1, mask=lambda params: True), r"chain.links\[1\].mask"),
        (adamx.adamw(0.1, mask=(True, False)), r"chain.links\[1\].mask"),
        (adamx.chain(optax.identity()), r"chain.links\[0\].transformation\[0\]"),
    ],
    ids=["function", "schedule", "mask_function", "tuple", "optax"],
)
def test_what_json_cannot_hold_is_named_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(TypeError, match=rf"get_config: {path} is .* cannot hold"):
        adamx.get_config(value)


def test_only_values_have_a_configuration() -> None:
    endless = functools.reduce(lambda inner, _: [inner], range(10_000), 0.5)
    for other in (optax.adam(0.1), {"name": "scale"}, adamx.adam, endless):
        with pytest.raises(TypeError, match="expected an adamx transformation or schedule"):
            adamx.get_config(other)


def test_a_traced_number_has_no_configuration() -> None:
    with pytest.raises(TypeError, match=r"scale.step_size is .* cannot hold"):
        jax.jit(lambda x: adamx.get_config(adamx.scale(x)))(0.1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int32"])
def test_arrays_come_back_bit_by_bit(dtype: str) -> None:
    tx = adamx.scale(jnp.asarray([1 / 3, 7.0], dtype))
    config = json.loads(json.dumps(adamx.get_config(tx)))
    assert config["step_size"]["dtype"] == dtype
    assert adamx.from_config(config) == tx


def test_the_form_is_the_documented_one() -> None:
    tx = adamx.named_chain(("decay", adamx.add_decayed_weights(0.1, mask={"w": True})))
    decay = {"name": "add_decayed_weights", "weight_decay": 0.1, "mask": {"tree": {"w": True}}}
    expected = {"name": "named_chain", "links": [decay], "names": ["decay"]}
    assert adamx.get_config(tx) == expected


def test_numbers_are_kept_exactly() -> None:
    for number in (0.1, 1e-300, 1 / 3, 12345678901234567.0):
        config = json.loads(json.dumps(adamx.get_config(adamx.scale(number))))
        assert adamx.from_config(config).step_size == number
