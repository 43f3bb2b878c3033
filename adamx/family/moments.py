"""The base of the family: moments of the gradient, and a direction made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import chex

from adamx.core import numerics
from adamx.core.format import Float, Format
from adamx.core.hyperparameter import Number
from adamx.core.link import Link
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import Params, State, Updates
from adamx.family.formula import adam_direction, adam_moments
from adamx.family.words import WordScalars, other_format, step_words
from adamx.formats.named import StateFormat, as_format, check_paths, check_state_format_fits

Square: TypeAlias = Callable[[chex.Array], chex.Array]


class ScaleByAdamState(NamedTuple):
    """The moments of Adam and most of its relatives."""

    count: chex.Array  # int32[], steps taken
    mu: Updates  # first moment, like the parameters; None where nothing is trained
    nu: Updates  # second moment, like the parameters but always real


class HasMoments(Link, abstract=True):
    """A link that remembers averages, and whose arguments say how they are stored."""

    # Whether the moments are Adam's averages, so that sqrt(v) bounds m: the format `pair` needs it.
    takes_pairs: ClassVar[bool] = False

    @property
    def mu_dtype(self) -> DTypeLike | None:
        """The dtype of the first moment, a field."""
        raise NotImplementedError(type(self).__name__)

    @property
    def nu_dtype(self) -> DTypeLike | None:
        """The dtype of the second moment, a field."""
        raise NotImplementedError(type(self).__name__)

    @property
    def state_format(self) -> StateFormat:
        """The format of both moments, in the place of dtypes; a field where there is one."""
        return None

    def check_together(self) -> None:
        dtypes = {"mu_dtype": self.mu_dtype, "nu_dtype": self.nu_dtype}
        check_state_format_fits(self.public_name, self.state_format, dtypes, self.takes_pairs)

    def state_type(self) -> type[Any]:
        return ScaleByAdamState

    def slots(self) -> tuple[Slot, ...]:
        return first_moment(self), second_moment(self)

    def init(self, params: Params) -> State:
        check_paths(self.public_name, self.state_format, params)
        return super().init(params)


class Core(HasMoments, abstract=True):
    """Replaces the gradient by a direction: first the moments move, then they are read.

    The two halves are apart for formats that are read as they were stored, and for rows that
    share a second moment.
    """

    # Whether the second moment is made of `square`, so that a row may have one for all of it.
    takes_squares: ClassVar[bool] = True

    @property
    def eps_hat(self) -> bool:
        """Whether epsilon is beside the uncorrected root; a field of the cores that have it."""
        return False

    def remember(self, s: Any, g: chex.Array, square: Square, *moments: Any) -> tuple[Any, ...]:
        """The moments after a gradient; by default Adam's.

        `square` is |x|**2, or its mean over a row where a row has one second moment.
        """
        return adam_moments(s, g, square, *moments)

    def direction(self, s: Any, g: chex.Array, *moments: Any, **known: Any) -> chex.Array:
        """The direction that these moments give; by default Adam's.

        `known` is empty, or has the `ratio` of m to the denominator, which words hold: what a
        core with `takes_pairs` must understand.
        """
        mu, nu = moments
        return adam_direction(s, mu, g, s.nu_scale * nu, **known)

    def rule(self, s: Any, u: chex.Array, p: None, *slots: Any) -> tuple[chex.Array, ...]:
        if isinstance(s, WordScalars):
            words: tuple[chex.Array, ...] = step_words(self, s, u, *slots)
            return words
        if any(x is None for x in slots):
            raise other_format(self.public_name)
        moments = self.remember(s, u, numerics.squared_magnitude, *slots)
        return (self.direction(s, u, *moments), *moments)


def first_moment(core: HasMoments, name: str = "mu", start: Number = 0.0) -> Slot:
    """An average of the gradient."""
    return Slot(name, format=_format(core, core.mu_dtype), start=start)


def second_moment(core: HasMoments, name: str = "nu", start: Number = 0.0) -> Slot:
    """An average of squared magnitudes."""
    return Slot(name, "magnitude", _format(core, core.nu_dtype), start)


def _format(core: HasMoments, dtype: DTypeLike | None) -> Format:
    chosen = as_format(core.state_format)
    return Float(dtype) if chosen is None else chosen
