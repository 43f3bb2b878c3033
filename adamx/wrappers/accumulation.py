"""Gradients of several micro-batches added up before one step."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, compat, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.foreign import has_foreign
from adamx.core.hyperparameter import ScalarOrSchedule, as_schedule, whole
from adamx.core.link import each_leaf
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.core.transformation import Params, State, Updates
from adamx.transforms.scaling import scale_leaves
from adamx.wrappers.conditional_step import Conditioned, Decision


class MultiStepsState(NamedTuple):
    """Where in the accumulation a run is, and what it has gathered."""

    mini_step: chex.Array  # int32[], micro-batches gathered since the last step
    gradient_step: chex.Array  # int32[], steps taken
    inner_opt_state: State
    acc_grads: Updates  # sums like the parameters, at least float32; finite where gradients are

    def metrics(self) -> dict[str, chex.Array]:
        """The counters, for a logger."""
        return {"mini_step": self.mini_step, "gradient_step": self.gradient_step}


def _check_every(where: Where, value: object) -> Any:
    if callable(value):
        return as_schedule(where, value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise where.error(TypeError, "a whole number or a schedule of the steps taken", value)
    return fields.check_steps(where, value, 1)


def _add(s: Any, u: chex.Array, p: None, total: chex.Array) -> tuple[chex.Array, chex.Array]:
    return u, numerics.finite_sum(total, u)


class MultiSteps(Conditioned):
    """Adds up the gradients of k micro-batches and takes one step with their mean.

        total <- total + g        in at least float32
        every k-th call:  the step of `inner` with total / k, and total <- 0

    Between steps the updates are zero, and `inner` does not run at all: its update is the branch
    of a conditional.  For losses that are means over equal micro-batches, the result is that of
    one big batch.

    The total of `SparseRows` is an array, in which every row counts as touched.  To keep rows
    sparse, take the gradients of the micro-batches in one step and add them with
    `sparse.sum_micro_batches`.

    Args:
      inner: the transformation that gets the accumulated gradient.
      every_k_schedule: k, a whole number >= 1, or a schedule of the number of steps taken.
      use_grad_mean: divide by the number of micro-batches, or take the sum.

    Returns:
      A transformation with state `MultiStepsState(mini_step, gradient_step, inner_opt_state,
      acc_grads)`; its counters also appear in `metrics(state)`.

    Raises:
      ValueError: k below 1.
      TypeError: k neither a whole number nor a schedule; `inner` no transformation.

    Reference:
      Ott et al., Scaling Neural Machine Translation, 2018, section 3.2.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.multi_steps(adamx.scale(-1.0), 2)
      >>> params, state = jnp.array(0.0), tx.init(jnp.array(0.0))
      >>> for g in (1.0, 3.0):
      ...     params, state = tx.step(jnp.array(g), state, params)
      ...     print(params)
      0.0
      -2.0
    """

    every_k_schedule: int | ScalarOrSchedule = fields.child(_check_every)
    use_grad_mean: bool = fields.switch(default=True)

    inner_state_field = "inner_opt_state"
    count_field = "gradient_step"

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("acc_grads"),)

    def init(self, params: Params) -> State:
        return MultiStepsState(
            mini_step=jnp.zeros((), jnp.int32),
            gradient_step=jnp.zeros((), jnp.int32),
            inner_opt_state=self.inner.init(params),
            acc_grads=self.slots()[0].init(params),
        )

    def decision(
        self, grads: Updates, state: State, params: Params | None, extra: dict[str, Any]
    ) -> Decision:
        """Whether a micro-batch completes a step, which then gets the mean or sum, and what is
        gathered after it or without it."""
        numbers = {"mini_step": checks.COUNT, "gradient_step": checks.COUNT}
        checks.check_state(self.public_name, state, MultiStepsState, numbers)
        every: Any = self.every_k_schedule
        k = whole(every(state.gradient_step) if callable(every) else every, "every_k_schedule")
        gathered = state.mini_step + 1
        due = gathered >= k

        def total() -> Updates:
            checks.check_match(
                self.public_name, "gradients", grads, "optimizer state", state.acc_grads
            )
            # Rows are added in place; `None` leaves what is left of the gradient alone.
            added = jax.tree.map(
                lambda g, total: g.add_to(total) if isinstance(g, SparseRows) else total,
                grads,
                state.acc_grads,
                is_leaf=tree.is_leaf,
            )
            rest = jax.tree.map(
                lambda g: None if isinstance(g, SparseRows) else g, grads, is_leaf=tree.is_leaf
            )
            wide = tree.widened(rest)
            return each_leaf(self.public_name, _add, (), wide, self.slots(), [added])[1][0]

        def gradient() -> Updates:
            mean = scale_leaves(total(), 1.0 / gathered) if self.use_grad_mean else total()
            if has_foreign(self.inner):
                mean = tree.rounded_where_alike(mean, grads)
            return tree.combine(mean, grads)

        def zeros() -> Updates:
            return jax.tree.map(lambda total: compat.full_like(total, 0), state.acc_grads)

        counted = state._replace(
            mini_step=jnp.where(due, 0, gathered).astype(jnp.int32),
            gradient_step=jnp.where(
                due, numerics.safe_increment(state.gradient_step), state.gradient_step
            ),
        )
        return Decision(due, gradient, counted, kept=(zeros, total))

    def after(self, state: State, inner_state: State, kept: Any, params: Any) -> State:
        return super().after(state, inner_state, kept, params)._replace(acc_grads=kept)


multi_steps = MultiSteps
