"""Every switch of everything public is True or False: the text "False" would be true."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adamx
import adamx.interop.keras
import adamx.interop.optax
import adamx.interop.torch

# Where they are, and the arguments without a default.
PLACES = (adamx, adamx.sharding, adamx.sparse, adamx.interop.keras, adamx.interop.torch)
REQUIRED: dict[str, Any] = {
    "inner": adamx.adam(0.1),
    "tx": adamx.adam(0.1),
    "loss_fn": jnp.sum,
    "step": lambda params, state: (params, state),
    "should_transform_fn": lambda step: step > 0,
    "tables": {"embed": lambda batch: batch},
    "transforms": {"a": adamx.adam(0.1)},
    "param_labels": "a",
    "indices": np.zeros(1, np.int32),
    "values": np.zeros((1, 2), np.float32),
    "num_rows": 3,
    "decay": 0.5,
    "decay_rate": 0.5,
    "every_k_schedule": 2,
    "transition_steps": 10,
    "warmup_steps": 10,
}
# Arguments of plain data, which whoever takes them checks.
DATA = {"EMAOption", "KerasOptimizer"}


def switches() -> Iterator[Any]:
    """Each function or class once, with one of its switches."""
    seen = set()
    for place in PLACES:
        for name in place.__all__:
            thing = getattr(place, name)
            if not callable(thing) or thing in seen or name in DATA:
                continue
            seen.add(thing)
            for parameter in inspect.signature(thing).parameters.values():
                if isinstance(parameter.default, bool):
                    yield pytest.param(thing, parameter.name, id=f"{name}-{parameter.name}")


SWITCHES = [*switches()]


def call(thing: Callable[..., Any], **switch: Any) -> None:
    parameters = inspect.signature(thing).parameters.values()
    needed = [
        REQUIRED.get(p.name, 1.0)
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    thing(*(needed or ["a"] * any(p.kind is p.VAR_POSITIONAL for p in parameters)), **switch)


@pytest.mark.parametrize(("thing", "name"), SWITCHES)
def test_a_switch_is_true_or_false(thing: Callable[..., Any], name: str) -> None:
    call(thing, **{name: np.bool_(True)})
    for wrong in ("False", 1, None):
        with pytest.raises(TypeError, match=f"`{name}` must be True or False"):
            call(thing, **{name: wrong})


def test_there_are_switches_of_functions_and_of_values() -> None:
    ids = {case.id for case in SWITCHES}
    assert {"make_step-donate", "value_and_grad-has_aux", "Adam-amsgrad", "trace-nesterov"} <= ids
