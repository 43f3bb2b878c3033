"""The targets of this library, computed from the rows: met, not met, or not measured.

Bounds on times are promises for CPU, where every step is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks import recipes
from benchmarks.measuring import EACH
from benchmarks.recipes import Recipe
from benchmarks.rows import Row
from benchmarks.suites.sparse import TOUCHED, against_ids

# Smaller leaves are timed too, but there the call costs more than the step.
_LARGE = 10**7
# Scalars of a step, whatever the number of parameters.
_SCALARS = 8192


class Target(NamedTuple):
    """A bound on a number of some rows."""

    name: str
    bound: float
    concerns: Callable[[Row], bool]
    value: Callable[[Row, Sequence[Row]], float | None]


class Outcome(NamedTuple):
    """A target, and the rows it was read from with their numbers."""

    name: str
    bound: float
    values: dict[str, float]

    @property
    def verdict(self) -> str:
        if not self.values:
            return "not measured"
        missed = [value for value in self.values.values() if value > self.bound]
        return f"NOT MET in {len(missed)} of {len(self.values)}" if missed else "met"


def _ratio(row: Row, rows: Sequence[Row]) -> float | None:
    """adamx's time over this one's, in the same rounds."""
    return None if row.adamx_ratio is None else row.adamx_ratio.median


def _lazy_on_its_own(row: Row, rows: Sequence[Row]) -> float | None:
    """The time of `lazy` among steps that only touch rows, over this one's."""
    place = (row.suite, row.shape, row.size, TOUCHED, "adamx lazy", row.timing)
    lazy = next((other for other in rows if other.key == place), None)
    if lazy is None or lazy.seconds is None or row.seconds is None:
        return None
    return lazy.seconds.median / row.seconds.median


def _clipped_against(peer: str) -> Callable[[Row], bool]:
    def concerns(row: Row) -> bool:
        large = row.suite in ("dense", "trees") and row.size >= _LARGE
        return large and row.case == recipes.CLIPPED.name and row.peer == peer

    return concerns


def _sparse_against(peer: str, least: int, most: int) -> Callable[[Row], bool]:
    def concerns(row: Row) -> bool:
        same_table = row.suite == "sparse" and row.shape == against_ids(10**6, 64)
        return same_table and row.peer == peer and least <= row.size <= most

    return concerns


def _compiled_against(peer: str, recipe: Recipe) -> Callable[[Row], bool]:
    wanted = ("compile", 1000, recipe.name, peer)
    return lambda row: (row.suite, row.size, row.case, row.peer) == wanted


def _temporaries(row: Row, rows: Sequence[Row]) -> float | None:
    """Temporaries beyond scalars, as a share of the parameters' bytes."""
    if row.temporary_bytes is None:
        return None
    return max(row.temporary_bytes - _SCALARS, 0) / (4 * row.size)


TARGETS = (
    Target("clip + adamw, time over optax's", 0.65, _clipped_against("optax"), _ratio),
    Target("clip + adamw, time over Keras 3's", 1.05, _clipped_against("keras"), _ratio),
    Target("clip + adamw, time over torch fused", 1.25, _clipped_against("torch fused"), _ratio),
    Target(
        "sparse lazy on its own, V = 1e6, D = 64, 8,192 ids, time over optax's dense step",
        1 / 20,
        _sparse_against("optax dense", 8192, 8192),
        _lazy_on_its_own,
    ),
    Target(
        "sparse lazy between dense steps, V = 1e6, D = 64, 8,192 ids, time over optax's dense step",
        1 / 20,
        _sparse_against("optax dense", 8192, 8192),
        _ratio,
    ),
    Target(
        "sparse lazy, V = 1e6, D = 64, 1,024 to 65,536 ids, time over torch SparseAdam",
        1.0,
        _sparse_against("torch SparseAdam", 1024, 65536),
        _ratio,
    ),
    Target(
        "clip + adamw, lowering and compiling 1,000 leaves, time over optax's",
        0.7,
        _compiled_against("optax", recipes.CLIPPED),
        _ratio,
    ),
    Target(
        "adamw alone, lowering and compiling 1,000 leaves, time over optax's",
        0.7,
        _compiled_against("optax", recipes.ADAMW),
        _ratio,
    ),
    Target(
        "temporaries of a dense step beyond 8 KiB, share of the parameters' bytes",
        0.001,
        lambda row: row.suite in ("dense", "trees", "memory") and row.peer == "adamx",
        _temporaries,
    ),
)


def _place(row: Row) -> str:
    return f"{row.suite}: {row.case}, {row.shape}, {row.size:,}"


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
    """Every target with the rows that it concerns."""
    found = []
    for target in TARGETS:
        values = {}
        for row in rows:
            if row.timing != EACH or not target.concerns(row):
                continue
            value = target.value(row, rows)
            if value is not None:
                values[_place(row)] = value
        found.append(Outcome(target.name, target.bound, values))
    return found
