"""Averages of tables, paid when their rows are written."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, cast

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, hyperparameter, numerics, tree
from adamx.core.chain import LinkedTransformation
from adamx.core.fields import Where
from adamx.core.hyperparameter import Number, as_dtype
from adamx.core.indexing import gather
from adamx.core.rows import SparseRows
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.sparse.adam import SparseAdamState, SparseAdamTransformation
from adamx.sparse.exact import Behind, Rows, beside, drift
from adamx.sparse.pieces import Gradient, LeafState, put, take


class Rate(NamedTuple):
    """The decay of the average, in the precision of one leaf."""

    rest: Number  # 1 - decay
    log: chex.Array

    def step(self, ema: chex.Array, p: chex.Array) -> chex.Array:
        """ema <- decay * ema + (1 - decay) * p; float32's two weights would not sum to 1."""
        return ema + self.rest * (p - ema)


def _still(log: chex.Array, ema: chex.Array, p: chex.Array, gap: chex.Array) -> chex.Array:
    """The average after gap steps in which the parameters stood still; log is that of the decay."""
    kept = jnp.exp(beside(gap.astype(ema.dtype), ema) * log.astype(ema.dtype))
    return p + kept * (ema - p)


def _after(p: chex.Array, change: chex.Array, dtype: Any) -> chex.Array:
    """Parameters after the step as they are stored, at least float32."""
    return numerics.widen((p + change).astype(dtype))


class LateEma(NamedTuple):
    """The average of rows that stand still until they are touched, or are touched in every step.

    After gap steps without a change, ema = p + decay**gap (ema - p).
    """

    ema: chex.Array  # like the parameter, at least float32
    last: chex.Array  # int32[rows], the step each row is of; int32[] of a scalar

    def now(self, log: chex.Array, count: chex.Array, p: chex.Array, leaf: LeafState) -> chex.Array:
        """The average after `count` steps."""
        return _still(log, self.ema, numerics.widen(p), count - self.last)

    def flushed(self, now: chex.Array, count: chex.Array) -> LateEma:
        """With nothing left to be paid."""
        return LateEma(now, jnp.full_like(self.last, count))

    def update(
        self,
        rate: Rate,
        count: chex.Array,
        change: Any,
        p: chex.Array,
        old: LeafState,
        new: LeafState,
        read: None,
    ) -> tuple[Any, LateEma]:
        """The change of the parameter as it is, and the average after this step, the `count`-th."""
        if not isinstance(change, SparseRows):
            now = self.now(rate.log, count - 1, p, old)
            ema = rate.step(now, _after(numerics.widen(p), change, p.dtype))
            return change, LateEma(ema, jnp.full_like(self.last, count))
        change = change.coalesce()
        ids = change.indices
        rows = take(p, ids, 0)
        # Made from what was read, so that XLA reads before it writes, and writes in place: to a
        # row that is not a number it makes no difference that its change is none either.
        values = jnp.where(rows == rows, change.values, jnp.nan)
        last = take(self.last, ids, 0)
        now = _still(rate.log, take(self.ema, ids, 0), rows, count - 1 - last)
        ema = put(self.ema, ids, rate.step(now, _after(rows, values, p.dtype)))
        last = put(self.last, ids, jnp.maximum(last, count))
        return change.replace(values=values), LateEma(ema, last)


class ExactEma(NamedTuple):
    """The average of a table in mode `exact`, whose rows move without being written.

    With the sums of `exact`, p_s = (1 - D_s) p - m F_s(x) at every step s after the row's last.
    Their average is linear in D and F, so that it needs their averages only:

        ema = decay**gap ema + (1 - decay**gap) p - D' p - m F'(x)
        D' <- decay D' + (1 - decay) D,      F' <- decay F' + (1 - decay) F
    """

    ema: chex.Array  # like the table, at least float32
    sums: chex.Array  # float[H, 5], the average of `Ages.sums` over the steps since a slot's own
    decayed: chex.Array  # float[H], of `Ages.decayed`

    def _rows(self, log: chex.Array, ema: chex.Array, rows: Rows, behind: Behind) -> chex.Array:
        """Some rows of the average, as they are by now."""
        slot = rows.last % len(self.decayed)
        sums, unit, decayed = (gather(x, slot) for x in (self.sums, behind.ages.unit, self.decayed))
        x = jnp.sqrt(rows.nu if rows.nu_max is None else rows.nu_max)
        still = _still(log, ema, rows.table, behind.count - rows.last)
        return still - beside(decayed, x) * rows.table - rows.mu * drift(sums, unit, x)

    def now(self, log: chex.Array, count: chex.Array, p: chex.Array, leaf: LeafState) -> chex.Array:
        """The average after the steps that the optimizer has counted."""
        behind: Behind = leaf.memory
        rows = Rows(p, leaf.mu, leaf.nu, behind.nu_max, behind.last)
        return self._rows(log, self.ema, jax.tree.map(numerics.widen, rows), behind)

    def flushed(self, now: chex.Array, count: chex.Array) -> ExactEma:
        """With nothing left to be paid, together with the table."""
        return self._replace(ema=now)

    def read(self, gradient: SparseRows, p: chex.Array, leaf: LeafState) -> tuple[SparseRows, Rows]:
        """The rows that a step will write as they are before it, and the gradient."""
        rows = leaf.memory.rows(p, leaf.mu, leaf.nu, gradient.indices)
        # No row is like this.  But XLA does not know, so it reads before the gradient is used, and
        # the optimizer, which uses it, writes in place.
        never = (rows.nu < 0.0) & (rows.mu == rows.table) | beside(rows.last < 0, rows.mu)
        if rows.nu_max is not None:
            never = never | (rows.nu_max < 0.0)
        return gradient.replace(values=jnp.where(never, jnp.nan, gradient.values)), rows

    def update(
        self,
        rate: Rate,
        count: chex.Array,
        change: Gradient,
        p: chex.Array,
        old: LeafState,
        new: LeafState,
        read: Rows | None,
    ) -> tuple[Gradient, ExactEma]:
        """The change of the table as it is, and the average after this step."""
        if isinstance(change, SparseRows):
            ids, rows = change.indices, cast(Rows, read)
            now = self._rows(rate.log, take(self.ema, ids, 0), rows, old.memory)
            ema = put(self.ema, ids, rate.step(now, _after(rows.table, change.values, p.dtype)))
        else:
            now = self.now(rate.log, count, p, old)
            ema = rate.step(now, _after(numerics.widen(p), change, p.dtype))
        behind: Behind = new.memory
        is_new = jnp.arange(len(self.decayed)) == behind.count % len(self.decayed)
        sums = rate.step(self.sums, behind.ages.sums)
        decayed = rate.step(self.decayed, behind.ages.decayed)
        return change, ExactEma(
            ema=ema,
            sums=jnp.where(is_new[:, None], 0.0, sums),
            decayed=jnp.where(is_new, 0.0, decayed),
        )


LeafEma: TypeAlias = LateEma | ExactEma


def _is_sparse(node: Any) -> bool:
    return isinstance(node, SparseAdamState)


def _leaves(state: State, params: Params) -> list[LeafState]:
    """What the optimizer remembers about every parameter."""
    (found,) = filter(_is_sparse, jax.tree.leaves(state, is_leaf=_is_sparse))
    _, structure = tree.flatten(params)
    columns = map(structure.flatten_up_to, (found.mu, found.nu, found.memory))
    return [LeafState(*column) for column in zip(*columns, strict=True)]


class SparseEmaState(NamedTuple):
    """An optimizer's state and the average of its parameters."""

    inner: State
    count: chex.Array  # int32[], steps taken
    log_decay: chex.Array  # float32[], of the average
    ema: Any  # per parameter: `LateEma`, `ExactEma`; None where nothing is trained

    def _now(self, params: Params) -> list[chex.Array | None]:
        """The averages as they are by now."""
        leaves, structure = tree.flatten(params)
        averages = structure.flatten_up_to(self.ema)
        return [
            None if ema is None else ema.now(self.log_decay, self.count, jnp.asarray(p), leaf)
            for p, ema, leaf in zip(leaves, averages, _leaves(self.inner, params), strict=True)
        ]

    def eval_params(self, params: Params) -> Params:
        """The average in the parameters' dtypes."""
        leaves, structure = tree.flatten(params)
        return structure.unflatten(
            [
                p if ema is None else ema.astype(jax.dtypes.result_type(p))
                for p, ema in zip(leaves, self._now(params), strict=True)
            ]
        )

    def flush(self, params: Params) -> tuple[Params, SparseEmaState]:
        """Parameters, moments and averages with nothing left to be paid."""
        _, structure = tree.flatten(params)
        averages = zip(structure.flatten_up_to(self.ema), self._now(params), strict=True)
        flushed = [None if now is None else ema.flushed(now, self.count) for ema, now in averages]
        nodes, inner = jax.tree.flatten(self.inner, is_leaf=_is_sparse)
        for i, node in enumerate(nodes):
            if _is_sparse(node):
                params, nodes[i] = node.flush(params)
        inner = jax.tree.unflatten(inner, nodes)
        return params, self._replace(inner=inner, ema=structure.unflatten(flushed))


def _cast(rate: Rate, x: chex.Array) -> Rate:
    """In the precision of a leaf."""
    real = numerics.real_dtype(x)
    return Rate(*(as_dtype(number, real) for number in rate))


def _optimizers(tx: GradientTransformation) -> int:
    """How many optimizers of adamx.sparse there are, in a chain or alone."""
    if isinstance(tx, LinkedTransformation):
        return sum(map(_optimizers, tx.links))
    return int(isinstance(tx, SparseAdamTransformation))


def _check_inner(where: Where, value: Any) -> GradientTransformation:
    if not isinstance(value, GradientTransformation) or _optimizers(value) != 1:
        raise where.error(
            TypeError,
            "an optimizer of `adamx.sparse` or a chain that ends with one, as in "
            "`sparse.ema_params(optimizer, 0.9)`; guards, groups and accumulation go around it",
            value,
        )
    return value


class SparseEmaParams(GradientTransformation, name="sparse.ema_params"):
    """`inner`, and beside it ema <- decay * ema + (1 - decay) * p after its steps."""

    inner: GradientTransformation = fields.child(_check_inner)
    decay: Number = fields.number(fields.DECAY_RATE)

    def _rate(self) -> Rate:
        decay = hyperparameter.scalar(self.decay, f"{self.public_name}: decay")
        # A decay of 0 has no logarithm; exp(-80) is as good, and 0 * 80 is a number.
        log = jnp.maximum(hyperparameter.log(decay), -80.0)
        return Rate(1.0 - decay, log.astype(jnp.float32))

    def init(self, params: Params) -> State:
        leaves, structure = tree.flatten(params)
        inner = self.inner.init(params)

        def start(p: Any, leaf: LeafState) -> LeafEma | None:
            if not numerics.is_inexact(p):
                return None
            # A copy: the average must not share the buffer of parameters that get donated.
            ema = jnp.array(p, numerics.moment_dtype(p, None), copy=True)
            if isinstance(leaf.memory, Behind):
                ages = leaf.memory.ages
                return ExactEma(ema, jnp.zeros_like(ages.sums), jnp.zeros_like(ages.decayed))
            return LateEma(ema, jnp.zeros(ema.shape[:1], jnp.int32))

        averages = [start(*pair) for pair in zip(leaves, _leaves(inner, params), strict=True)]
        return SparseEmaState(
            inner=inner,
            count=jnp.zeros((), jnp.int32),
            log_decay=self._rate().log,
            ema=structure.unflatten(averages),
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_params(self.public_name, params)
        tree.check_state(self.public_name, state, SparseEmaState)
        leaves, structure = tree.flatten(params)
        averages, old = structure.flatten_up_to(state.ema), _leaves(state.inner, params)
        reads: list[Rows | None] = [None] * len(leaves)

        def read(i: int, gradient: Gradient) -> Gradient:
            if isinstance(averages[i], ExactEma) and isinstance(gradient, SparseRows):
                gradient, reads[i] = averages[i].read(gradient, jnp.asarray(leaves[i]), old[i])
            return gradient

        updates, inner = self.inner.update(
            updates, state.inner, params, before_writing=read, **extra
        )
        changes = structure.flatten_up_to(updates)
        count, rate = numerics.safe_increment(state.count), self._rate()
        results = []
        for p, u, ema, *others in zip(
            leaves, changes, averages, old, _leaves(inner, params), reads, strict=True
        ):
            if ema is None or not numerics.is_inexact(u):
                # Without an update the parameter stands still, and its average is paid later.
                results.append((u, ema))
                continue
            results.append(ema.update(_cast(rate, ema.ema), count, u, jnp.asarray(p), *others))
        changes, averages = zip(*results, strict=True) if results else ((), ())
        state = SparseEmaState(
            inner=inner, count=count, log_decay=rate.log, ema=structure.unflatten(averages)
        )
        return structure.unflatten(changes), state


def ema_params(
    inner: GradientTransformation, decay: float | chex.Array | None = None
) -> SparseEmaParams:
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
    return SparseEmaParams.checked(inner=inner, decay=decay)
