"""The parts of schedules: lengths in steps, the shares of two values in a blend, and the blend.

Whole steps are compared, subtracted and divided with remainder as integers, so that a boundary is
met exactly at any count; only the resulting fractions are floating point. Lengths that are not
whole (`0.1 * total_steps`) are reckoned in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields
from adamx.core.fields import Interval, Where
from adamx.core.hyperparameter import Count, Number, log


def check_length(where: Where, value: Any, minimum: int) -> Any:
    """A number of steps: an int where it is whole, `1e5` included, a float where it is not."""
    if isinstance(value, (float, np.floating)):
        whole = float(value).is_integer()
    else:
        is_array = isinstance(value, (jax.Array, np.ndarray))
        whole = not is_array or jnp.issubdtype(value.dtype, np.integer)
    if whole:
        return fields.check_steps(where, value, minimum)
    return fields.check_number(where, value, Interval(minimum, math.inf), "a number of steps")


def length(minimum: int) -> Callable[[Where, Any], Any]:
    """A check for a field that holds a number of steps, at least `minimum`."""
    return lambda where, value: check_length(where, value, minimum)


class Shares(NamedTuple):
    """How much of two values a blend takes; the shares sum to 1."""

    start: chex.Array  # 1 at the start of a transition, exactly 0 from its end on
    end: chex.Array  # exactly 0 up to the start of a transition, 1 from its end on


def step_count(count: Count | np.ndarray) -> chex.Array:
    """A number of steps as a signed integer of at least 32 bits; fractional ones as floats.

    What is too large for its dtype becomes the largest number there is.
    """
    if not isinstance(count, jax.Array):
        count = np.minimum(np.asarray(count), np.iinfo(jax.dtypes.canonicalize_dtype(int)).max)
    array = jnp.asarray(count)
    if jnp.issubdtype(array.dtype, np.floating):
        return jnp.asarray(array, float)
    signed = np.dtype(f"i{max(array.dtype.itemsize, 4)}")
    if array.dtype.kind == "u":
        array = jnp.minimum(array, min(np.iinfo(array.dtype).max, np.iinfo(signed).max))
    return array.astype(signed)


def largest(count: chex.Array) -> float:
    """The largest number of steps that fits next to `count`."""
    return np.iinfo(count.dtype).max if count.dtype.kind == "i" else math.inf


def fit(steps: Any, count: chex.Array) -> Any:
    """The `steps` of a schedule, ready to be compared with `count` or subtracted from it."""
    if isinstance(steps, int):
        return steps if steps <= largest(count) else float(steps)
    if jnp.ndim(steps):
        raise ValueError(
            f"a number of steps must be a scalar, got shape {jnp.shape(steps)}; to follow several "
            "schedules at once, map over them with `jax.vmap`"
        )
    return step_count(steps)


def steps_since(count: chex.Array, begin: Any) -> chex.Array:
    """The number of steps taken after step `begin`; 0 before it."""
    return jnp.maximum(count - fit(begin, count), 0)


def straight(count: chex.Array, begin: Any, steps: Any) -> Shares:
    """The shares along a straight line over `steps` steps after step `begin`.

    A line of no steps is at its end as soon as it begins.
    """
    steps, begun = fit(steps, count), count >= fit(begin, count)
    done = jnp.minimum(steps_since(count, begin), steps)
    left = steps - done
    return proportion(jnp.where(steps == 0, begun, done), jnp.where(steps == 0, ~begun, left))


def proportion(done: chex.Array, left: chex.Array) -> Shares:
    """The shares on a straight line with `done` steps behind and `left` steps ahead."""
    done, left = jnp.asarray(done, float), jnp.asarray(left, float)
    return Shares(left / (done + left), done / (done + left))


def half_cosine(shares: Shares) -> Shares:
    """(1 + cos(pi * end)) / 2 of the start, written as sin(pi / 2 * start)**2.

    The square keeps its relative accuracy down to 0, where the sum cancels.
    """
    start, end = (jnp.square(jnp.sin(math.pi / 2 * share)) for share in shares)
    return Shares(start, end)


def one_minus_sqrt(shares: Shares) -> Shares:
    """1 - sqrt(end) of the start, written as start / (1 + sqrt(end)) because that cancels."""
    root = jnp.sqrt(shares.end)
    return Shares(shares.start / (1.0 + root), root)


def to_the_power(shares: Shares, exponent: Number) -> Shares:
    """start**exponent of the start."""
    if isinstance(exponent, float) and exponent == 1.0:
        return shares
    start = shares.start**exponent
    return Shares(start, 1.0 - start)


SHAPES: dict[str, Callable[[Shares], Shares]] = {
    "linear": lambda shares: shares,
    "cosine": half_cosine,
    "1-sqrt": one_minus_sqrt,
}


def shape_name(*names: str) -> Callable[[Where, Any], str]:
    """A check for a field that holds one of these keys of `SHAPES`."""

    def check(where: Where, value: object) -> str:
        wanted = f"one of {', '.join(map(repr, names))}"
        if not isinstance(value, str):
            raise where.error(TypeError, wanted, value)
        if value not in names:
            raise where.error(ValueError, wanted, value)
        return value

    return check


def blend(start: Number, end: Number, shares: Shares) -> chex.Array:
    """start * shares.start + end * shares.end, reckoned from the nearer one of the two values.

    So both are met exactly, and small values are as accurate, relative to themselves, as large.
    """
    return jnp.where(
        shares.end < shares.start,
        start + (end - start) * shares.end,
        end + (start - end) * shares.start,
    )


def periods(count: chex.Array, begin: Any, steps: Any, whole: bool) -> chex.Array:
    """How often `steps` steps fit between step `begin` and now, rounded down if `whole`.

    Periods of no steps never pass.
    """
    steps = fit(steps, count)
    done = jnp.where(steps == 0, 0, steps_since(count, begin))
    steps = jnp.where(steps == 0, 1, steps)
    if whole:
        return jnp.asarray(done // steps, float)
    return jnp.asarray(done, float) / jnp.asarray(steps, float)


def geometric(rate: Number, exponent: chex.Array) -> chex.Array:
    """rate**exponent; rounding the logarithm of a rate near 1 does less harm than rounding it."""
    return jnp.exp(exponent * log(rate))
