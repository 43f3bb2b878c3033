"""The fields of values: how they are checked, and whether JAX sees them as data.

Numbers are *data*: they become pytree leaves, so they may be traced and vmapped over.
Everything else -- switches, dtypes, names, functions -- is *static*: it decides which program
is compiled.  A field's check runs where a value is made; a pytree that is being rebuilt inside
`jit` bypasses it.

Every specifier takes `default=` (none: the argument is required) and `kw_only=`.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

KIND = "adamx.kind"
# Floats of the machine's own widths, which JAX has not.
_EXTENDED = {np.dtype(np.longdouble).name} - {"float64"}
# Numbers below this round to a finite float32.
_LARGEST = float(np.finfo(np.float32).max) * (1.0 + 2.0**-25)


class Interval(NamedTuple):
    """A range of real numbers, printed the way mathematicians write it."""

    low: float
    high: float
    includes_low: bool = True

    def __contains__(self, x: object) -> bool:
        if not isinstance(x, (int, float)):
            return False
        above = self.low <= x if self.includes_low else self.low < x
        return above and x < self.high

    def __str__(self) -> str:
        left = "[" if self.includes_low and math.isfinite(self.low) else "("
        return f"{left}{self.low:g}, {self.high:g})"


REAL = Interval(-math.inf, math.inf, includes_low=False)
NONNEGATIVE = Interval(0.0, math.inf)
POSITIVE = Interval(0.0, math.inf, includes_low=False)
DECAY_RATE = Interval(0.0, 1.0)


class Where(NamedTuple):
    """The place an argument was written, for error messages."""

    owner: str
    argument: str

    def error(self, kind: type[Exception], wanted: str, got: object) -> Exception:
        shown = f"{got!r} ({type(got).__name__})" if kind is TypeError else f"{got!r}"
        return kind(f"{self.owner}: `{self.argument}` must be {wanted}, got {shown}")


class Kind(NamedTuple):
    """How one field behaves: static or data, and the check of what it is given."""

    static: bool
    check: Callable[[Where, Any], Any]


REQUIRED: Any = dataclasses.MISSING


def _field(kind: Kind, default: Any, kw_only: bool) -> Any:
    return dataclasses.field(default=default, kw_only=kw_only, metadata={KIND: kind})


def is_number(value: object) -> bool:
    """Whether it is a real number of Python or NumPy; a truth value or a duration is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, (bool, np.timedelta64)
    )


def is_real(dtype: np.dtype) -> bool:
    """Whether arrays of this dtype hold real numbers."""
    if not isinstance(dtype, np.dtype):  # Of keys, which only JAX knows.
        return False
    floating = dtype.name in ("float16", "bfloat16", "float32", "float64")
    return dtype.isnative and (dtype.kind in "iu" or floating)


def readable(array: chex.Array) -> list[float]:
    """The numbers in an array that can be read here: none of a tracer, or of other processes."""
    if isinstance(array, jax.core.Tracer):
        return []
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return []
    numbers: list[float] = np.asarray(array, np.float64).ravel().tolist()
    return numbers


def check_number(where: Where, value: Any, interval: Interval, wanted: str = "a number") -> Any:
    """A number in `interval` as a float; an array of such numbers, or a tracer, as it is."""
    if isinstance(value, (jax.Array, np.ndarray)):
        if not is_real(value.dtype) or isinstance(value, np.ma.MaskedArray):
            raise where.error(TypeError, f"{wanted} (real)", value)
        for number in readable(value):
            _check_range(where, number, interval, value)
        return value
    if not is_number(value):
        raise where.error(TypeError, wanted, value)
    number = int(value) if isinstance(value, (int, np.integer)) else float(value)
    _check_range(where, number, interval, value)
    return float(number)


def _check_range(where: Where, number: float, interval: Interval, given: object) -> None:
    if number not in interval:
        raise where.error(ValueError, f"in {interval}", given)
    if abs(number) >= _LARGEST:
        raise where.error(ValueError, "a number that float32 can hold", given)


def check_array(where: Where, value: object) -> chex.Array:
    """An array of numbers, or what has become one."""
    try:
        if not isinstance(value, (str, bytes)):  # Which NumPy takes for a dtype.
            return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise where.error(TypeError, "an array of numbers", value)


def items(where: Where, wanted: str, value: object) -> tuple[Any, ...]:
    """The items of a list, a tuple or the like; TypeError for anything else, text included."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        try:
            return tuple(value)
        except TypeError:
            pass  # An array without axes.
    raise where.error(TypeError, wanted, value)


def check_callable(where: Where, value: object, wanted: str) -> Callable[..., Any]:
    """Anything that can be called, as it is."""
    if not callable(value):
        raise where.error(TypeError, wanted, value)
    called: Callable[..., Any] = value
    return called


def call(where: Where, wanted: str, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of a function of the user's.

    Raises:
      TypeError: it takes other arguments, or returns None.
    """
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        pass  # Some of C have none.
    else:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{where.error(TypeError, wanted, f)}: {error}") from None
    try:
        result = f(*args, **kwargs)
    except Exception as error:
        error.add_note(f"raised by `{where.argument}` of {where.owner}")
        raise
    if result is None:
        raise TypeError(f"{where.error(TypeError, wanted, f)}, which returned None")
    return result


def function(wanted: str, *, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A static field holding a function, described by `wanted` in errors."""
    return static(
        lambda where, value: check_callable(where, value, wanted), default=default, kw_only=kw_only
    )


def number(interval: Interval = REAL, *, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A field holding one number or a scalar array."""
    return child(
        lambda where, value: check_number(where, value, interval), default=default, kw_only=kw_only
    )


def hyperparameter(
    interval: Interval = REAL, *, default: Any = REQUIRED, kw_only: bool = False
) -> Any:
    """A data field holding a number in `interval`, an array, or a schedule."""

    def check(where: Where, value: object) -> Any:
        # Here, as schedules are values, and values have fields.
        from adamx.core.hyperparameter import check_hyperparameter

        return check_hyperparameter(where, value, interval)

    return child(check, default=default, kw_only=kw_only)


def check_count(where: Where, value: Any, minimum: int) -> Any:
    """A whole number of at least `minimum`, also `1e5`, as an int; an integer array as it is."""
    is_array = isinstance(value, (jax.Array, np.ndarray))
    if is_array and jnp.issubdtype(value.dtype, np.integer):  # A key has no kind of dtype.
        if any(number < minimum for number in readable(value)):
            raise where.error(ValueError, f"at least {minimum}", value)
        return value
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if not is_number(value) or isinstance(value, (float, np.floating)):
        raise where.error(TypeError, "a whole number", value)
    if value < minimum:
        raise where.error(ValueError, f"at least {minimum}", value)
    return int(value)


def check_static_count(where: Where, value: object, minimum: int = 0) -> int:
    """A whole number of at least `minimum` that decides which program is compiled: no array."""
    if isinstance(value, (jax.Array, np.ndarray)):
        raise where.error(TypeError, "a whole number", value)
    count: int = check_count(where, value, minimum)
    return count


def check_steps(where: Where, value: object, minimum: int) -> Any:
    """A count that fits beside the step count on a device, which has 32 bits, or 64 with x64."""
    count = check_count(where, value, minimum)
    largest = np.iinfo(jax.dtypes.canonicalize_dtype(int)).max
    numbers = [count] if isinstance(count, int) else readable(count)
    if any(number > largest for number in numbers):
        raise where.error(ValueError, f"at most {largest}", value)
    return count


def count(minimum: int, *, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A field holding a whole number of steps, at least `minimum`, as data."""
    return child(
        lambda where, value: check_steps(where, value, minimum), default=default, kw_only=kw_only
    )


def check_switch(where: Where, value: object) -> bool:
    """True or False: the text "False" would be true."""
    if not isinstance(value, (bool, np.bool_)):
        raise where.error(TypeError, "True or False", value)
    return bool(value)


def switch(*, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A static field holding True or False."""
    return static(check_switch, default=default, kw_only=kw_only)


def dtype(*, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A static field holding the name of a floating dtype, or None for the default rule."""

    def check(where: Where, value: Any) -> str | None:
        if value is None:
            return None
        try:
            name: str = jax.numpy.dtype(value).name
            floating = jax.numpy.issubdtype(name, np.floating) and name not in _EXTENDED
        except (TypeError, ValueError, OverflowError):
            raise where.error(TypeError, "a floating dtype or None", value) from None
        if not floating:
            wanted = "a floating dtype or None (a complex parameter gets the complex one)"
            raise where.error(ValueError, wanted, name)
        return name

    return static(check, default=default, kw_only=kw_only)


AxisName: TypeAlias = str | tuple[str, ...] | None


def check_axis_name(where: Where, value: Any) -> AxisName:
    """One name, several as a tuple, or None."""
    names = tuple(value) if isinstance(value, (tuple, list)) else value
    for name in names if isinstance(names, tuple) else (names,):
        if not (isinstance(name, str) or names is None):
            raise where.error(TypeError, "an axis name, a tuple of axis names or None", value)
    return names


def axis_name(*, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A static field naming the mapped axes to reduce over: one name, several, or None."""
    return static(check_axis_name, default=default, kw_only=kw_only)


def limit(minimum: int, *, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """A static field holding a whole number of steps, at least `minimum`, or None for no limit."""

    def check(where: Where, value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, (jax.Array, np.ndarray)):
            raise where.error(TypeError, "a whole number or None", value)
        limit: int = check_steps(where, value, minimum)
        return limit

    return static(check, default=default, kw_only=kw_only)


def static(
    check: Callable[[Where, Any], Hashable], *, default: Any = REQUIRED, kw_only: bool = False
) -> Any:
    """A static field with a check of its own."""
    return _field(Kind(True, check), default, kw_only)


def child(
    check: Callable[[Where, Any], Any], *, default: Any = REQUIRED, kw_only: bool = False
) -> Any:
    """A data field with a check of its own: a number, another value or several."""
    return _field(Kind(False, check), default, kw_only)
