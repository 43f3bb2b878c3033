"""Bounding the size of the gradient: by value, by leaf, or all leaves together.

Every clip here treats what is not finite in one way.  A NaN is passed on: it makes its own leaf
(or, in a global norm, nothing at all) unclipped and does not spread to any other element, so that
a guard can see it.  Finite gradients stay finite, also where the sum of their squares overflows:
the norm is then infinite and the clipped gradient 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, numerics, tree, xla
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
)
from adamx.core.link import PerLeaf, RowsTaken, View
from adamx.core.norms import safe_sqrt, squared_norm
from adamx.core.rows import SparseRows
from adamx.core.transformation import State, Updates
from adamx.transforms.scaling import Scaling
from adamx.transforms.sharded_norms import Shards


def clip_factor(norm: chex.Array, max_norm: Number) -> chex.Array:
    """min(1, max_norm / norm) as one scalar: 1 at norm 0 and for a NaN, 0 for an infinite norm.

    One scalar, because XLA folds a multiplication by it into whatever reads the gradient; a
    division or a select per element would be kept as a gradient-sized temporary.  Divided last,
    because a quotient of scalars is formed once: a select or a sum, and with it the whole sum over
    the leaves, is repeated inside every loop that reads it.
    """
    exceeded = norm > max_norm
    return jnp.where(exceeded, max_norm, 1.0) / jnp.where(exceeded, norm, 1.0)


class Measured(NamedTuple):
    """The effect of a clip on one gradient."""

    norm_before: chex.Array
    norm_after: chex.Array
    share: chex.Array  # of what was clipped, between 0 and 1


class _Report(NamedTuple):
    count: chex.Array  # int32[], steps taken
    norm_before: chex.Array  # float32[], of the latest gradient
    norm_after: chex.Array  # float32[], of what was passed on; NaN where `norm_before` is infinite
    clipped_fraction: chex.Array  # float32[], mean over all steps of the share that was clipped


class ClipReport(_Report):
    """The state of a clip with `report=True`: count, norm_before, norm_after, clipped_fraction."""

    owner: ClassVar[str] = "clip"

    def metrics(self) -> dict[str, chex.Array]:
        """The three numbers under the name of the clip, for a logger."""
        return {
            f"{self.owner}/norm_before": self.norm_before,
            f"{self.owner}/norm_after": self.norm_after,
            f"{self.owner}/clipped_fraction": self.clipped_fraction,
        }

    @staticmethod
    def start() -> dict[str, chex.Array]:
        """The fields before the first step, `count` excepted."""
        return {name: jnp.zeros((), jnp.float32) for name in _Report._fields[1:]}

    def record(self, measured: Measured) -> dict[str, chex.Array]:
        """The fields after one more step."""
        count = numerics.safe_increment(self.count)
        fraction = self.clipped_fraction + (measured.share - self.clipped_fraction) / count
        return {
            "norm_before": measured.norm_before.astype(jnp.float32),
            "norm_after": measured.norm_after.astype(jnp.float32),
            "clipped_fraction": fraction.astype(jnp.float32),
        }


class Clipping(Scaling, abstract=True):
    """A clip with one limit, which may be a schedule; what it bounds is the subclass's own."""

    rows: ClassVar[RowsTaken] = "coalesced"
    elementwise = False  # But for `clip`, an element's factor depends on others.
    limit: ClassVar[str]  # the name of the field that holds it
    report_type: ClassVar[type[ClipReport]] = ClipReport

    axis_name: AxisName = fields.axis_name(default=None, kw_only=True)
    report: bool = fields.switch(default=False, kw_only=True)

    def measure(self, view: View, limit: Number) -> tuple[Any, Callable[[], Measured]]:
        """The numbers for the rule, by default factors, and what they will do to the gradient."""
        raise NotImplementedError(type(self).__name__)

    def state_type(self) -> type[Any]:
        return self.report_type if self.report else super().state_type()

    def numbers(self) -> dict[str, Any]:
        return self.report_type.start() if self.report else {}

    def scalars(self, view: View, state: State) -> tuple[Any, dict[str, Any]]:
        (limit,) = self.now(state, self.limit)
        s, measured = self.measure(view, limit)
        return s, self.report_type.record(state, measured()) if self.report else {}


class Clip(Clipping):
    """Clips every element to at most `max_delta` in size.

        u <- min(max(u, -max_delta), max_delta)

    A complex element keeps its direction: u <- u * min(1, max_delta / |u|).  An infinite real
    element becomes max_delta, a NaN stays one.

    Args:
      max_delta: the largest size, >= 0; a number, a scalar array or a schedule.
      axis_name: see `clip_by_global_norm`; only the report needs it here.
      report: see `clip_by_global_norm`; the fraction is that of the elements.

    Returns:
      A transformation with no state, with a count where `max_delta` is a schedule, or with
      `ClipReport`.

    Raises:
      ValueError: `max_delta` negative.
      TypeError: not a number, array or schedule; an axis name that is no string.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.clip(1.0)
      >>> tx.update(jnp.array([-3.0, 0.5]), tx.init(None))[0]
      Array([-1. ,  0.5], dtype=float32)
    """

    max_delta: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)

    elementwise = True
    limit = "max_delta"

    def measure(self, view: View, limit: Number) -> tuple[Number, Callable[[], Measured]]:
        return limit, lambda: _measure_elements(view.updates, limit, Shards(self.axis_name))

    def rule(self, s: Number, u: chex.Array, p: None) -> chex.Array:
        if numerics.is_complex(u):
            return u * clip_factor(jnp.abs(u), s)
        return jnp.clip(u, -s, s)


def _measure_elements(updates: Updates, limit: Number, shards: Shards) -> Measured:
    """The effect of clipping by value on the gradient."""
    leaves = [u for u in tree.flatten(tree.coalesced(updates))[0] if numerics.is_inexact(u)]
    after = jnp.zeros(())
    clipped = kept = jnp.zeros(())
    for leaf in leaves:
        u = leaf.values if isinstance(leaf, SparseRows) else jnp.asarray(leaf)
        wide = numerics.widen(u)
        largest = jnp.asarray(limit, numerics.real_dtype(wide))
        alone, most = xla.apart((wide, largest))
        if numerics.is_complex(u):
            bounded = jnp.minimum(jnp.abs(alone), most)
        else:
            bounded = jnp.maximum(jnp.minimum(alone, most), -most)
        after += shards.total(squared_norm(bounded), u)
        exceeds, fits = xla.count_both(jnp.abs(wide) > largest, jnp.abs(wide) <= largest)
        clipped += shards.total(exceeds, u)
        # Rows that are not there are zeros, which fit.
        kept += shards.total(fits + float(np.size(leaf) - u.size), u)
    share = clipped / jnp.maximum(clipped + kept, 1)
    return Measured(shards.global_norm(updates), safe_sqrt(after), share)


def clip_parts(
    updates: Updates, norms: Callable[..., tuple[chex.Array, Any]], *rest: chex.ArrayTree
) -> tuple[PerLeaf, Callable[[], Measured]]:
    """The factors that clip every part of every leaf to its own norm, one per part.

    `norms(u, *rest)` gives, for one leaf, the squared norm and the largest norm of its parts, in
    shapes that broadcast against `u`.
    """
    squares, factors = [], []

    def factor(u: Any, *others: chex.Array) -> chex.Array | None:
        if not numerics.is_inexact(u) or not np.size(u):
            return None
        square, max_norm = xla.formed_once(norms(u, *others))
        factors.append(clip_factor(safe_sqrt(square), max_norm))
        squares.append(square)
        return factors[-1]

    own = PerLeaf([*map(factor, *(tree.flatten(x)[0] for x in (updates, *rest)))])

    def measure() -> Measured:
        nothing = jnp.zeros(())
        before = sum(map(jnp.sum, squares), start=nothing)
        after = [jnp.sum(jnp.square(f) * s) for f, s in zip(factors, squares, strict=True)]
        clipped = [jnp.sum(f < 1.0, dtype=float) for f in factors]
        return Measured(
            safe_sqrt(before),
            safe_sqrt(sum(after, start=nothing)),
            sum(clipped, start=nothing) / max(sum(f.size for f in factors), 1),
        )

    return own, measure


class ClipByNormReport(ClipReport):
    """The state of `clip_by_norm` with `report=True`."""

    owner = "clip_by_norm"


class ClipByNorm(Clipping):
    """Rescales every leaf on its own so that its Euclidean norm is at most `max_norm`.

        u <- u * min(1, max_norm / sqrt(sum of |u|**2))        per leaf

    Args:
      max_norm: the largest norm, >= 0; a number, a scalar array or a schedule.
      axis_name: see `clip_by_global_norm`.
      report: see `clip_by_global_norm`; the fraction is that of the leaves.

    Returns:
      A transformation with no state, with a count where `max_norm` is a schedule, or with
      `ClipReport`.

    Raises:
      ValueError: `max_norm` negative.
      TypeError: not a number, array or schedule; an axis name that is no string.

    Reference:
      Keras, `clipnorm`.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.clip_by_norm(1.0)
      >>> tx.update({"b": jnp.array([0.5]), "w": jnp.array([3.0, 4.0])}, tx.init(None))[0]
      {'b': Array([0.5], dtype=float32), 'w': Array([0.6, 0.8], dtype=float32)}
    """

    max_norm: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)

    limit = "max_norm"
    report_type = ClipByNormReport

    def measure(self, view: View, limit: Number) -> tuple[PerLeaf, Callable[[], Measured]]:
        shards = Shards(self.axis_name)
        return clip_parts(view.updates, lambda u: (shards.total(squared_norm(u), u), limit))


class ClipByBlockRmsReport(ClipReport):
    """The state of `clip_by_block_rms` with `report=True`."""

    owner = "clip_by_block_rms"


class ClipByBlockRms(Clipping):
    """Rescales every leaf on its own so that its root mean square is at most `threshold`.

        u <- u * min(1, threshold / sqrt(mean of |u|**2))        per leaf

    Args:
      threshold: the largest root mean square, >= 0; a number, a scalar array or a schedule.
      axis_name: see `clip_by_global_norm`.
      report: see `clip_by_global_norm`; the fraction is that of the leaves.

    Returns:
      A transformation with no state, with a count where `threshold` is a schedule, or with
      `ClipReport`.

    Raises:
      ValueError: `threshold` negative.
      TypeError: not a number, array or schedule; an axis name that is no string.

    Reference:
      Shazeer & Stern, Adafactor, 2018, section 6 and Algorithm 4, line 9.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.clip_by_block_rms(1.0)
      >>> tx.update(jnp.array([2.0, -2.0]), tx.init(None))[0]
      Array([ 1., -1.], dtype=float32)
    """

    threshold: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)

    limit = "threshold"
    report_type = ClipByBlockRmsReport

    def measure(self, view: View, limit: Number) -> tuple[PerLeaf, Callable[[], Measured]]:
        shards = Shards(self.axis_name)

        def norms(u: Any) -> tuple[chex.Array, Number]:
            size = np.size(u) * shards.number(u)
            return shards.total(squared_norm(u), u), limit * math.sqrt(size)

        return clip_parts(view.updates, norms)


class ClipByGlobalNormReport(ClipReport):
    """The state of `clip_by_global_norm` with `report=True`."""

    owner = "clip_by_global_norm"


class ClipByGlobalNorm(Clipping):
    """Rescales the whole gradient so that its Euclidean norm is at most `max_norm`.

        u <- u * min(1, max_norm / sqrt(sum over all leaves of |u|**2))

    The norm is computed in at least float32.  A NaN gradient is passed on unscaled: it does not
    spread to other elements, and a guard can see it.  An infinite norm gives 0, and NaN where the
    gradient itself is infinite.

    Args:
      max_norm: the largest norm, >= 0; a number, a scalar array or a schedule.
      axis_name: named axes of `shard_map`, `pmap` or `vmap` over which leaves are sharded: the
        norm is then that of all shards together, and all devices clip alike.  A leaf that
        `shard_map` knows to be replicated counts once; where that is not tracked (`pmap`,
        `check_vma=False`) every leaf counts as a shard.  Under `jit` with shardings nothing
        needs to be said.
      report: record the norm before and after, and the running fraction of steps in which the
        gradient was clipped, in the state `ClipReport`, whose `metrics()` name them.

    Returns:
      A transformation with no state, with a count where `max_norm` is a schedule, or with
      `ClipReport`.

    Raises:
      ValueError: `max_norm` negative; at `update`, an axis that is not mapped over.
      TypeError: not a number, array or schedule; an axis name that is no string.

    Reference:
      Pascanu, Mikolov & Bengio, On the difficulty of training RNNs, 2013, Algorithm 1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.clip_by_global_norm(1.0, report=True)
      >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(None))
      >>> updates
      Array([0.6, 0.8], dtype=float32)
      >>> float(state.metrics()["clip_by_global_norm/norm_before"])
      5.0
    """

    max_norm: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)

    limit = "max_norm"
    report_type = ClipByGlobalNormReport

    def measure(self, view: View, limit: Number) -> tuple[chex.Array, Callable[[], Measured]]:
        return clip_globally(Shards(self.axis_name).global_norm(view.updates), limit)


def clip_globally(norm: chex.Array, limit: Number) -> tuple[chex.Array, Callable[[], Measured]]:
    """The factor that clips all leaves together, whose norm is given."""
    factor = clip_factor(norm, limit)
    return factor, lambda: Measured(norm, norm * factor, (factor < 1.0).astype(jnp.float32))


clip = Clip


clip_by_norm = ClipByNorm


clip_by_block_rms = ClipByBlockRms


clip_by_global_norm = ClipByGlobalNorm
