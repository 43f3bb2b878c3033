"""Mode `counted`: every row has a step count of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics
from adamx.core.format import Joint
from adamx.core.hyperparameter import Schedule, resolve
from adamx.core.indexing import beside
from adamx.core.link import Link, ScaleByScheduleState, View
from adamx.core.slot import Slot
from adamx.family.moments import Core
from adamx.sparse.policies import LeafState, Policy, RowRule


class Counted(Policy):
    """As `lazy`, but bias corrections use the number of steps that the row has taken.

    With the count of all steps the moments of a row that is first read late are taken for old
    averages of many gradients, and its first steps are up to (1 - b1) / sqrt(1 - b2) learning rates
    long.  Schedules go by the count of all steps.
    """

    name = "counted"

    def check(self, owner: str, links: tuple[Link, ...]) -> None:
        for link in links:
            if link.slots() and not (isinstance(link, Core) and len(link.slots()) == 2):
                raise ValueError(
                    f"{owner}: mode `counted` needs a core with two moments, not "
                    f"{link.public_name}; use mode `lazy`"
                )

    def check_slots(self, owner: str, slots: Sequence[Slot]) -> None:
        if any(isinstance(slot.format, Joint) for slot in slots):
            raise ValueError(
                f"{owner}: mode `counted` corrects every row by itself, and words of the format "
                '`pair` all alike; use `state_format="bfloat16"`, or mode `lazy`'
            )

    def init(self, table: chex.Array, slots: tuple[Slot, ...]) -> LeafState:
        count = jnp.zeros_like(table, jnp.int32, shape=np.shape(table)[:1])
        return super().init(table, slots)._replace(memory=count)

    def run(
        self, rule: RowRule, g: chex.Array, p: chex.Array, slots: tuple[Any, ...]
    ) -> tuple[chex.Array, tuple[Any, ...]]:
        *moments, count = slots
        u, new = _at(rule, beside(count, g)).cast(g)(g, p, tuple(moments))
        return u, (*new, numerics.safe_increment(count))


def _at(rule: RowRule, count: chex.Array) -> RowRule:
    """The rule with the numbers of its core at other counts of steps taken."""

    def now(x: Any) -> Any:
        return resolve(x, rule.count - 1, "counted") if isinstance(x, Schedule) else x

    def numbers(link: Link, s: Any) -> Any:
        if not isinstance(link, Core):
            return s
        fixed = jax.tree.map(now, link, is_leaf=lambda x: isinstance(x, Schedule))
        if fixed.state_format is not None:  # That of other tables is not asked here.
            fixed = dataclasses.replace(fixed, state_format=None)
        return fixed.scalars(View(None, None, {}), ScaleByScheduleState(count))[0]

    return rule._replace(scalars=tuple(map(numbers, rule.links, rule.scalars)))
