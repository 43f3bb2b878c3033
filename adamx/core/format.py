"""How an array of a state is stored: the only code that knows what its bits mean.

A transformation declares its arrays (`Slot`) and computes with what `load` returns, at least
float32.  A format is a frozen dataclass: it decides which program is compiled, and the arrays carry
nothing of it.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics
from adamx.core.numerics import DTypeLike

Kind: TypeAlias = Literal["signed", "magnitude"]


class Format:
    """Stores one array of the shape of a parameter.

    Subclasses are frozen dataclasses, so that they can be compared and hashed.
    """

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype | None:
        """The dtype of what is stored beside `parameter`; real for a `magnitude`."""
        raise NotImplementedError(type(self).__name__)

    def shape(self, parameter: chex.Array, kind: Kind) -> tuple[int, ...]:
        """The shape of what is stored, by default the parameter's."""
        return np.shape(parameter)

    def load(self, stored: chex.Array) -> chex.Array:
        """The numbers, in at least float32."""
        raise NotImplementedError(type(self).__name__)

    def store(self, x: chex.Array, old: chex.Array) -> chex.Array:
        """Numbers in the place of `old`, whose shape and dtype they get."""
        raise NotImplementedError(type(self).__name__)


class Place(NamedTuple):
    """Which array at which step: what random numbers are made of."""

    count: chex.Array  # int32[], steps taken before this one
    name: str  # of the array, such as `mu['w']`
    rows: chex.Array | None = None  # int32[n], if it is some rows of the array only


class Stochastic(Format):
    """A format that rounds at random, so that an average moves by less than its last digit.

    It is used by links that count their steps, in a field `count` of their state.
    """

    def store(self, x: chex.Array, old: chex.Array) -> chex.Array:
        raise TypeError(f"{type(self).__name__} rounds at random: call `store_at`")

    def store_at(self, x: chex.Array, old: chex.Array, place: Place) -> chex.Array:
        """As `store`, with the random numbers of this array at this step."""
        raise NotImplementedError(type(self).__name__)


class Plain(Format):
    """Numbers as an array of their own, floats rounded to nearest."""

    def load(self, stored: chex.Array) -> chex.Array:
        return numerics.widen(jnp.asarray(stored))

    def store(self, x: chex.Array, old: chex.Array) -> chex.Array:
        return x.astype(jax.dtypes.result_type(old))


class Joint(Plain):
    """A format that keeps all slots of a parameter in the words of the signed one.

    `dtype` is an integer one there.  For the magnitudes it is None, and they have no array, or an
    integer one, of what several words share.  The rule gets the words and the rest and returns
    them; where `dtype` says so it gets floats as ever.
    """


def as_numbers(stored: Any) -> Any:
    """Stored arrays; where they are words, shape and dtype of the numbers they stand for."""
    return jax.tree.map(
        lambda x: x if numerics.is_inexact(x) else jax.ShapeDtypeStruct(x.shape, jnp.float32),
        stored,
    )


@dataclasses.dataclass(frozen=True)
class Float(Plain):
    """A floating array, rounded to nearest.

    Args:
      name: the name of its dtype; None for the parameter's own, with at least 32 bits.
    """

    name: DTypeLike | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            object.__setattr__(self, "name", jnp.dtype(self.name).name)

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype:
        wanted = numerics.magnitude_dtype if kind == "magnitude" else numerics.moment_dtype
        return wanted(parameter, self.name)


@dataclasses.dataclass(frozen=True)
class LikeParameter(Float):
    """A floating array of the parameter's own dtype."""

    def dtype(self, parameter: chex.Array, kind: Kind) -> np.dtype:
        return np.dtype(jax.dtypes.result_type(parameter))


@dataclasses.dataclass(frozen=True)
class ByPath(Joint):
    """The format of the first pattern that is found in the path of a leaf; `Float` without one."""

    rules: tuple[tuple[str, Format], ...]

    def at(self, path: str) -> Format:
        found = (form for pattern, form in self.rules if re.search(pattern, path))
        return next(found, Float())
