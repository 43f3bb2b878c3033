"""Arguments at the edge: accepted where optax accepts and their meaning is clear, else listed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

DEPARTURES = (Path(__file__).parents[2] / "docs" / "departures.md").read_text()
GRADS = {"b": jnp.array([0.5, -2.0, 0.0]), "w": jnp.ones((2, 2))}
LINKS: dict[str, Callable[[Any], Any]] = {
    "clip(0)": lambda lib: lib.clip(0.0),
    "clip_by_global_norm(0)": lambda lib: lib.clip_by_global_norm(0.0),
    "clip_by_block_rms(0)": lambda lib: lib.clip_by_block_rms(0.0),
    "adaptive_grad_clip(0)": lambda lib: lib.adaptive_grad_clip(0.0),
    "scale(-0.1)": lambda lib: lib.scale(-0.1),
    "scale(-1)": lambda lib: lib.scale(-1),
    "scale_by_learning_rate(0)": lambda lib: lib.scale_by_learning_rate(0.0),
    "adam(1)": lambda lib: lib.adam(1),
    "trace(0)": lambda lib: lib.trace(0.0),
    "apply_if_finite(0)": lambda lib: lib.apply_if_finite(lib.scale(1.0), 0),
}
SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "warmup_cosine, negative end": lambda lib: lib.warmup_cosine_decay_schedule(
        0.0, 0.1, 2, 6, end_value=-0.1
    ),
    "warmup_cosine, negative start": lambda lib: lib.warmup_cosine_decay_schedule(-0.1, 0.1, 2, 6),
    "warmup_cosine, fractions of steps": lambda lib: lib.warmup_cosine_decay_schedule(
        0.0, 0.1, 1.5, 6.5
    ),
    "cosine, negative": lambda lib: lib.cosine_decay_schedule(-0.1, 6, alpha=-0.5),
    "cosine, fractions": lambda lib: lib.cosine_decay_schedule(0.1, 2.5),
    "cosine, exponent 0": lambda lib: lib.cosine_decay_schedule(0.1, 6, exponent=0.0),
    "linear, fractions": lambda lib: lib.linear_schedule(0.1, -0.1, 2.5),
    "polynomial, power 0": lambda lib: lib.polynomial_schedule(0.1, 0.0, 0.0, 4),
    "exponential, fractions": lambda lib: lib.exponential_decay(0.1, 2.5, 0.5, end_value=-0.1),
    "joined, fractions": lambda lib: lib.join_schedules(
        [lib.constant_schedule(0.1), lib.constant_schedule(-0.2)], [2.5]
    ),
    "piecewise, fractions": lambda lib: lib.piecewise_constant_schedule(0.1, {2.5: 0.1}),
}
# What optax accepts and is refused here, with what the departures say of it.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "learning rate": (lambda: adamx.adam(-0.1), "negative rate"),
    "decay": (lambda: adamx.adamw(0.1, weight_decay=-0.1), "`weight_decay`"),
    "eps": (lambda: adamx.adam(0.1, eps=-1e-8), "`eps`"),
    "b1": (lambda: adamx.adam(0.1, b1=1.0), "`b1=1.0`"),
    "power": (lambda: adamx.polynomial_schedule(0.1, 0.0, -1.0, 4), "`power`"),
    "decay_rate": (lambda: adamx.exponential_decay(0.1, 4, 0.0), "`decay_rate`"),
    "mu_dtype": (lambda: adamx.scale_by_adam(mu_dtype="complex64"), "`mu_dtype`"),
    "accumulator_dtype": (
        lambda: adamx.trace(0.9, accumulator_dtype="complex64"),
        "`accumulator_dtype`",
    ),
    "seed": (lambda: adamx.add_noise(0.1, 0.5, seed=0), "`seed=`"),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("name", LINKS)
def test_links_take_what_optax_takes(name: str) -> None:
    ours, theirs = (LINKS[name](library) for library in (adamx, optax))
    update, wanted = (tx.update(GRADS, tx.init(GRADS), GRADS)[0] for tx in (ours, theirs))
    chex.assert_trees_all_close(update, wanted, rtol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_take_what_optax_takes(name: str) -> None:
    ours, theirs = (SCHEDULES[name](library) for library in (adamx, optax))
    for step in range(9):
        np.testing.assert_allclose(ours(step), theirs(step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_listed(name: str) -> None:
    make, listed = REFUSED[name]
    with pytest.raises((ValueError, TypeError)):
        make()
    assert listed in DEPARTURES


def test_no_bad_step_at_all() -> None:
    tx = adamx.apply_if_finite(adamx.adam(0.1), 0)
    with pytest.raises(adamx.DivergedError, match="1 steps in a row"):
        tx.step(jnp.array(jnp.nan), tx.init(jnp.array(1.0)), jnp.array(1.0))


# Functions of transformations take other arguments on purpose, `seed=` is deprecated in optax.
OTHER_NAMES = {"inject_hyperparams": "**9.", "add_noise": "`seed=`"}
SHARED = [
    name
    for name in adamx.__all__
    if inspect.isfunction(getattr(optax, name, None)) and callable(getattr(adamx, name))
]


@pytest.mark.parametrize("name", SHARED)
def test_arguments_have_optaxs_names_and_places(name: str) -> None:
    def names(function: Any) -> list[str]:
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        parameters = inspect.signature(function).parameters.values()
        return [p.name for p in parameters if p.kind not in variadic]

    ours, theirs = names(getattr(adamx, name)), names(getattr(optax, name))
    if name in OTHER_NAMES:
        assert OTHER_NAMES[name] in DEPARTURES
    else:
        assert ours[: len(theirs)] == theirs
