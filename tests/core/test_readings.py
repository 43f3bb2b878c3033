"""A hyperparameter that is a function without arguments is read at every step, never kept."""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.core.hyperparameter import CallableNumber, CallableSchedule
from adamx.interop import keras


class Dial:
    """A number that somebody turns between steps, and how often it was read."""

    def __init__(self, number: Any) -> None:
        self.number = number
        self.reads = 0

    def __call__(self) -> Any:
        self.reads += 1
        return self.number

    def __repr__(self) -> str:
        return "Dial"


def loss(w: Any) -> Any:
    return jnp.sum(jnp.square(w)) / 2.0


def path(make: Any, turns: list[float], **options: Any) -> list[Any]:
    """Parameters after each step; `make(rate)` builds the optimizer."""
    dial = Dial(turns[0])
    step = adamx.make_step(loss, make(dial), donate=False, **options)
    w, state, found = jnp.array([1.0, -2.0]), make(dial).init(jnp.zeros(2)), []
    for number in turns:
        dial.number = number
        w, state, *_ = step(w, state)
        found.append(w)
    return found


TURNS = [0.5, 0.1, 0.1, 0.02]
SCHEDULE = adamx.piecewise_constant_schedule(0.5, {1: 0.2, 3: 0.2})


@pytest.mark.parametrize(
    "make",
    [
        adamx.adam,
        lambda rate: adamx.adam(0.1, b1=rate),
        lambda rate: adamx.adam(0.1, b2=rate),
        lambda rate: adamx.adam(0.1, eps=rate),
        lambda rate: adamx.chain(adamx.clip_by_global_norm(rate), adamx.adam(0.1)),
        lambda rate: adamx.apply_if_finite(adamx.adamw(0.1, weight_decay=rate)),
        lambda rate: adamx.multi_steps(adamx.adam(rate), 1),
    ],
    ids=["learning_rate", "b1", "b2", "eps", "max_norm", "weight_decay", "inside a conditional"],
)
def test_make_step_reads_it_before_every_step(make: Any) -> None:
    """The same path as with a schedule that has those values."""
    w, expected = jnp.array([1.0, -2.0]), []
    tx = make(SCHEDULE)
    step = adamx.make_step(loss, tx, donate=False)
    state = tx.init(w)
    for _ in TURNS:
        w, state, _ = step(w, state)
        expected.append(w)
    chex.assert_trees_all_close(path(make, TURNS), expected, rtol=1e-6)


def test_a_new_number_compiles_nothing() -> None:
    traces = []

    def counted(w: Any) -> Any:
        traces.append(None)
        return loss(w)

    dial = Dial(0.5)
    tx = adamx.adam(dial)
    step = adamx.make_step(counted, tx)
    w, state = jnp.array([1.0, -2.0]), tx.init(jnp.zeros(2))
    for number in (0.5, 0.1, 1, jnp.asarray(0.1)):
        dial.number = number
        w, state, _ = step(w, state)
    assert len(traces) == 1
    assert dial.reads == 4


def test_it_is_read_directly_outside_of_jit() -> None:
    dial = Dial(0.5)
    tx = adamx.adam(dial)
    w = jnp.array(2.0)
    w, state = tx.step(jnp.array(1.0), tx.init(w), w)
    dial.number = 0.25
    w, state = tx.step(jnp.array(1.0), state, w)
    assert float(w) == pytest.approx(1.25)
    assert float(adamx.get_learning_rate(state, tx)) == 0.25


@pytest.mark.parametrize("transform", [jax.jit, lambda f: functools.partial(scanned, f)])
def test_inside_a_compiled_function_it_must_have_been_read(transform: Any) -> None:
    dial = Dial(0.5)
    tx = adamx.adam(dial)
    w = jnp.array(2.0)
    with pytest.raises(TypeError, match=r"Dial.*adamx\.make_step.*adamx\.read_callables"):
        transform(tx.step)(jnp.array(1.0), tx.init(w), w)
    assert dial.reads == 0


def scanned(step: Any, grads: Any, state: Any, w: Any) -> Any:
    return jax.lax.scan(lambda c, _: (step(grads, c[1], c[0]), None), (w, state), length=2)


def test_the_step_itself_is_not_called_inside_a_compiled_function() -> None:
    tx = adamx.adam(Dial(0.5))
    step = adamx.make_step(loss, tx)
    with pytest.raises(TypeError, match="call the step outside of `jit`"):
        jax.jit(step)(jnp.zeros(2), tx.init(jnp.zeros(2)))


def test_only_functions_that_take_nothing_are_read_like_this() -> None:
    def kind(function: Any) -> type:
        return type(adamx.scale_by_learning_rate(function).learning_rate)

    assert kind(lambda: 0.1) is CallableNumber
    assert kind(lambda count: 0.1) is CallableSchedule
    assert kind(lambda *counts: 0.1) is CallableSchedule


@pytest.mark.parametrize(
    "ambiguous",
    [lambda lr=0.1: lr, lambda count=0: 0.1, functools.partial(lambda a, lr=0.1: lr, 3)],
    ids=["captured", "count", "partial"],
)
@pytest.mark.parametrize(
    "make",
    [
        adamx.adam,
        lambda f: adamx.adam(0.1, b1=f),
        lambda f: adamx.join_schedules([f], []),
        lambda f: adamx.scale_schedule(f, 2.0),
        lambda f: adamx.scale_by_schedule(f),
        lambda f: adamx.multi_steps(adamx.adam(0.1), f),
    ],
    ids=["learning_rate", "b1", "join", "scale", "scale_by_schedule", "every"],
)
def test_an_argument_with_a_default_is_not_guessed(make: Any, ambiguous: Any) -> None:
    """`lambda lr=0.1: lr` means 0.1; taken for a schedule it would be the step count."""
    with pytest.raises(TypeError, match=r"has a default.* write `lambda count: \.\.\.`.*`lambda: "):
        make(ambiguous)


@pytest.mark.parametrize(
    "wrong", [lambda a, b: a, adamx.linear_schedule, lambda *, rate: rate], ids=["2", "class", "kw"]
)
def test_a_function_of_another_number_of_arguments_is_refused(wrong: Any) -> None:
    with pytest.raises(
        TypeError, match=r"must be a function of the step count, got .* which takes"
    ):
        adamx.adam(wrong)


@pytest.mark.parametrize(
    "result",
    [
        0.1 + 1j,
        True,
        None,
        "0.1",
        np.complex64(1),
        np.array(False),
        object(),
        np.timedelta64(1, "s"),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_schedule_returns_real_numbers(result: Any) -> None:
    """The imaginary part would be lost, and True would be a rate of 1."""

    def rate(count: Any) -> Any:
        return result

    w = jnp.zeros(2)
    for schedule in (rate, adamx.join_schedules([rate, lambda count: 0.5], [3])):
        tx = adamx.adam(schedule)
        for step in (tx.step, jax.jit(tx.step)):
            with pytest.raises(TypeError, match=r"rate must be a real number, got "):
                step(jnp.ones(2), tx.init(w), w)


def test_a_schedule_of_one_s_own_returns_real_numbers() -> None:
    tx = adamx.scale_by_learning_rate(Complex())
    with pytest.raises(TypeError, match="learning_rate must be a real number, got"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


class Complex(adamx.Schedule):
    def __call__(self, count: Any) -> Any:
        return jnp.asarray(1j)


def test_what_it_returns_must_be_one_number() -> None:
    w = jnp.zeros(2)
    for wrong, match in (
        (jnp.ones(2), "must be a scalar"),
        ("fast", "`learning_rate=Dial` must be a number, got 'fast'"),
    ):
        tx = adamx.adam(Dial(wrong))
        with pytest.raises((TypeError, ValueError), match=match):
            adamx.make_step(loss, tx)(w, tx.init(w))


@pytest.mark.parametrize(
    ("make", "wrong", "match"),
    [
        (adamx.adamw, -1.0, r"`learning_rate=Dial` must be in \[0, inf\), got -1\.0"),
        (adamx.adamw, np.float32("nan"), r"`learning_rate=Dial` must be in \[0, inf\), got .*nan"),
        (lambda f: adamx.adam(0.1, b1=f), 1.0, r"scale_by_adam: `b1=Dial` must be in \[0, 1\)"),
        (
            adamx.clip_by_global_norm,
            -1,
            r"clip_by_global_norm: `max_norm=Dial` .* \[0, inf\), got -1",
        ),
        (
            lambda f: keras.Adam(f, gradient_accumulation_steps=2),
            -0.5,
            r"`schedule=Dial` must be in \[0, inf\), got -0\.5",
        ),
    ],
    ids=["learning_rate", "nan", "b1", "max_norm", "of micro-batches"],
)
def test_what_it_returns_must_be_in_the_hyperparameter_s_range(
    make: Any, wrong: Any, match: str
) -> None:
    dial = Dial(0.5)
    tx, w = make(dial), jnp.ones(2)
    step = adamx.make_step(loss, tx, donate=False)
    w, state, _ = step(w, tx.init(w))
    dial.number = wrong
    for late in (lambda: step(w, state), lambda: adamx.read_callables(tx)):
        with pytest.raises(ValueError, match=match):
            late()


def test_it_is_compared_by_identity_and_printed_by_name() -> None:
    def rate() -> float:
        return 0.1

    assert adamx.adam(rate) == adamx.adam(rate)
    assert adamx.adam(rate) != adamx.adam(lambda: 0.1)
    assert "rate" in repr(adamx.adam(rate))
