"""Adaptive gradient clipping: the norm of a unit's gradient against that of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
)
from adamx.core.link import PerLeaf, View
from adamx.core.norms import safe_sqrt
from adamx.core.transformation import Updates
from adamx.transforms.clipping import Clipping, ClipReport, Measured, clip_parts
from adamx.transforms.sharded_norms import Shards

Axis: TypeAlias = int | tuple[int, ...] | None


def _check_axis(where: Where, value: Any) -> Axis:
    axes = tuple(value) if isinstance(value, (tuple, list)) else value
    for axis in () if axes is None else axes if isinstance(axes, tuple) else (axes,):
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise where.error(TypeError, "an axis number, a tuple of them or None", value)
    return axes


def _unit_axes(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The axes along which one unit extends."""
    ndim = len(shape)
    if axis is not None:
        axes = axis if isinstance(axis, tuple) else (axis,)
        within = all(-ndim <= a < ndim for a in axes)
        if not within or len({a % ndim for a in axes}) < len(axes):
            raise ValueError(f"`axis`={axis} does not fit the shape {shape}")
        return axes
    if sum(size != 1 for size in shape) <= 1:
        return tuple(range(ndim))
    if ndim > 5:
        raise ValueError(
            f"no units are known in the shape {shape}: write `axis`, the axes to take norms along"
        )
    return tuple(range(max(1, ndim - 1))) if ndim > 3 else (0,)


def _squared_unit_norms(x: chex.Array, axis: Axis) -> chex.Array:
    """The sum of |x|**2 over every unit, in at least float32, with axes of size 1 in its place."""
    wide = numerics.widen(jnp.asarray(x))
    return jnp.sum(
        numerics.squared_magnitude(wide), axis=_unit_axes(wide.shape, axis), keepdims=True
    )


def unitwise_norm(x: chex.Array, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """The Euclidean norm of every unit: of all weights that lead to one output.

    Args:
      x: an array.
      axis: the axes along which a unit extends.  None goes by the number of axes: the whole array
        for scalars and vectors, also with further axes of size 1; all but the last for
        convolutions (4 or 5 axes); the first one for linear layers (2 or 3 axes).

    Returns:
      An array of the shape of `x`, at least float32, with the norm of its unit in every place.

    Raises:
      TypeError: `x` is no array.
      ValueError: an axis that `x` has not; more than 5 axes without `axis`.

    Reference:
      Brock et al., 2021, section 4.1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.unitwise_norm(jnp.array([[3.0, 0.0], [4.0, 1.0]]))
      Array([[5., 1.],
             [5., 1.]], dtype=float32)
    """
    checks.check_depth("unitwise_norm", x)
    x = fields.check_array(Where("unitwise_norm", "x"), x)
    x = x if numerics.is_inexact(x) else x.astype(float)
    try:
        squares = _squared_unit_norms(x, axis)
    except ValueError as error:
        raise ValueError(f"unitwise_norm: {error}") from None
    return jnp.broadcast_to(safe_sqrt(squares), x.shape)


class AdaptiveGradClipReport(ClipReport):
    """The state of `adaptive_grad_clip` with `report=True`."""

    owner = "adaptive_grad_clip"


class AdaptiveGradClip(Clipping):
    """Rescales the gradient of every unit to at most `clipping` times the norm of its weights.

        u <- u * min(1, clipping * max(||p||, eps) / ||u||)        per unit

    where a unit is the weights that lead to one output, see `unitwise_norm`.  One factor per unit
    multiplies the gradient.  A NaN leaves its own unit unclipped and no other.

    Args:
      clipping: the largest ratio of norms, >= 0; a number, a scalar array or a schedule.
      eps: the least norm that weights count with, >= 0, so that weights of zero can move.
      axis: the axes along which a unit extends, see `unitwise_norm`.
      axis_name: see `clip_by_global_norm`; name only axes that shard a unit.
      report: see `clip_by_global_norm`; the fraction is that of the units.

    Returns:
      A transformation with no state, with a count where `clipping` is a schedule, or with
      `ClipReport`.

    Raises:
      ValueError: `clipping` or `eps` negative; at `update`, no `params`, or a leaf
        that `axis` does not fit.
      TypeError: not a number, array or schedule; an axis or axis name of another type.

    Reference:
      Brock et al., High-Performance Large-Scale Image Recognition Without Normalization, 2021,
      equation 3.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.adaptive_grad_clip(0.1)
      >>> params = jnp.array([[3.0, 1.0], [4.0, 0.0]])
      >>> tx.update(jnp.array([[3.0, 0.05], [4.0, 0.0]]), tx.init(params), params)[0]
      Array([[0.3 , 0.05],
             [0.4 , 0.  ]], dtype=float32)
    """

    clipping: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)
    eps: Number = fields.number(fields.NONNEGATIVE, default=0.001)
    axis: int | tuple[int, ...] | None = fields.static(_check_axis, default=None)

    rows = "dense"
    reads_params = True
    limit = "clipping"
    report_type = AdaptiveGradClipReport

    def _check_units(self, updates: Updates, shards: Shards) -> None:
        for path, u in tree.flatten_with_paths(updates):
            if not numerics.is_inexact(u):
                continue
            where = f"{self.public_name}: updates at {path}"
            try:
                axes = _unit_axes(np.shape(u), self.axis)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if self.axis is None and len(axes) == np.ndim(u) > 1 and shards.number(u) > 1:
                raise ValueError(
                    f"{where}: a shard of shape {np.shape(u)} may be one of a vector or of a "
                    "matrix; write `axis`, the axes to take norms along"
                )

    def measure(self, view: View, limit: Number) -> tuple[PerLeaf, Callable[[], Measured]]:
        updates = tree.densified(view.updates)  # A unit is a column: all rows matter to it.
        shards = Shards(self.axis_name)
        self._check_units(updates, shards)
        (eps,) = self.now(None, "eps")

        def norms(u: chex.Array, p: chex.Array) -> tuple[chex.Array, chex.Array]:
            own = shards.total(_squared_unit_norms(u, self.axis), u)
            weights = shards.total(_squared_unit_norms(jnp.asarray(p), self.axis), u)
            return own, limit * jnp.maximum(safe_sqrt(weights), eps)

        return clip_parts(updates, norms, view.params)


adaptive_grad_clip = AdaptiveGradClip
