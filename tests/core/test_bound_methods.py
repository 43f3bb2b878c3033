"""`jax.jit(tx.update)` inside a loop compiles once, as with optax's functions."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adamx

PARAMS = {"w": jnp.ones(2)}
ADAM = adamx.adam(0.1)
TRANSFORMATIONS = [
    adamx.scale(2.0),
    ADAM,
    adamx.apply_if_finite(ADAM),
    adamx.masked(ADAM, {"w": True}),
    adamx.sparse.adam(0.1, "lazy"),
    adamx.chain(ADAM, adamx.ema_params(0.5)),
    adamx.identity(),
]


@functools.cache
def traces() -> list[str]:
    """The names of the events of tracing, from now on."""
    events: list[str] = []

    def listen(event: str, seconds: float, **facts: Any) -> None:
        if "trace" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return events


@pytest.mark.parametrize("tx", TRANSFORMATIONS, ids=lambda tx: tx.public_name)
def test_compiling_a_method_again_traces_nothing(tx: Any) -> None:
    def once() -> None:
        state = jax.jit(tx.init)(PARAMS)
        jax.jit(tx.update)(PARAMS, state, PARAMS)
        jax.jit(tx.step)(PARAMS, state, PARAMS)

    events = traces()
    before = len(events)
    once()
    assert len(events) > before
    before = len(events)
    once()
    assert len(events) == before


def test_every_instance_has_methods_of_its_own() -> None:
    ADAM.update  # noqa: B018
    for other in (ADAM.replace(), copy.copy(ADAM), copy.deepcopy(ADAM)):
        assert other == ADAM
        assert other.update.__self__ is other
    assert pickle.loads(pickle.dumps(ADAM)) == ADAM
    assert jax.tree.map(lambda x: 2 * x, ADAM).update is not ADAM.update
    average = adamx.ema_params(0.5)
    assert super(adamx.Observer, average).update != average.update
    assert average.update.__func__ is type(average).update


def test_a_transformation_that_holds_tracers_is_not_kept_alive() -> None:
    seen = []

    @jax.jit
    def step(tx: Any) -> Any:
        seen.append(weakref.ref(tx))
        return tx.step(PARAMS, tx.init(PARAMS), PARAMS)[0]

    gc.disable()
    try:
        step(adamx.scale(2.0))
    finally:
        gc.enable()
    assert seen[0]() is None
