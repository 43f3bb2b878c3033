"""Gradients of several devices put together, as a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax

from adamx.core import compat, fields, numerics, tree
from adamx.core.compat import varying_axes
from adamx.core.fields import AxisName, Where
from adamx.core.rows import SparseRows
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.transforms.named_axes import tracked

_OF_GRADIENTS = "a function (gradient, axis_name) -> gradient"


def _check_axis_name(where: Where, value: object) -> AxisName:
    if value is None:
        raise where.error(TypeError, "an axis name or a tuple of axis names", value)
    return fields.check_axis_name(where, value)


class Aggregation(GradientTransformation, abstract=True):
    """Replaces the gradients of the devices along the axes by one gradient for all of them."""

    axis_name: AxisName = fields.static(_check_axis_name)

    def reduce(self, g: chex.Array | SparseRows) -> chex.Array | SparseRows:
        """The leaf that all devices get in place of their own."""
        raise NotImplementedError(type(self).__name__)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        if not self.axis_name:
            return updates, state
        _check_varying(self.public_name, updates, self.axis_name)
        return tree.map_trained(self.reduce, updates), state


class Psum(Aggregation):
    """Adds up the gradients of all devices along the named axes.

        g <- sum over devices of g

    The default of Keras' `gradient_aggregator`.  Put it first, for use inside `shard_map` or
    `pmap`; under `jit` with shardings nothing needs to be said.  Sparse rows stay sparse: every
    device gets the rows of all.

    Inside `shard_map`, `jax.grad` with respect to parameters that are the same on all devices
    adds the gradients up by itself, and a second sum would multiply them.  JAX knows which values
    are the same, so that is an error here: differentiate with respect to
    `jax.lax.pcast(params, axis_name, to="varying")`.  Where JAX does not track this (`pmap`,
    `shard_map(..., check_vma=False)`) `jax.grad` sums nothing.

    Args:
      axis_name: one axis or several; `()` leaves the gradients as they are.

    Returns:
      A transformation without state.

    Raises:
      TypeError: no name of an axis.
      ValueError: at `update`, an axis that is not mapped, or a gradient that is known to be the
        same on all its devices.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> tx = adamx.chain(adamx.psum("device"), adamx.scale(-1.0))
      >>> step = jax.pmap(lambda g, w: tx.step(g, tx.init(w), w)[0], axis_name="device")
      >>> step(jnp.arange(4.0), jnp.zeros(4))
      Array([-6., -6., -6., -6.], dtype=float32)
    """

    axis_name: AxisName = fields.static(_check_axis_name)

    def reduce(self, g: chex.Array | SparseRows) -> chex.Array | SparseRows:
        if isinstance(g, SparseRows):
            return _rows_of_all(g, self.axis_name)
        return jax.lax.psum(g, self.axis_name)


class Pmean(Aggregation):
    """Averages the gradients of all devices along the named axes.

        g <- (sum over devices of g) / (number of devices)

    For losses that are means over equal shares of a batch, the gradient of the whole batch.

    Args:
      axis_name: see `psum`.

    Returns:
      A transformation without state.

    Raises:
      TypeError, ValueError: as `psum`.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> tx = adamx.chain(adamx.pmean("device"), adamx.scale(-1.0))
      >>> step = jax.pmap(lambda g, w: tx.step(g, tx.init(w), w)[0], axis_name="device")
      >>> step(jnp.arange(4.0), jnp.zeros(4))
      Array([-1.5, -1.5, -1.5, -1.5], dtype=float32)
    """

    axis_name: AxisName = fields.static(_check_axis_name)

    def reduce(self, g: chex.Array | SparseRows) -> chex.Array | SparseRows:
        return mean(g, self.axis_name)


class Aggregate(Aggregation):
    """Any function of a gradient and the axes."""

    f: Callable[[Any, Any], Any] = fields.function(_OF_GRADIENTS)

    def reduce(self, g: chex.Array | SparseRows) -> chex.Array | SparseRows:
        where = Where(self.public_name, "f")
        return fields.call(where, _OF_GRADIENTS, self.f, tree.dense(g), self.axis_name)


def mean(g: chex.Array | SparseRows, axis_name: AxisName) -> chex.Array | SparseRows:
    """The mean of one leaf over the axes."""
    if isinstance(g, SparseRows):
        return _rows_of_all(g, axis_name) * (1.0 / jax.lax.axis_size(axis_name))
    return jax.lax.pmean(g, axis_name)


def _rows_of_all(rows: SparseRows, axis_name: AxisName) -> SparseRows:
    """The sum over the axes: the rows of every device, one after the other."""

    def gather(x: chex.Array) -> chex.Array:
        if tracked(axis_name):
            return compat.all_gather_invariant(x, axis_name)
        return jax.lax.all_gather(x, axis_name, tiled=True)

    indices, values = gather(rows.indices), gather(rows.values)
    return SparseRows(indices, values, rows.num_rows)


def _check_varying(owner: str, updates: Updates, axis_name: AxisName) -> None:
    """Raises where JAX knows that a gradient is the same on all devices of an axis."""
    known = tracked(axis_name)
    for path, leaf in tree.flatten_with_paths(updates):
        if not numerics.is_inexact(leaf):
            continue
        for axis in known - varying_axes(leaf.values if isinstance(leaf, SparseRows) else leaf):
            raise ValueError(
                f"{owner}: the gradient at {path} is the same on all devices of axis {axis!r} "
                "already. In `shard_map`, `jax.grad` adds up the gradients of all devices by "
                f"itself if the parameters do not vary over {axis!r}. Differentiate with respect "
                f"to `jax.lax.pcast(params, {axis!r}, to='varying')` (before jax 0.8 "
                f"`jax.lax.pvary(params, {axis!r})`), as `make_step` does; or take "
                f"the mean of the loss over {axis!r} in the loss function and leave out this link; "
                "with `make_step`, give it `axis_name=` and leave this link out"
            )


psum = Psum


pmean = Pmean


def aggregate(f: Callable[[Any, Any], Any], axis_name: AxisName) -> Aggregate:
    """Puts the gradients of all devices together by any function.

        g <- f(g, axis_name)        for every trained leaf

    Args:
      f: takes one array and the axes, such as `jax.lax.pmax`; sparse rows are made dense for it.
      axis_name: see `psum`.

    Returns:
      A transformation without state.

    Raises:
      TypeError: `f` is no function; no name of an axis.
      ValueError: as `psum`.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> def median(g, axis_name):
      ...     return jnp.median(jax.lax.all_gather(g, axis_name), axis=0)
      >>> tx = adamx.aggregate(median, "device")
      >>> jax.pmap(lambda g: tx.update(g, ())[0], axis_name="device")(jnp.array([1.0, 2.0, 90.0]))
      Array([2., 2., 2.], dtype=float32)
    """
    return Aggregate(axis_name, f)
