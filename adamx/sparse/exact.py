"""Mode `exact`: the dense result at the cost of the rows touched.

A row that no batch reads is left stale.  What it misses (`closed_form`) is paid when a batch next
reads it, when its turn comes, or in a `flush`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import numerics
from adamx.core.format import Joint, Stochastic
from adamx.core.hyperparameter import Schedule, is_exactly_zero
from adamx.core.indexing import beside, gather, zero_rows
from adamx.core.link import Link
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.family.adam import ScaleByAdam
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.sparse.chunks import Gradient, move_rows
from adamx.sparse.closed_form import Ages, Numbers, advance, drift, log_decay_rate, no_ages
from adamx.sparse.policies import (
    Average,
    LeafState,
    Policy,
    RowRule,
    standing_still,
    written,
)
from adamx.transforms.scaling import ScaleByLearningRate
from adamx.transforms.weight_decay import AddDecayedWeights

# The age at which a row is paid without being asked for, and how many rows a step so pays.
_AGES = 512
_ROWS = 1024


class Rows(NamedTuple):
    """Rows of a table and of its moments, in at least float32."""

    table: chex.Array
    mu: chex.Array
    nu: chex.Array
    nu_max: chex.Array | None  # AMSGrad's
    last: chex.Array  # int32[n], the step they were last computed at


class StaleRows(NamedTuple):
    """How stale every row of a table is, and what to do about it."""

    count: chex.Array  # int32[], steps taken
    last: chex.Array  # int32[V], the step each row was last computed at
    ages: Ages
    log_b1: chex.Array  # float[], of the decay rates
    log_b2: chex.Array
    nu_max: chex.Array | None  # AMSGrad's largest corrected second moment; None for Adam

    def by_row(self) -> StaleRows:
        """Which of the arrays have an entry for each row of the table."""
        own: StaleRows = jax.tree.map(lambda _: False, self)
        return own._replace(last=True, nu_max=None if self.nu_max is None else True)

    def catch_up(self, rows: Rows) -> tuple[chex.Array, Rows]:
        """The missed steps of rows: the change of the table, and the rows as they are by now."""
        sums, unit, decayed = jax.tree.map(
            lambda x: gather(x, rows.last % len(self.ages.unit)), self.ages
        )
        x = jnp.sqrt(rows.nu if rows.nu_max is None else rows.nu_max)
        change = -beside(decayed, x) * rows.table - rows.mu * drift(sums, unit, x)
        gap = beside((self.count - rows.last).astype(x.dtype), x)
        return change, Rows(
            table=rows.table + change,
            mu=rows.mu * jnp.exp(gap * self.log_b1),
            nu=rows.nu * jnp.exp(gap * self.log_b2),
            nu_max=rows.nu_max,
            # Made from what was there, so that XLA reads before it writes, and writes in place.
            last=jnp.maximum(rows.last, self.count),
        )

    def read(
        self, table: chex.Array, mu: chex.Array, nu: chex.Array, ids: chex.Array
    ) -> chex.Array:
        """Rows of the table as they are by now, in its dtype; ids in the table, in any order."""
        stored = Rows(table, mu, nu, self.nu_max, self.last)
        wide = jax.tree.map(lambda x: numerics.widen(gather(x, ids)), stored)
        return self.catch_up(wide)[1].table.astype(table.dtype)

    def flush(
        self, table: chex.Array, mu: chex.Array, nu: chex.Array
    ) -> tuple[chex.Array, LeafState]:
        """The whole table and its moments as they are by now."""
        stored = Rows(table, mu, nu, self.nu_max, self.last)
        _, now = self.catch_up(jax.tree.map(numerics.widen, stored))
        now = jax.tree.map(lambda x, old: x.astype(old.dtype), now, stored)
        return now.table, LeafState(now.mu, now.nu, self._replace(last=now.last))


def _numbers(rule: RowRule) -> Numbers:
    """From links that `Exact.check` has accepted."""
    numbers = dict(zip(map(type, rule.links), rule.scalars, strict=True))
    core, rate = rule.scalars[0], numbers[ScaleByLearningRate]
    decay = numbers.get(AddDecayedWeights)
    return Numbers(core, -rate, 0.0 if decay is None else decay, ScaleByAmsgrad in numbers)


def _with_turn(rows: SparseRows, count: chex.Array, ages: int) -> SparseRows:
    """The rows, coalesced, and among them (with zeros) those whose turn it is to be computed.

    The turn goes round the table in `ages` - 1 steps, in blocks of neighbouring rows.
    """
    v, n = rows.num_rows, len(rows.indices)
    if v == 0:
        return rows
    block = -(-v // (ages - 1))
    start = jnp.minimum(count % -(-v // block) * block, v - block)
    # Both lists are sorted, so that all places in the merged one follow from two of them.
    # Two numbers are compared with all rows; a search would be a loop, for which a GPU waits.
    ends = jnp.stack([start, start + block])
    begin, end = jnp.searchsorted(rows.indices, ends, method="compare_all")
    within = rows.indices - start
    places = jnp.arange(n, dtype=jnp.int32)
    places = jnp.where(
        within < 0,
        places,
        jnp.where(within < block, begin + within, places + block - (end - begin)),
    )
    places = jnp.where(rows.indices < v, places, n + block)
    turn = jnp.arange(block, dtype=jnp.int32)
    indices = v + jnp.arange(n + block, dtype=jnp.int32)
    indices = indices.at[begin + turn].set(start + turn)
    indices = indices.at[places].set(rows.indices, mode="drop")
    values = zero_rows(rows.values, n + block)
    values = values.at[places].set(rows.values, mode="drop")
    return rows.replace(indices=indices, values=values)


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

    def by_row(self) -> ExactEma:
        """Which of the arrays have an entry for each row of the table."""
        return ExactEma(True, False, False)

    def rows(self, log: chex.Array, ema: chex.Array, rows: Rows, stale: StaleRows) -> chex.Array:
        """Some rows of the average, as they are by now."""
        slot = rows.last % len(self.decayed)
        sums, unit, decayed = (gather(x, slot) for x in (self.sums, stale.ages.unit, self.decayed))
        x = jnp.sqrt(rows.nu if rows.nu_max is None else rows.nu_max)
        still = standing_still(log, ema, rows.table, stale.count - rows.last)
        return still - beside(decayed, x) * rows.table - rows.mu * drift(sums, unit, x)

    def after(self, ema: chex.Array, stale: StaleRows, average: Average) -> ExactEma:
        """With the rows written, after the step that led to `stale`."""
        is_new = jnp.arange(len(self.decayed)) == stale.count % len(self.decayed)
        sums = average.step(self.sums, stale.ages.sums)
        decayed = average.step(self.decayed, stale.ages.decayed)
        return ExactEma(
            ema=ema,
            sums=jnp.where(is_new[:, None], 0.0, sums),
            decayed=jnp.where(is_new, 0.0, decayed),
        )


class Exact(Policy):
    """Rows are stale until they are read or touched, and then what they would be in `dense`."""

    name = "exact"

    def check(self, owner: str, links: tuple[Link, ...]) -> None:
        for fault in _faults(*links):
            raise ValueError(f"{owner}: {fault}; use mode `dense` or `lazy`")

    def check_slots(self, owner: str, slots: Sequence[Slot]) -> None:
        for slot in slots:
            if isinstance(slot.format, (Joint, Stochastic)):
                raise ValueError(
                    f"{owner}: mode `exact` makes up for steps that were never stored, and so "
                    "never rounded at random; leave out `state_format` there, or use mode `lazy`"
                )

    def init(self, table: chex.Array, slots: tuple[Slot, ...]) -> LeafState:
        mu, nu, nu_max = super().init(table, slots)
        rows = len(mu)
        real = numerics.real_dtype(numerics.widen(mu))
        stale = StaleRows(
            count=jnp.zeros((), jnp.int32),
            last=jnp.zeros(rows, jnp.int32),
            ages=no_ages(max(_AGES, -(-rows // _ROWS) + 1), real),
            log_b1=jnp.zeros((), real),
            log_b2=jnp.zeros((), real),
            nu_max=nu_max,
        )
        return LeafState(mu, nu, stale)

    def touched(self, rows: SparseRows, state: LeafState) -> SparseRows:
        stale: StaleRows = state.memory
        step = numerics.safe_increment(stale.count)
        return _with_turn(rows.coalesce(), step, len(stale.ages.unit))

    def update(
        self,
        rule: RowRule,
        gradient: Gradient,
        state: LeafState,
        table: chex.Array,
        average: Average | None = None,
    ) -> tuple[Gradient, LeafState, Any]:
        rule = rule.cast(table)
        stale: StaleRows = state.memory

        def move(rows: Any, g: chex.Array, p: chex.Array, old: Any) -> Any:
            (mu, nu, nu_max, last), ema = jax.tree.map(numerics.widen, old)
            stored = Rows(p, mu, nu, nu_max, last)
            missed, now = stale.catch_up(stored)
            slots = tuple(x for x in (now.mu, now.nu, now.nu_max) if x is not None)
            u, slots = self.run(rule._replace(rows=rows), g, now.table, slots)
            change = missed + u
            mu, nu, *nu_max = slots
            new = (mu, nu, nu_max[0] if nu_max else None, jnp.maximum(last, rule.count))
            if average is None:
                return change, (new, None)
            ema = average.state.rows(average.log, ema, stored, stale)
            return change, (new, average.step(ema, written(p, change, table.dtype)))

        ema = None if average is None else average.state.ema
        arrays = ((state.mu, state.nu, stale.nu_max, stale.last), ema)
        fills = ((0, 1, None if stale.nu_max is None else 1, 1), None if ema is None else 0)
        change, ((mu, nu, nu_max, last), ema) = move_rows(move, gradient, table, arrays, fills)
        numbers, real = _numbers(rule), stale.log_b1.dtype
        stale = StaleRows(
            count=rule.count,
            last=last,
            ages=advance(stale.ages, rule.count, numbers),
            log_b1=jnp.asarray(log_decay_rate(numbers.corrections.b1), real),
            log_b2=jnp.asarray(log_decay_rate(numbers.corrections.b2), real),
            nu_max=nu_max,
        )
        if average is not None:
            ema = average.state.after(ema, stale, average)
        return change, LeafState(mu, nu, stale), ema

    def init_average(self, table: chex.Array, state: LeafState) -> ExactEma:
        ages = state.memory.ages
        ema = super().init_average(table, state).ema
        return ExactEma(ema, jnp.zeros_like(ages.sums), jnp.zeros_like(ages.decayed))


def _faults(core: Any, *others: Link) -> Iterator[str]:
    """Whatever the closed form does not know of these rules."""
    if type(core) not in (ScaleByAdam, ScaleByAmsgrad):
        yield (
            "mode `exact` knows what a row misses under Adam and AMSGrad, not under "
            f"{core.public_name}"
        )
    for link in others:
        if type(link) not in (AddDecayedWeights, ScaleByLearningRate):
            yield (
                "mode `exact` knows weight decay and a learning rate behind "
                f"{core.public_name}, not {link.public_name}"
            )
    if isinstance(core, ScaleByAmsgrad) and core.raw_maximum:
        yield "in mode `exact`, `raw_maximum` must be False"
    for name in ("b1", "b2"):
        if isinstance(getattr(core, name), Schedule):
            yield f"in mode `exact`, `{name}` must be a number, got {getattr(core, name)!r}"
    if not is_exactly_zero(core.eps_root):
        yield f"in mode `exact`, `eps_root` must be 0, got {core.eps_root!r}; use `eps`"
    b1, b2 = core.b1, core.b2
    are_numbers = isinstance(b1, float) and isinstance(b2, float)
    if are_numbers and type(core) is ScaleByAdam and not b1 < math.sqrt(b2):
        yield (
            f"in mode `exact`, `b1` must be below sqrt(b2) = {math.sqrt(b2):g}, got {b1!r}: else a "
            "row without gradients would go ever faster"
        )
