"""Learning rates in Keras's words: schedules by class name, `decay`, counts of micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Count,
    Hyperparameter,
    Number,
    Schedule,
    as_schedule,
    resolve,
    scalar,
)
from adamx.core.mask import FrozenTree
from adamx.schedules.cosine import cosine_decay_schedule, warmup_cosine_decay_schedule
from adamx.schedules.exponential import exponential_decay
from adamx.schedules.inverse import inverse_time_decay
from adamx.schedules.polynomial import polynomial_schedule
from adamx.schedules.restarts import cosine_restarts_schedule
from adamx.schedules.shapes import step_count


def _exponential(
    initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
) -> Schedule:
    return exponential_decay(initial_learning_rate, decay_steps, decay_rate, staircase=staircase)


def _inverse_time(
    initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
) -> Schedule:
    return inverse_time_decay(initial_learning_rate, decay_rate, decay_steps, staircase)


def _polynomial(
    initial_learning_rate: float,
    decay_steps: int,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
) -> Schedule:
    return polynomial_schedule(
        initial_learning_rate, end_learning_rate, power, decay_steps, cycle=cycle
    )


def _cosine(
    initial_learning_rate: float,
    decay_steps: int,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
) -> Schedule:
    if warmup_target is None:
        # Keras does not look at `warmup_steps` then.
        return cosine_decay_schedule(initial_learning_rate, decay_steps, alpha)
    # Keras counts the steps of the decay from the end of the warm-up.
    end = warmup_steps + decay_steps
    return warmup_cosine_decay_schedule(
        initial_learning_rate, warmup_target, warmup_steps, end, alpha * warmup_target
    )


def _restarts(
    initial_learning_rate: float,
    first_decay_steps: int,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> Schedule:
    return cosine_restarts_schedule(initial_learning_rate, first_decay_steps, t_mul, m_mul, alpha)


def _piecewise(boundaries: list[float], values: list[float]) -> Callable[[Count], chex.Array]:
    """Still the old value in the step at the boundary."""
    for name, given in (("boundaries", boundaries), ("values", values)):
        if not isinstance(given, (list, tuple)) or not all(
            isinstance(x, (int, float)) and not isinstance(x, bool) for x in given
        ):
            raise TypeError(
                f"PiecewiseConstantDecay: `{name}` must be a list of numbers, got {given!r}"
            )
    if len(values) != len(boundaries) + 1 or sorted(boundaries) != list(boundaries):
        raise ValueError(
            "PiecewiseConstantDecay: `boundaries` must increase and `values` be one more, got "
            f"{boundaries} and {values}"
        )

    def value(count: Count) -> chex.Array:
        # A whole step is past a fractional boundary where it is past its floor.
        passed = step_count(count)[..., None] > jnp.asarray(np.floor(boundaries), jnp.int32)
        return jnp.asarray(values, float)[jnp.sum(passed, axis=-1)]

    return value


# Each class of Keras in our words; the signatures are theirs without `name`.
_MADE_BY: dict[str, Callable[..., Callable[[Count], chex.Array]]] = {
    "ExponentialDecay": _exponential,
    "InverseTimeDecay": _inverse_time,
    "PiecewiseConstantDecay": _piecewise,
    "PolynomialDecay": _polynomial,
    "CosineDecay": _cosine,
    "CosineDecayRestarts": _restarts,
}


_CLASSES = {name.lower(): name for name in _MADE_BY}


def _check_class(where: Where, value: Any) -> str:
    name = _CLASSES.get(value.lower()) if isinstance(value, str) else None
    if name is None:
        raise where.error(ValueError, f"one of {', '.join(_MADE_BY)}", value)
    return name


def _check_config(where: Where, value: Any) -> FrozenTree:
    contents = value.thaw() if isinstance(value, FrozenTree) else value
    if not isinstance(contents, Mapping):
        raise where.error(TypeError, "a dictionary of arguments", value)
    return FrozenTree({key: list(x) if isinstance(x, tuple) else x for key, x in contents.items()})


class KerasSchedule(Schedule):
    """A learning rate schedule of Keras: the name of its class and its arguments."""

    class_name: str = fields.static(_check_class)
    config: Any = fields.static(_check_config)

    def check_together(self) -> None:
        self.in_our_words()(0)

    def in_our_words(self) -> Callable[[Count], chex.Array]:
        """The schedule of adamx that it is.

        Raises:
          ValueError: an unknown or missing argument, or a number outside its range.
          TypeError: an argument of the wrong kind.
        """
        arguments = {key: x for key, x in self.config.thaw().items() if key != "name"}
        return _made(self.class_name, arguments)

    def __call__(self, count: Count) -> chex.Array:
        return self.in_our_words()(count)


def _made(class_name: str, arguments: dict[str, Any]) -> Callable[[Count], chex.Array]:
    make = _MADE_BY[class_name]
    known = make.__code__.co_varnames[: make.__code__.co_argcount]
    required = known[: len(known) - len(make.__defaults__ or ())]
    for problem, names in (
        ("unknown", [name for name in arguments if name not in known]),
        ("missing", [name for name in required if name not in arguments]),
    ):
        if names:
            raise ValueError(
                f"{class_name}: {problem} argument {names[0]!r}; it takes {', '.join(known)}"
            )
    return make(**arguments)


def schedule(class_name: str, **config: Any) -> KerasSchedule:
    """A learning rate schedule under its name in Keras.

        ExponentialDecay         lr * decay_rate**(t / decay_steps)
        InverseTimeDecay         lr / (1 + decay_rate * t / decay_steps)
        PolynomialDecay          end + (lr - end) * (1 - min(t, decay_steps) / decay_steps)**power
        PiecewiseConstantDecay   values[i] up to and including step boundaries[i]
        CosineDecay              half a cosine from lr to alpha * lr, after a warm-up
        CosineDecayRestarts      half cosines, each t_mul times as long and m_mul times as high

    with t the steps taken, lr `initial_learning_rate` and end `end_learning_rate`; with
    `staircase`, t / decay_steps is rounded down; with `cycle`, decay_steps is the least multiple of
    itself that is not yet over.

    Args:
      class_name: one of the six names.
      **config: the arguments that its class has in Keras, by name.

    Returns:
      A schedule for `learning_rate`; `get_config` writes it as Keras does.

    Raises:
      ValueError: an unknown class; an unknown or missing argument; a number outside its range.
      TypeError: an argument of the wrong kind.

    Example:
      >>> from adamx.interop import keras
      >>> halving = keras.schedule(
      ...     "ExponentialDecay", initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5
      ... )
      >>> print(halving(0), halving(10))
      0.1 0.05
    """
    return KerasSchedule(class_name=class_name, config=config)


_RATE = Where("schedule", "learning_rate")


def schedule_from_config(config: Mapping[str, Any], where: Where = _RATE) -> KerasSchedule:
    """The schedule that Keras's `serialize` described."""
    unknown = set(config) - {"module", "class_name", "config", "registered_name", "build_config"}
    if unknown or not isinstance(config.get("class_name"), str):
        raise ValueError(
            f"{where.owner}: `{where.argument}` as a schedule is written {{'class_name': ..., "
            f"'config': {{...}}}}, got the keys {', '.join(map(repr, config))}"
        )
    return KerasSchedule(class_name=config["class_name"], config=config.get("config"))


def schedule_to_config(schedule: KerasSchedule) -> dict[str, Any]:
    """As Keras's `serialize` writes it."""
    return {
        "module": "keras.optimizers.schedules",
        "class_name": schedule.class_name,
        "config": schedule.config.thaw(),
        "registered_name": None,
    }


def as_hyperparameter(value: Any, where: Where = _RATE) -> Any:
    """A schedule of Keras, as an object or as its configuration, as a schedule; the rest as it is.

    Also a variable of Keras, which holds an array.
    """
    if isinstance(value, Mapping):
        return schedule_from_config(value, where)
    if type(value).__name__ in _MADE_BY and hasattr(value, "get_config"):
        return schedule_from_config(
            {"class_name": type(value).__name__, "config": value.get_config()}
        )
    return value


class DecayedRate(Schedule):
    """rate / (1 + decay * count), the `decay` of the older Keras optimizers."""

    rate: Hyperparameter = fields.hyperparameter(fields.NONNEGATIVE)
    decay: Number = fields.number(fields.NONNEGATIVE)

    def __call__(self, count: Count) -> chex.Array:
        rate = resolve(self.rate, count, "rate")
        passed = jnp.asarray(step_count(count), float)
        return jnp.asarray(rate / (1.0 + scalar(self.decay, "decay") * passed))


class LastMicroBatch(Schedule):
    """schedule(every * count + every - 1): a schedule that counts micro-batches, once per step."""

    schedule: Schedule = fields.child(
        lambda where, value: as_schedule(where, value, fields.NONNEGATIVE)
    )
    every: int = fields.count(1)

    def __call__(self, count: Count) -> chex.Array:
        return self.schedule(self.every * step_count(count) + (self.every - 1))


def composed(rate: Any, decay: float, every: int) -> Any:
    """The learning rate that the chain reads: decayed, and counted in micro-batches."""
    rate = as_hyperparameter(rate)
    if decay:
        rate = DecayedRate(rate=rate, decay=decay)
    if every > 1 and callable(rate):
        rate = LastMicroBatch(schedule=rate, every=every)
    return rate


def decomposed(rate: Hyperparameter) -> tuple[Hyperparameter, Number]:
    """Learning rate and decay that `composed` was given."""
    if isinstance(rate, LastMicroBatch):
        rate = rate.schedule
    return (rate.rate, rate.decay) if isinstance(rate, DecayedRate) else (rate, 0.0)


def with_rate(old: Hyperparameter, **new: Any) -> Hyperparameter:
    """`old` with another innermost `rate`, or another `decay`."""
    if isinstance(old, LastMicroBatch):
        return old.replace(schedule=with_rate(old.schedule, **new))
    return old.replace(**new) if isinstance(old, DecayedRate) else new["rate"]
