"""Mode `exact`: the dense result at the cost of the rows touched.

A row that no batch reads still moves: its moments decay, its first moment carries it on, and its
weights decay.  None of that needs the row itself, so it is paid when the row is next read.  After
step t, at which the row was last computed, step s = t + i of Algorithm 1 without a gradient is

    p <- (1 - lr_s wd_s) p - lr_s c_s m b1**i / (sqrt(v b2**i) + eps_s sqrt(1 - b2**s))
       = (1 - q_s) p - w_i m / (sqrt(v) + y_i)

    w_i = lr_s c_s (b1 / sqrt(b2))**i,   y_i = eps_s sqrt(1 - b2**s) b2**(-i/2)
    c_s = sqrt(1 - b2**s) / (1 - b1**s)

The w_i and y_i belong to the step t and not to the row, so their sums are kept once for each t
(`Ages`) and every row remembers its t only (`Behind.last`).  With decay, a sum shrinks as p does:

    p_now = (1 - D) p - m F(sqrt(v)),     D <- D + q_s (1 - D)
    F(x) = sum of w_i / (x + y_i),        F(x) <- (1 - q_s) F(x) + w_i / (x + y_i)

F depends on the element through x.  Written as F(x) = S / (x + A(x)), S = sum of w_i, it hides in
A, a mean of the y_i that grows slowly from their harmonic mean at x = 0 to their arithmetic mean
at infinity.  A is known at four places x = k u, u = y_0, and between them (and beyond) it is the
hyperbola through three of these points, corrected at the fourth: `drift`.

Under AMSGrad the largest v stays what it is without a gradient, so that all y_i are eps, F(x) is
S / (x + eps) exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import hyperparameter, numerics
from adamx.core.format import Joint, Stochastic
from adamx.core.hyperparameter import Number, Schedule, is_exactly_zero
from adamx.core.indexing import gather, zero_rows
from adamx.core.link import Link
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.family.adam import ScaleByAdam
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.family.formula import Corrections
from adamx.sparse.chunks import Gradient, move_rows
from adamx.sparse.policies import (
    Average,
    Lazy,
    LeafState,
    RowRule,
    beside,
    standing_still,
    written,
)
from adamx.transforms.scaling import ScaleByLearningRate
from adamx.transforms.weight_decay import AddDecayedWeights

# Where A is known, in units of y_0; chosen for the smallest error at b2 = 0.95.
_PLACES = (0.25, 1.0, 5.0, 30.0)
_SCALE = 4.0
# Where the pole of the hyperbola -x may be, in the same units, should rounding blur the points.
_POLES = (0.1, 50.0)
# In place of y_0 = 0, which is no unit.
_SMALLEST_UNIT = 1e-20
# Weights below exp(-25) of the first one are left out: 1e-11.
_NEGLIGIBLE = -25.0
# A decay rate of 0 has no logarithm; exp(-80) is as good as 0, and 0 * 80 is a number.
_SMALLEST_LOG = -80.0
# The age at which a row is paid without being asked for, and how many rows a step so pays.
_AGES = 512
_ROWS = 1024


class Ages(NamedTuple):
    """What the steps since step t have done to a row last computed then; slot t modulo H.

    H steps are remembered, and no row goes without being computed for longer.
    """

    sums: chex.Array  # float[H, 5]: S, then y_0 F(k y_0) at the four places k
    unit: chex.Array  # float[H]: y_0
    decayed: chex.Array  # float[H]: D


def _no_ages(ages: int, dtype: Any) -> Ages:
    """Before the first step."""
    return Ages(
        sums=jnp.zeros((ages, 1 + len(_PLACES)), dtype),
        unit=jnp.ones(ages, dtype),
        decayed=jnp.zeros(ages, dtype),
    )


def _log(b: Number) -> Number:
    log = hyperparameter.log(b)
    return max(log, _SMALLEST_LOG) if isinstance(log, float) else jnp.maximum(log, _SMALLEST_LOG)


class _Numbers(NamedTuple):
    """Those of one step's rules that the closed form knows."""

    corrections: Corrections
    learning_rate: Number
    weight_decay: Number
    amsgrad: bool

    @classmethod
    def of(cls, rule: RowRule) -> _Numbers:
        """From links that `Exact.check` has accepted."""
        numbers = dict(zip(map(type, rule.links), rule.scalars, strict=True))
        core, rate = rule.scalars[0], numbers[ScaleByLearningRate]
        decay = numbers.get(AddDecayedWeights)
        return cls(core, -rate, 0.0 if decay is None else decay, ScaleByAmsgrad in numbers)


def _advance(ages: Ages, count: chex.Array, numbers: _Numbers) -> Ages:
    """The same after one more step, the `count`-th, whose own slot starts anew."""
    c, rate = numbers.corrections, numbers.learning_rate
    # The slot of age 0 is that of a step too long ago for any row to remember.
    age = (count - jnp.arange(len(ages.unit))) % len(ages.unit)
    steps = age.astype(ages.unit.dtype)
    if numbers.amsgrad:
        weight, offset = rate * c.mu_scale, c.eps
        log_ratio, log_growth = _log(c.b1), 0.0
    else:
        root = hyperparameter.sqrt(c.nu_scale)
        weight, offset = rate * c.mu_scale / root, c.eps / root
        log_growth = -0.5 * _log(c.b2)
        log_ratio = _log(c.b1) + log_growth

    counts = steps * log_ratio > _NEGLIGIBLE
    w = jnp.where(counts, weight * jnp.exp(steps * log_ratio), 0.0)
    y = offset * jnp.exp(jnp.where(counts, steps * log_growth, 0.0)) / ages.unit
    terms = jnp.stack([w, *(w / (k + y) for k in _PLACES)], axis=1)

    lost = rate * numbers.weight_decay
    new = age == 0
    return Ages(
        sums=jnp.where(new[:, None], 0.0, (1.0 - lost) * ages.sums + terms),
        unit=jnp.where(new, jnp.maximum(offset, _SMALLEST_UNIT), ages.unit),
        decayed=jnp.where(new, 0.0, ages.decayed + lost * (1.0 - ages.decayed)),
    )


def _ratio(x: chex.Array, y: chex.Array, otherwise: float) -> chex.Array:
    """x / y, and `otherwise` where y is 0."""
    return jnp.where(y != 0.0, x / jnp.where(y != 0.0, y, 1.0), otherwise)


def drift(sums: chex.Array, unit: chex.Array, x: chex.Array) -> chex.Array:
    """F(x) for rows with sums [n, 5], unit [n] and x [n, ...]."""
    k0, k1, k2, k3 = _PLACES
    total, *values = sums.T
    a0, a1, a2, a3 = (_ratio(total, f, k + 1.0) - k for k, f in zip(_PLACES, values, strict=True))
    # No y_i is below y_0; in the slot of step 0 the unit is not y_0, and no row has moments.
    a0 = jnp.maximum(a0, 1.0)
    # A(k) = a0 + (k - k0) height / (k + pole) at the first three places.
    slope1, slope2 = ((a - a0) / (k - k0) for a, k in ((a1, k1), (a2, k2)))
    slope1 = jnp.maximum(slope1, 0.0)
    pole = _ratio(slope2 * k2 - slope1 * k1, slope1 - slope2, _POLES[1])
    pole = jnp.clip(pole, *_POLES)
    height = slope1 * (k1 + pole)
    # What is missing at the fourth, times (k - k0) (k - k1) (k - k2) / (k + scale)**3, which is 0
    # at the others.
    bump = math.prod((k3 - k) / (k3 + _SCALE) for k in (k0, k1, k2))
    missing = (a3 - a0 - (k3 - k0) * height / (k3 + pole)) / bump

    total, unit, a0, height, pole, missing = (
        beside(scalar, x) for scalar in (total, unit, a0, height, pole, missing)
    )
    from0, from1, from2 = (x - k * unit for k in (k0, k1, k2))
    share = 1.0 / (x + _SCALE * unit)
    hyperbola = a0 + height * (from0 / (x + pole * unit))
    correction = missing * ((from0 * share) * (from1 * share) * (from2 * share))
    # The square of a large gradient is infinite: then there is no step.
    return jnp.where(jnp.isinf(x), 0.0, total / (x + unit * (hyperbola + correction)))


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
        """What the rows have missed: the change of the table, and the rows as they are by now."""
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


class Exact(Lazy):
    """Rows are stale until they are read or touched, and then what they would be in `dense`."""

    name = "exact"

    def check(self, owner: str, links: tuple[Link, ...]) -> None:
        core: Any
        core, *others = links
        if type(core) not in (ScaleByAdam, ScaleByAmsgrad):
            raise ValueError(
                f"{owner}: mode `exact` knows what a row misses under Adam and AMSGrad, not under "
                f"{core.public_name}; use mode `dense` or `lazy`"
            )
        for link in others:
            if type(link) not in (AddDecayedWeights, ScaleByLearningRate):
                raise ValueError(
                    f"{owner}: mode `exact` knows weight decay and a learning rate behind "
                    f"{core.public_name}, not {link.public_name}; use mode `dense` or `lazy`"
                )
        if getattr(core, "raw_maximum", False):
            raise ValueError(
                f"{owner}: in mode `exact`, `raw_maximum` must be False; use mode `dense` or `lazy`"
            )
        b1, b2 = core.b1, core.b2
        for name, b in (("b1", b1), ("b2", b2)):
            if isinstance(b, Schedule):
                raise ValueError(
                    f"{owner}: in mode `exact`, `{name}` must be a number, got {b!r}; use mode "
                    "`dense` or `lazy` with a scheduled one"
                )
        if not is_exactly_zero(core.eps_root):
            raise ValueError(
                f"{owner}: in mode `exact`, `eps_root` must be 0, got {core.eps_root!r}; use "
                "`eps`, or mode `dense` or `lazy`"
            )
        if not (isinstance(b1, float) and isinstance(b2, float)) or type(core) is ScaleByAmsgrad:
            return
        limit = math.sqrt(b2)
        if not b1 < limit:
            raise ValueError(
                f"{owner}: in mode `exact`, `b1` must be below sqrt(b2) = {limit:g}, got {b1!r}: "
                "else a row without gradients would go ever faster; use mode `dense` or `lazy`"
            )

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
            ages=_no_ages(max(_AGES, -(-rows // _ROWS) + 1), real),
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
        numbers, real = _Numbers.of(rule), stale.log_b1.dtype
        stale = StaleRows(
            count=rule.count,
            last=last,
            ages=_advance(stale.ages, rule.count, numbers),
            log_b1=jnp.asarray(_log(numbers.corrections.b1), real),
            log_b2=jnp.asarray(_log(numbers.corrections.b2), real),
            nu_max=nu_max,
        )
        if average is not None:
            ema = average.state.after(ema, stale, average)
        return change, LeafState(mu, nu, stale), ema

    def init_average(self, table: chex.Array, state: LeafState) -> ExactEma:
        ages = state.memory.ages
        ema = super().init_average(table, state).ema
        return ExactEma(ema, jnp.zeros_like(ages.sums), jnp.zeros_like(ages.decayed))
