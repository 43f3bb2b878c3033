"""Averages of tables, paid when their rows are written."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, hyperparameter, numerics, tree
from adamx.core.chain import LinkedTransformation, run_links
from adamx.core.fields import Where
from adamx.core.hyperparameter import Number, as_dtype
from adamx.core.slot import Slot
from adamx.core.transformation import GradientTransformation, Params, State, Updates, walk
from adamx.core.wrapper import Wrapper
from adamx.sparse.exact import ExactEma, Rows, StaleRows
from adamx.sparse.policies import Average, LeafState, TouchedEma, standing_still
from adamx.sparse.rows import RowsTransformation, SparseAdamState


def _is_sparse(node: object) -> bool:
    return isinstance(node, SparseAdamState)


def _optimizer_state(state: State) -> SparseAdamState:
    """That of the one optimizer of adamx.sparse inside."""
    (found,) = filter(_is_sparse, jax.tree.leaves(state, is_leaf=_is_sparse))
    own: SparseAdamState = found
    return own


def _now(
    average: TouchedEma | ExactEma,
    log: chex.Array,
    count: chex.Array,
    p: chex.Array,
    leaf: LeafState,
) -> chex.Array:
    """The average of all rows after `count` steps."""
    table = numerics.widen(p)
    if isinstance(average, TouchedEma):
        return standing_still(log, average.ema, table, count - average.last)
    stale: StaleRows = leaf.memory
    rows = Rows(table, leaf.mu, leaf.nu, stale.nu_max, stale.last)
    now: chex.Array = average.rows(log, average.ema, jax.tree.map(numerics.widen, rows), stale)
    return now


class SparseEmaState(NamedTuple):
    """An optimizer's state and the average of its parameters."""

    inner: State
    count: chex.Array  # int32[], steps taken
    log_decay: chex.Array  # float32[], of the average
    ema: Any  # per parameter: `TouchedEma`, `ExactEma`; None where nothing is trained

    def _now(self, params: Params, owner: str) -> list[chex.Array | None]:
        """The averages as they are by now."""
        own = _optimizer_state(self.inner)
        own.check_read(owner, params)
        leaves, structure = tree.flatten(params)
        averages = structure.flatten_up_to(self.ema)
        states = own.leaves(structure)
        return [
            None if ema is None else _now(ema, self.log_decay, self.count, jnp.asarray(p), leaf)
            for p, ema, leaf in zip(leaves, averages, states, strict=True)
        ]

    def eval_params(self, params: Params) -> Params:
        """The average in the parameters' dtypes."""
        leaves, structure = tree.flatten(params)
        return structure.unflatten(
            [
                p if ema is None else ema.astype(jax.dtypes.result_type(p))
                for p, ema in zip(leaves, self._now(params, "eval_params"), strict=True)
            ]
        )

    def flush(self, params: Params) -> tuple[Params, SparseEmaState]:
        """Parameters, moments and averages with nothing left to be paid."""
        _, structure = tree.flatten(params)
        current = self._now(params, "sparse.flush")
        averages = zip(structure.flatten_up_to(self.ema), current, strict=True)
        flushed = [None if now is None else _flushed(ema, now, self.count) for ema, now in averages]
        nodes, inner = jax.tree.flatten(self.inner, is_leaf=_is_sparse)
        for i, node in enumerate(nodes):
            if _is_sparse(node):
                params, nodes[i] = node.flush(params)
        inner = jax.tree.unflatten(inner, nodes)
        return params, self._replace(inner=inner, ema=structure.unflatten(flushed))


def _flushed(
    average: TouchedEma | ExactEma, now: chex.Array, count: chex.Array
) -> TouchedEma | ExactEma:
    """The average of a table that was flushed."""
    if isinstance(average, TouchedEma):
        return TouchedEma(now, jnp.full_like(average.last, count))
    return average._replace(ema=now)


def _update(
    tx: GradientTransformation,
    updates: Updates,
    state: State,
    params: Params,
    extra: dict[str, Any],
    averages: list[Average | None],
) -> tuple[Updates, State, list[Any]]:
    """The update of an optimizer, or of a chain that ends with one, and the new averages."""
    if isinstance(tx, RowsTransformation):
        return tx.update_averaged(updates, state, params, extra, averages)
    assert isinstance(tx, LinkedTransformation)
    states = tx.split(state)
    updates, states[:-1] = run_links(tx.links[:-1], updates, states[:-1], params, extra)
    updates, states[-1], averaged = _update(
        tx.links[-1], updates, states[-1], params, extra, averages
    )
    checks.check_match(tx.public_name, "updates", updates, "parameters", params)
    return tree.with_dtypes_of(params, updates), tx.join(states), averaged


def _optimizer(tx: object) -> RowsTransformation | None:
    """The one optimizer of adamx.sparse that a chain ends with, if it does."""
    if isinstance(tx, LinkedTransformation) and tx.links:
        front = [visit.transformation for link in tx.links[:-1] for visit in walk(link)]
        alone = not any(isinstance(before, RowsTransformation) for before in front)
        return _optimizer(tx.links[-1]) if alone else None
    return tx if isinstance(tx, RowsTransformation) else None


def _check_inner(where: Where, value: object) -> GradientTransformation:
    if not isinstance(value, GradientTransformation) or _optimizer(value) is None:
        raise where.error(
            TypeError,
            "an optimizer of `adamx.sparse` or a chain that ends with one, as in "
            "`sparse.ema_params(optimizer, 0.9)`; guards, groups and accumulation go around it",
            value,
        )
    return value


class SparseEmaParams(Wrapper, name="sparse.ema_params"):
    """Keeps an average of the parameters, tables at the cost of the rows that are touched.

        ema <- decay * ema + (1 - decay) * p        the parameters p after every step

    It is what `adamx.ema_params` computes, which passes over the whole table in every step.  Here
    the rows of a table are averaged when they are written, for all steps that have gone by since:
    in modes `lazy` and `rowwise` they stood still; in mode `exact` the average of where they would
    have been comes from the same sums as the rows themselves.

    It goes around the optimizer, whose state it reads; guards, groups and accumulation go around
    both.  `eval_params(state, params)` returns the average and changes nothing.

    Args:
      inner: an optimizer of `adamx.sparse`, or a chain that ends with one.
      decay: a number in [0, 1), or a scalar array; no schedule, as steps are paid together.

    Returns:
      A transformation with state `SparseEmaState(inner, count, log_decay, ema)`; `ema` holds an
      array like every parameter, float32 for 16-bit ones, and one int32 for every row.

    Raises:
      ValueError: a number outside its range; at `update`, no `params`.
      TypeError: an argument of the wrong kind; no optimizer of `adamx.sparse` in `inner`.

    Reference:
      Polyak & Juditsky, 1992; Kingma & Ba, Adam, 2015, section 7.2.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.sparse.ema_params(adamx.sparse.adam(0.5, "lazy"), decay=0.5)
      >>> table, state = jnp.zeros(2), tx.init(jnp.zeros(2))
      >>> for row in (0, 1):
      ...     rows = adamx.SparseRows(jnp.array([row]), jnp.ones(1), num_rows=2)
      ...     table, state = tx.step(rows, state, table)
      >>> [round(float(x), 3) for x in table]
      [-0.5, -0.372]
      >>> [round(float(x), 3) for x in adamx.eval_params(state, table)]
      [-0.375, -0.186]
    """

    inner_state_field = "inner"

    inner: GradientTransformation = fields.child(_check_inner)
    decay: Number = fields.number(fields.DECAY_RATE, default=None)  # Refused, with `inner`.

    def keeps_updates(self) -> bool:
        return True

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("ema"),)

    def _log(self) -> chex.Array:
        # A decay of 0 has no logarithm; exp(-80) is as good, and 0 * 80 is a number.
        decay = hyperparameter.scalar(self.decay, f"{self.public_name}: decay")
        return jnp.maximum(hyperparameter.log(decay), -80.0).astype(jnp.float32)

    def init(self, params: Params) -> State:
        leaves, structure = tree.flatten(params)
        inner = self.inner.init(params)
        optimizer = _optimizer(self.inner)
        assert optimizer is not None  # see _check_inner
        states = _optimizer_state(inner).leaves(structure)
        averages = [
            policy.init_average(p, leaf) if numerics.is_inexact(p) else None
            for p, leaf, policy in zip(leaves, states, optimizer.policies(params), strict=True)
        ]
        return SparseEmaState(
            inner=inner,
            count=jnp.zeros((), jnp.int32),
            log_decay=self._log(),
            ema=structure.unflatten(averages),
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.require_params(self.public_name, params)
        numbers = {"count": checks.COUNT, "log_decay": checks.NUMBER}
        checks.check_state(self.public_name, state, SparseEmaState, numbers)
        _, structure = tree.flatten(params)
        count, log = numerics.safe_increment(state.count), self._log()
        rest = 1.0 - hyperparameter.scalar(self.decay, "decay")

        def beside(ema: TouchedEma | ExactEma | None) -> Average | None:
            if ema is None:
                return None
            real = numerics.real_dtype(ema.ema)
            return Average(as_dtype(rest, real), log.astype(real), count, ema)

        averages = [*map(beside, structure.flatten_up_to(state.ema))]
        changes, inner, averaged = _update(
            self.inner, updates, state.inner, params, extra, averages
        )
        return changes, SparseEmaState(inner, count, log, structure.unflatten(averaged))


ema_params = SparseEmaParams
