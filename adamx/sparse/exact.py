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
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import hyperparameter, numerics
from adamx.core.hyperparameter import Hyperparameter, Number, Schedule
from adamx.core.indexing import gather, zero_rows
from adamx.core.rows import SparseRows
from adamx.sparse.modes import Lazy, Step
from adamx.sparse.pieces import Gradient, LeafState, move_rows, take

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


def _advance(ages: Ages, step: Step, amsgrad: bool) -> Ages:
    """The same after one more step, whose own slot starts anew."""
    c, rate = step.corrections, step.learning_rate
    # The slot of age 0 is that of a step too long ago for any row to remember.
    age = (step.count - jnp.arange(len(ages.unit))) % len(ages.unit)
    steps = age.astype(ages.unit.dtype)
    if amsgrad:
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

    lost = rate * step.weight_decay
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


def beside(scalar: chex.Array, x: chex.Array) -> chex.Array:
    """One number a row, in a shape that broadcasts against rows."""
    return scalar.reshape(scalar.shape + (1,) * (x.ndim - scalar.ndim))


class Rows(NamedTuple):
    """Rows of a table and of its moments, in at least float32."""

    table: chex.Array
    mu: chex.Array
    nu: chex.Array
    nu_max: chex.Array | None  # AMSGrad's
    last: chex.Array  # int32[n], the step they were last computed at


class Behind(NamedTuple):
    """How far every row of a table is behind, and what to do about it."""

    count: chex.Array  # int32[], steps taken
    last: chex.Array  # int32[V], the step each row was last computed at
    ages: Ages
    log_b1: chex.Array  # float[], of the decay rates
    log_b2: chex.Array
    nu_max: chex.Array | None  # AMSGrad's largest corrected second moment; None for Adam

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

    def rows(self, table: chex.Array, mu: chex.Array, nu: chex.Array, ids: chex.Array) -> Rows:
        """Some rows as they are stored, read as `move_rows` reads them, so that XLA reads once."""
        return Rows(
            table=take(table, ids, 0),
            mu=take(mu, ids, 0),
            nu=take(nu, ids, 1),
            nu_max=None if self.nu_max is None else take(self.nu_max, ids, 1),
            last=take(self.last, ids, 1),
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


class Exact(Lazy):
    """Rows are behind until they are read or touched, and then what they would be in `dense`."""

    def check(self, owner: str, b1: Hyperparameter, b2: Hyperparameter, eps_root: Any) -> None:
        for name, b in (("b1", b1), ("b2", b2)):
            if isinstance(b, Schedule):
                raise ValueError(
                    f"{owner}: in mode `exact`, `{name}` must be a number, got {b!r}; use mode "
                    "`dense` or `lazy` with a scheduled one"
                )
        if not (isinstance(eps_root, float) and eps_root == 0.0):
            raise ValueError(
                f"{owner}: in mode `exact`, `eps_root` must be 0, got {eps_root!r}; use `eps`, or "
                "mode `dense` or `lazy`"
            )
        if not (isinstance(b1, float) and isinstance(b2, float)) or self.amsgrad:
            return
        limit = math.sqrt(b2)
        if not b1 < limit:
            raise ValueError(
                f"{owner}: in mode `exact`, `b1` must be below sqrt(b2) = {limit:g}, got {b1!r}: "
                "else a row without gradients would go ever faster; use mode `dense` or `lazy`"
            )

    def init(self, table: chex.Array, mu_dtype: str | None, nu_dtype: str | None) -> LeafState:
        mu, nu, nu_max = super().init(table, mu_dtype, nu_dtype)
        rows = len(mu)
        real = numerics.real_dtype(numerics.widen(mu))
        zero = jnp.zeros((), jnp.int32)
        behind = Behind(
            count=zero,
            last=jnp.zeros(rows, jnp.int32),
            ages=_no_ages(max(_AGES, -(-rows // _ROWS) + 1), real),
            log_b1=jnp.zeros((), real),
            log_b2=jnp.zeros((), real),
            nu_max=nu_max,
        )
        return LeafState(mu, nu, behind)

    def touched(self, rows: SparseRows, state: LeafState) -> SparseRows:
        behind: Behind = state.memory
        step = numerics.safe_increment(behind.count)
        return _with_turn(rows.coalesce(), step, len(behind.ages.unit))

    def update(
        self, step: Step, gradient: Gradient, state: LeafState, table: chex.Array
    ) -> tuple[Gradient, LeafState]:
        step = step.in_precision_of(table)
        behind: Behind = state.memory

        def move(g: chex.Array, p: chex.Array, old: LeafState) -> tuple[chex.Array, LeafState]:
            nu_max, last = old.memory
            missed, now = behind.catch_up(Rows(p, old.mu, old.nu, nu_max, last))
            old = LeafState(now.mu, now.nu, now.nu_max)
            u, new = self.move(step, g, old, now.table if step.decays else None)
            last = jnp.maximum(last, step.count)
            return missed + u, LeafState(new.mu, new.nu, (new.memory, last))

        stored = LeafState(state.mu, state.nu, (behind.nu_max, behind.last))
        change, after = move_rows(move, gradient, table, stored)
        c, real = step.corrections, behind.log_b1.dtype
        nu_max, last = after.memory
        behind = Behind(
            count=step.count,
            last=last,
            ages=_advance(behind.ages, step, self.amsgrad),
            log_b1=jnp.asarray(_log(c.b1), real),
            log_b2=jnp.asarray(_log(c.b2), real),
            nu_max=nu_max,
        )
        return change, LeafState(after.mu, after.nu, behind)
