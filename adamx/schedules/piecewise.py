"""Values that change at given steps, at once or gradually."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any, cast

import chex
import jax.numpy as jnp

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.hyperparameter import Count, Number, Schedule, scalar
from adamx.schedules.shapes import (
    SHAPES,
    blend,
    check_length,
    fit,
    shape_name,
    step_count,
    straight,
)

Pairs = tuple[tuple[float, Number], ...]
BoundariesAndScales = Mapping[float, Number] | Iterable[tuple[float, Number]] | None


def _check_pairs(where: Where, value: Any) -> Pairs:
    """Boundaries with their scales, in order."""
    wanted = "a dict from boundaries to scales, pairs of them, or None"
    if value is None:
        return ()
    try:
        given = [
            (boundary, scale)
            for boundary, scale in (value.items() if isinstance(value, Mapping) else value)
        ]
    except (TypeError, ValueError):
        raise where.error(TypeError, wanted, value) from None
    pairs = [
        (
            check_length(Where(where.owner, f"boundary in {where.argument}"), boundary, 0),
            fields.check_number(
                Where(where.owner, f"{where.argument}[{boundary}]"), scale, fields.NONNEGATIVE
            ),
        )
        for boundary, scale in given
    ]
    boundaries = [boundary for boundary, _ in pairs]
    if all(map(fields.is_number, boundaries)):
        if len(set(boundaries)) != len(boundaries):
            raise where.error(ValueError, "given once for each boundary", value)
        pairs.sort(key=operator.itemgetter(0))
    return tuple(pairs)


def _plateaus(init_value: Number, pairs: Pairs) -> list[Number]:
    """The value before the first boundary and after each one: the running product of the scales."""
    factors = [scalar(init_value, "init_value"), *(scalar(scale, "scale") for _, scale in pairs)]
    return list(accumulate(factors, operator.mul))


class PiecewiseConstantSchedule(Schedule):
    """A value that is multiplied by a scale at each boundary.

        init_value * (product of the scales of all boundaries <= count)

    The step at a boundary already has the new value, as in optax. (In Keras it still has the old
    one: the boundary b of `PiecewiseConstantDecay` is the boundary b + 1 here.)

    Args:
      init_value: the value before the first boundary.
      boundaries_and_scales: a dict from steps >= 0 to scales >= 0, or pairs of them. The scales
        multiply the value so far, not `init_value`.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: a negative boundary or scale, or a boundary given twice.

    Example:
      >>> import adamx
      >>> schedule = adamx.piecewise_constant_schedule(1.0, {100: 0.5, 200: 0.25})
      >>> [float(schedule(t)) for t in (0, 99, 100, 200)]
      [1.0, 1.0, 0.5, 0.125]
    """

    init_value: Number = fields.number()
    boundaries_and_scales: BoundariesAndScales = fields.child(_check_pairs, default=None)

    def __call__(self, count: Count) -> chex.Array:
        count = step_count(count)
        pairs = cast(Pairs, self.boundaries_and_scales)
        value, *plateaus = _plateaus(self.init_value, pairs)
        for (boundary, _), plateau in zip(pairs, plateaus, strict=True):
            value = jnp.where(count < fit(boundary, count), value, plateau)
        return jnp.asarray(value, float)


piecewise_constant_schedule = PiecewiseConstantSchedule


class PiecewiseInterpolateSchedule(Schedule):
    """Lines or half cosines between values that are multiplied by a scale at each boundary.

        v_i + (v_{i+1} - v_i) * f((count - b_i) / (b_{i+1} - b_i))   for b_i <= count < b_{i+1}

    with b_0 = 0, v_0 = init_value, v_{i+1} = v_i * scale_{i+1}; constant after the last boundary.

        "linear":  f(s) = s
        "cosine":  f(s) = (1 - cos(pi * s)) / 2

    Args:
      interpolate_type: "linear" or "cosine".
      init_value: the value at step 0.
      boundaries_and_scales: a dict from steps >= 0 to scales >= 0, or pairs of them. The scales
        multiply the value so far, not `init_value`.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: another `interpolate_type`, a negative boundary or scale, or a boundary given
        twice.

    Example:
      >>> import adamx
      >>> schedule = adamx.piecewise_interpolate_schedule("linear", 1.0, {4: 0.5, 8: 0.5})
      >>> [float(schedule(t)) for t in (0, 2, 4, 6, 8, 10)]
      [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]
    """

    interpolate_type: str = fields.static(shape_name("linear", "cosine"))
    init_value: Number = fields.number()
    boundaries_and_scales: BoundariesAndScales = fields.child(_check_pairs, default=None)

    def __call__(self, count: Count) -> chex.Array:
        count = step_count(count)
        pairs = cast(Pairs, self.boundaries_and_scales)
        plateaus = _plateaus(self.init_value, pairs)
        boundaries = [0, *(boundary for boundary, _ in pairs)]
        value = plateaus[0]
        for (begin, end), (start, stop) in zip(
            pairwise(boundaries), pairwise(plateaus), strict=True
        ):
            shares = straight(count, begin, end - begin)
            between = blend(start, stop, SHAPES[self.interpolate_type](shares))
            value = jnp.where(count < fit(begin, count), value, between)
        last = boundaries[-1]
        return jnp.asarray(jnp.where(count < fit(last, count), value, plateaus[-1]), float)


piecewise_interpolate_schedule = PiecewiseInterpolateSchedule
