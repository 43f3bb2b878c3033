"""A training step in one screen: read it, use it, or replace it by your own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar, overload

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, numerics, tree
from adamx.core.checks import describe
from adamx.core.compat import varying_axes
from adamx.core.fields import AxisName, Where
from adamx.core.readings import read_callables, readings, with_readings
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.sharding.pinned import keep_placement
from adamx.sparse.gradients import Tables, check_tables, value_and_grad
from adamx.transforms.aggregation import mean
from adamx.transforms.named_axes import tracked, varying_copies
from adamx.wrappers.guards import check_guards, has_limit
from adamx.wrappers.loss_scaling import loss_scale

P = TypeVar("P")
S = TypeVar("S")


class Step(Protocol):
    """A training step."""

    def __call__(self, params: P, state: S, *batch: Any) -> tuple[P, S, jax.Array]:
        """The next parameters and state, and the loss."""


class StepWithAux(Protocol):
    """A training step of a loss that returns something besides the loss."""

    def __call__(self, params: P, state: S, *batch: Any) -> tuple[P, S, jax.Array, Any]:
        """The next parameters and state, the loss, and what came with it."""


@overload
def make_step(
    loss_fn: Callable[..., Any],
    tx: GradientTransformation,
    *,
    has_aux: Literal[False] = False,
    donate: bool = True,
    axis_name: AxisName = None,
    tables: Tables | None = None,
) -> Step: ...


@overload
def make_step(
    loss_fn: Callable[..., Any],
    tx: GradientTransformation,
    *,
    has_aux: Literal[True],
    donate: bool = True,
    axis_name: AxisName = None,
    tables: Tables | None = None,
) -> StepWithAux: ...


def make_step(
    loss_fn: Callable[..., Any],
    tx: GradientTransformation,
    *,
    has_aux: bool = False,
    donate: bool = True,
    axis_name: AxisName = None,
    tables: Tables | None = None,
) -> Any:
    """A jitted training step: `(params, state, *batch) -> (params, state, loss)`.

    It differentiates `loss_fn`, scales the loss if `tx` contains `dynamic_loss_scale`, averages
    gradient and loss over `axis_name`, and takes `tx.step`, passing the loss on as `value=` for
    guards and metrics.  Parameters and state on a mesh stay where they are, as with
    `adamx.sharding.keep_placement`; nothing needs to be said.

    Args:
      loss_fn: `loss_fn(params, *batch) -> loss`, a real scalar; with `has_aux`,
        `-> (loss, aux)`.
      tx: any transformation. Hyperparameters that are functions without arguments are called
        before every step; what they return is data.
      has_aux: whether `loss_fn` returns something besides the loss; the step then returns
        `(params, state, loss, aux)`.
      donate: update parameters and state in place.  The arrays passed in are gone afterwards;
        go on with the ones returned.  An array that is two leaves at once cannot be given away
        twice: copy it (`jnp.copy`), or say `donate=False`.
      axis_name: named axes of an enclosing `shard_map` or `pmap` to average over; `loss_fn` then
        returns each device's own loss.
      tables: which parameters are tables, and the ids that are looked up in them: a dict from
        patterns to functions of the batch, as in `sparse.value_and_grad`. Their gradients are
        `SparseRows`, and with an optimizer of `adamx.sparse` a step costs what the rows cost.  An
        id outside of the table, -1 included, reads zeros.

    Returns:
      The step.  It is traced once per shape of its arguments.

    Raises:
      TypeError: `loss_fn` not callable, `tx` no transformation, a switch not True or False; as
        `sparse.value_and_grad`; at the call, a loss that is no real scalar, parameters that are no
        arrays.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.adam(0.1)
      >>> step = adamx.make_step(lambda w, x, y: jnp.mean((x @ w - y) ** 2), tx)
      >>> x, y = jnp.eye(2), jnp.array([1.0, -1.0])
      >>> w, state = jnp.zeros(2), tx.init(jnp.zeros(2))
      >>> for _ in range(100):
      ...     w, state, loss = step(w, state, x, y)
      >>> bool(loss < 1e-3)
      True
    """
    if not callable(loss_fn):
        raise TypeError(f"make_step: `loss_fn` must be a function, got {loss_fn!r}")
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            f"make_step: `tx` must be an adamx transformation, got {tx!r}; wrap another library's "
            "with `adamx.chain(tx)`"
        )
    check_tables("make_step", tables or {})
    has_aux = fields.check_switch(Where("make_step", "has_aux"), has_aux)
    donate = fields.check_switch(Where("make_step", "donate"), donate)

    def step(
        params: Params, state: State, *batch: Any, values: Sequence[chex.Array | None] = ()
    ) -> tuple[Any, ...]:
        def scaled_loss(params: Params, *batch: Any) -> tuple[Any, Any]:
            loss, aux = _loss_and_aux(loss_fn(params, *batch), has_aux)
            # A float16 loss times its scale may overflow; the gradient may not.
            return numerics.widen(jnp.asarray(loss)) * scale, (loss, aux)

        if any(map(_is_state, jax.tree.leaves(params, is_leaf=_is_state))):
            raise TypeError(
                "make_step: the step takes `(params, state, *batch)`, and its parameters hold a "
                "state of adamx; were the two swapped?"
            )
        scale = loss_scale(state)
        differentiated = value_and_grad(scaled_loss, tables or {}, has_aux=True)
        (_, (loss, aux)), grads = differentiated(
            varying_copies(params, axis_name), *batch, state=state
        )
        if axis_name is not None:
            for axis in tracked(axis_name) - varying_axes(loss):
                raise ValueError(
                    f"make_step: the loss is the same on all devices of axis {axis!r} already; "
                    "return each device's own loss, or leave out `axis_name`"
                )
            grads, loss = tree.map_trained(lambda x: mean(x, axis_name), (grads, loss))
        now = with_readings(tx, values) if values else tx
        params, state = now.step(grads, state, params, value=loss)
        return (params, state, loss, aux) if has_aux else (params, state, loss)

    compiled = keep_placement(step, donate=donate)
    reads, checks = bool(readings(tx)), has_limit(tx)
    if not (reads or checks):
        return compiled

    @functools.wraps(step)
    def on_host(params: Params, state: State, *batch: Any) -> tuple[Any, ...]:
        if isinstance(jnp.zeros(()), jax.core.Tracer):
            wanted = "called before" if reads else "asked about its guards after"
            raise TypeError(
                f"make_step: `tx` must be {wanted} every step, on the host; call the step outside "
                "of `jit` and `scan`"
            )
        values = readings(read_callables(tx)) if reads else ()
        result: tuple[Any, ...] = compiled(params, state, *batch, values=values)
        check_guards(tx, result[1], result[0])
        return result

    return on_host


def _is_state(x: object) -> bool:
    return hasattr(type(x), "_fields") and type(x).__module__.partition(".")[0] == "adamx"


def _loss_and_aux(result: Any, has_aux: bool) -> tuple[Any, Any]:
    """The loss, which is a real scalar, and what came with it."""
    if has_aux and not (isinstance(result, (tuple, list)) and len(result) == 2):
        raise TypeError(
            "make_step: with `has_aux=True`, `loss_fn` must return `(loss, aux)`, got "
            f"{describe(result)}"
        )
    loss, aux = result if has_aux else (result, None)
    is_array = not numerics.no_array(loss) and np.shape(loss) == ()
    if is_array and numerics.is_inexact(loss) and not numerics.is_complex(loss):
        return loss, aux
    hint = "" if has_aux else "; if something comes with it, say `has_aux=True`"
    raise TypeError(f"make_step: `loss_fn` must return a real scalar, got {describe(loss)}{hint}")
