"""Policies: which rows of a table step, whatever the rules of their step are.

`RowRule` is a chain of links with the numbers of one step.  A policy runs it on the rows that it
chooses, and keeps what it needs about one table in `LeafState`.

A table may hold stale rows: rows that would have moved, and have not yet (`exact.StaleRows`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics, xla
from adamx.core.format import Joint, Place
from adamx.core.indexing import beside
from adamx.core.link import Link, in_precision, stored
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.family.moments import Core
from adamx.family.words import WordScalars, step_words
from adamx.sparse.chunks import Gradient, move_rows


class LeafState(NamedTuple):
    """The state of one table."""

    mu: chex.Array  # first moment, like the table
    # Second moment, like the table but real; shape (num_rows,) in mode `rowwise`; None or bases of
    # blocks where `mu` holds words.
    nu: chex.Array | None = None
    memory: Any = None  # the policy's own, and AMSGrad's largest second moment


class RowRule(NamedTuple):
    """Links one after the other, with their numbers for one table at one step."""

    links: tuple[Link, ...]
    scalars: tuple[Any, ...]  # None for a link that leaves this table alone
    slots: tuple[tuple[Slot, ...], ...]  # of every link, as this table has them
    count: chex.Array  # int32[], 1 on the first step
    path: str  # of the table
    rows: chex.Array | None = None  # the numbers of the rows, None for all

    def cast(self, x: Any) -> RowRule:
        """With all numbers in the precision in which `x` is computed, so that none promotes it."""
        real = numerics.real_dtype(jnp.result_type(x, jnp.float32))
        return self._replace(scalars=in_precision(self.scalars, real))

    def __call__(
        self,
        g: chex.Array,
        p: chex.Array,
        slots: tuple[Any, ...],
        square: Callable[[chex.Array], chex.Array] = numerics.squared_magnitude,
    ) -> tuple[chex.Array, tuple[Any, ...]]:
        """The update of some rows, and the new rows of all slots."""
        u, remaining = g, list(slots)
        after: list[Any] = []
        place = Place(self.count - 1, self.path, self.rows)
        for link, s, own in zip(self.links, self.scalars, self.slots, strict=True):
            if s is None:
                continue
            old = [remaining.pop(0) for _ in own]
            if isinstance(s, WordScalars):
                word, base = old
                u, *words = step_words(link, s, u, word, base, self.rows)
                after += words
                continue
            wide = [slot.format.load(x) for slot, x in zip(own, old, strict=True)]
            if isinstance(link, Core):
                new = list(link.remember(s, u, square, *wide))
                u = link.direction(s, u, *new)
            else:
                result = link.rule(s, u, p if link.reads_params else None, *wide)
                u, *new = result if own else (result,)
            after += [stored(*one, place) for one in zip(own, new, old, strict=True)]
        return u, tuple(after)


class Average(NamedTuple):
    """A running average of the parameters beside a table: its numbers at one step."""

    rest: chex.Array | float  # 1 - decay
    log: chex.Array  # of the decay
    count: chex.Array  # int32[], steps averaged, this one included
    state: Any  # of one table: `TouchedEma`, or what the policy made of it

    def step(self, ema: chex.Array, p: chex.Array) -> chex.Array:
        """ema <- decay * ema + (1 - decay) * p; float32's two weights would not sum to 1."""
        return ema + self.rest * (p - ema)

    def still(self, ema: chex.Array, p: chex.Array, gap: chex.Array) -> chex.Array:
        """The average after gap steps in which the parameters stood still."""
        return standing_still(self.log, ema, p, gap)


def standing_still(log: chex.Array, ema: chex.Array, p: chex.Array, gap: chex.Array) -> chex.Array:
    """p + decay**gap (ema - p), where `log` is the logarithm of the decay."""
    kept = jnp.exp(beside(gap.astype(ema.dtype), ema) * log.astype(ema.dtype))
    return p + kept * (ema - p)


def written(p: chex.Array, change: chex.Array, dtype: np.dtype) -> chex.Array:
    """Rows of parameters after a step as they are stored, at least float32."""
    return numerics.widen((p + change).astype(dtype))


class TouchedEma(NamedTuple):
    """The average of rows that stand still until they are touched, or are touched in every step."""

    ema: chex.Array  # like the parameter, at least float32
    last: chex.Array  # int32[rows], the step each row is of; int32[] of a scalar


class Policy:
    """Which rows of a table step, and how; by default those that a batch has touched."""

    name: ClassVar[str]

    def check(self, owner: str, links: tuple[Link, ...]) -> None:
        """Raises ValueError for rules or numbers that the policy cannot follow."""

    def check_slots(self, owner: str, slots: Sequence[Slot]) -> None:
        """Raises ValueError for formats that the policy cannot follow."""

    def slot_shape(self, slot: Slot, table: chex.Array) -> tuple[int, ...]:
        """The shape of what is remembered for `table` in a slot."""
        return slot.format.shape(table, slot.kind)

    def run(
        self, rule: RowRule, g: chex.Array, p: chex.Array, slots: tuple[Any, ...]
    ) -> tuple[chex.Array, tuple[Any, ...]]:
        """One step of some rows, or of all of them."""
        return rule(g, p, slots)

    def init(self, table: chex.Array, slots: tuple[Slot, ...]) -> LeafState:
        """Before the first step; also for a `ShapeDtypeStruct` under `eval_shape`."""
        arrays = [slot.init_leaf(table, self.slot_shape(slot, table)) for slot in slots]
        for slot, x in zip(slots, arrays, strict=True):
            if x is not None and np.shape(x)[:1] != np.shape(table)[:1]:
                raise ValueError(
                    f"the slot {slot.name!r} of a table of shape {np.shape(table)} has shape "
                    f"{np.shape(x)}, which is not one entry for each row; leave out `block`"
                )
        return LeafState(*arrays)

    def touched(self, rows: SparseRows, state: LeafState) -> Gradient:
        """The same gradient with all rows that the next step writes, each once."""
        return rows.coalesce()

    def update(
        self,
        rule: RowRule,
        gradient: Gradient,
        state: LeafState,
        table: chex.Array,
        average: Average | None = None,
    ) -> tuple[Gradient, LeafState, Any]:
        """The change of the table, the new state, and the new state of the average.

        `gradient` is what `touched` returns, or an array, one that touches every row.  The change
        is an array where it is one, else the same rows, with zeros where they are not needed.
        """
        rule = rule.cast(jnp.promote_types(gradient.dtype, table.dtype))
        ema = None if average is None else average.state

        def move(rows: Any, g: chex.Array, p: chex.Array, old: Any) -> Any:
            slots, ema = old
            u, slots = self.run(rule._replace(rows=rows), g, p, slots)
            if ema is None or average is None:
                return u, (slots, None)
            u = xla.after_reading(u, p)
            now = average.still(ema.ema, p, average.count - 1 - ema.last)
            after = average.step(now, written(p, u, table.dtype))
            return u, (slots, TouchedEma(after, jnp.maximum(ema.last, average.count)))

        slots = tuple(state if state.memory is not None else state[: sum(map(len, rule.slots))])
        fills = (_fills(slots), None if ema is None else TouchedEma(0, 0))
        change, (slots, ema) = move_rows(move, gradient, table, (slots, ema), fills)
        return change, LeafState(*slots), ema

    def init_average(self, table: chex.Array, state: LeafState) -> Any:
        """The average before the first step: a copy of the parameters."""
        # A copy: the average must not share the buffer of parameters that get donated.
        ema = jnp.array(table, numerics.moment_dtype(table, None), copy=True)
        return TouchedEma(ema, jnp.zeros(ema.shape[:1], jnp.int32))


# For a row past the end: no first moment, a second one of 1, so that no step is 0 / 0.  In words of
# the format `pair`: a v, and no direction; and a base for it.
_WORD, _BASE = 0xA800, 1000


def _fills(slots: tuple[Any, ...]) -> tuple[Any, ...]:
    words = {np.dtype(np.uint16): _WORD, np.dtype(np.int16): _BASE}
    fills = (0,) + (1,) * (len(slots) - 1)
    pairs = zip(slots, fills, strict=True)
    return tuple(None if x is None else words.get(x.dtype, fill) for x, fill in pairs)


class Lazy(Policy):
    """Touched rows take an ordinary step, bias correction with the global count; others none."""

    name = "lazy"


class Dense(Policy):
    """Every row takes the ordinary step, touched or not."""

    name = "dense"

    def touched(self, rows: SparseRows, state: LeafState) -> Gradient:
        return rows.to_dense()


class Rowwise(Policy):
    """As `lazy`, but a row has one second moment: the average of the mean of |g|**2 over it."""

    name = "rowwise"

    def check(self, owner: str, links: tuple[Link, ...]) -> None:
        for link in links:
            if link.slots() and not (isinstance(link, Core) and link.takes_squares):
                raise ValueError(
                    f"{owner}: mode `rowwise` needs a core with an average of squares, not "
                    f"{link.public_name}; use mode `lazy`"
                )

    def slot_shape(self, slot: Slot, table: chex.Array) -> tuple[int, ...]:
        return np.shape(table)[:1] if slot.kind == "magnitude" else np.shape(table)

    def check_slots(self, owner: str, slots: Sequence[Slot]) -> None:
        if any(isinstance(slot.format, Joint) for slot in slots):
            raise ValueError(
                f"{owner}: mode `rowwise` keeps one second moment for a row, and the format `pair` "
                'one for each element; use `state_format="bfloat16"`, or mode `lazy`'
            )

    def run(
        self, rule: RowRule, g: chex.Array, p: chex.Array, slots: tuple[Any, ...]
    ) -> tuple[chex.Array, tuple[Any, ...]]:
        def mean_square(g: chex.Array) -> chex.Array:
            axes = tuple(range(1, g.ndim))
            total = jnp.sum(numerics.squared_magnitude(g), axis=axes, keepdims=True)
            return total / max(math.prod(g.shape[1:]), 1)  # Rows may have no columns.

        u, new = rule(g, p, tuple(beside(x, g) for x in slots), mean_square)
        return u, tuple(x.reshape(old.shape) for x, old in zip(new, slots, strict=True))
