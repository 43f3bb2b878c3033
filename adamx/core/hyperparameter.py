"""Hyperparameters: a number, an array, a tracer or a schedule, read once per step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields
from adamx.core.fields import Interval, Where
from adamx.core.value import Value

Count: TypeAlias = jax.Array | int
Number: TypeAlias = float | chex.Array


_FUNCTION = "a function of the step count"
_READER = "a function without arguments"


class Schedule(Value, abstract=True):
    """A function of the step count, as a value: `schedule(count) -> number`.

    `count` is the number of steps taken before this one: 0 on the first step.
    """

    def __call__(self, count: Count) -> chex.Array:
        """The number at step `count`, at least float32."""
        raise NotImplementedError(type(self).__name__)


class CallableSchedule(Schedule):
    """Any function of the step count, compared by identity."""

    function: Callable[[Any], Any] = fields.function(_FUNCTION)

    def __call__(self, count: Count) -> chex.Array:
        return real(self.function(count), f"{self!r}")

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


class CallableNumber(Schedule):
    """A function without arguments that is read on the host before every step.

    What it returned last is data, so that a new number needs no new program; the function itself
    is static and compared by identity.  So are the hyperparameter that it is for and its range,
    which every number is checked against.
    """

    function: Callable[[], Any] = fields.function(_READER)
    place: Where = fields.static(lambda where, value: value)
    interval: Interval = fields.static(lambda where, value: value)
    # None: not read yet
    value: Number | None = fields.child(lambda where, value: value, default=None)

    def read(self) -> CallableNumber:
        """The same with the number that the function returns now."""
        owner, argument = self.place
        number = fields.check_number(
            Where(owner, f"{argument}={self!r}"), self.function(), self.interval
        )
        if isinstance(number, jax.core.Tracer):
            raise TypeError(f"read_callables: {self!r} must return a number, got {number!r}")
        # Of one dtype, whether it was a Python number or an array: another one needs no program.
        wide = jnp.asarray(number, jnp.promote_types(jnp.result_type(number), jnp.float32))
        return self.replace(value=jnp.array(wide, wide.dtype))

    def __call__(self, count: Count) -> chex.Array:
        if self.value is not None:
            return jnp.asarray(self.value)
        if isinstance(jnp.zeros(()), jax.core.Tracer):
            raise TypeError(
                f"{self.place.owner}: `{self.place.argument}`, {self!r}, takes no arguments, so it "
                "must be called anew at every step, but a compiled function would call it once and "
                "keep the number: use the step of `adamx.make_step(loss_fn, tx)`, or pass "
                "`adamx.read_callables(tx)` to your compiled function as an argument"
            )
        return jnp.asarray(self.read().value)

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


_WRITE = (
    "write `lambda count: ...` for a function of the step count, or `lambda: ...` for one that is "
    "read before every step"
)


def _takes_nothing(where: Where, function: Callable[..., Any]) -> bool:
    """Whether it is called without an argument; otherwise it is called with the step count."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False

    def fits(*arguments: Any) -> bool:
        try:
            signature.bind(*arguments)
        except TypeError:
            return False
        return True

    if not fits(0):
        if fits():
            return True
        raise TypeError(
            f"{where.owner}: `{where.argument}` must be {_FUNCTION}, got {function!r}, which takes "
            f"{signature}; {_WRITE}"
        )
    first = next(iter(signature.parameters.values()))
    if first.default is not first.empty:
        # `lambda lr=0.1: lr` means the number, `def rate(count=0)` the step count.
        raise TypeError(
            f"{where.owner}: `{where.argument}` got {function!r}, whose argument `{first}` has a "
            f"default, so that it may mean the step count or not; {_WRITE}"
        )
    return False


Hyperparameter: TypeAlias = float | chex.Array | Schedule
ScalarOrSchedule: TypeAlias = float | chex.Array | Callable[[Any], Any]


def as_schedule(where: Where, value: object, interval: Interval = fields.REAL) -> Schedule:
    """A schedule as it is, any other callable wrapped; `interval` holds for what is read."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and _takes_nothing(where, value):
        return CallableNumber(value, where, interval)
    return CallableSchedule(fields.check_callable(where, value, _FUNCTION))


def check_hyperparameter(where: Where, value: object, interval: Interval) -> Any:
    """A number in `interval`, an array or a schedule."""
    if callable(value):
        return as_schedule(where, value, interval)
    wanted = "a number, a scalar array or a schedule (a function of the step count)"
    return fields.check_number(where, value, interval, wanted)


def as_dtype(x: Number, dtype: np.dtype) -> Number:
    """A scalar in the precision of a leaf; Python numbers are exact in every precision."""
    return x if isinstance(x, float) else x.astype(dtype)


def scalar(value: object, what: str) -> Number:
    """One number as a Python float or a scalar array of at least 32 bits; refuses to broadcast."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    array = _scalar_array(value, what)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def whole(value: object, what: str) -> Count:
    """One whole number as a Python int or a scalar array; refuses to broadcast."""
    return value if isinstance(value, int) else _scalar_array(value, what)


def real(value: object, what: str) -> jax.Array:
    """Real numbers as an array; a complex one would lose its imaginary part, True is no rate."""
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        found = False
    else:
        found = fields.is_real(array.dtype)
    if not found:
        raise TypeError(f"{what} must be a real number, got {value!r} ({type(value).__name__})")
    return array


def _scalar_array(value: object, what: str) -> jax.Array:
    array = real(value, what)
    if array.ndim:
        raise ValueError(
            f"{what} must be a scalar inside a step, got shape {array.shape}; "
            "to train one model per value, map over it with `jax.vmap`"
        )
    return array


def resolve(value: Hyperparameter, count: Count, what: str) -> Number:
    """The hyperparameter at this step; Python numbers stay exact Python floats."""
    return scalar(value(count) if callable(value) else value, what)


def is_exactly_zero(x: object) -> bool:
    """Whether a number is Python's 0.0, so that a term with it is left out of the program.

    An array is not, whatever it holds: its number may change.
    """
    return isinstance(x, float) and x == 0.0


def log(b: Number) -> Number:
    """Natural logarithm; formed in double precision on the host for a Python number."""
    if isinstance(b, float):
        return math.log(b) if b > 0.0 else -math.inf
    return jnp.log(b)


def sqrt(x: Number) -> Number:
    """Square root; formed in double precision on the host for a Python number."""
    return math.sqrt(x) if isinstance(x, float) else jnp.sqrt(x)


def one_minus_power(b: Number, exponent: chex.Array) -> chex.Array:
    """`1 - b**exponent` without cancellation, as `-expm1(exponent * log(b))`."""
    return -jnp.expm1(exponent * log(b))
