"""One row of a result as cells, the same on the terminal and in Markdown."""

from __future__ import annotations

from benchmarks.measuring import EACH
from benchmarks.output import text
from benchmarks.output.text import NOTHING
from benchmarks.result import Result
from benchmarks.rows import Row

PLACE = ("leaves", "size", "recipe")
HEADINGS = (
    *PLACE,
    "library",
    "timed",
    "median ± ½ IQR",
    "adamx ÷ it",
    "GB/s",
    "limit",
    "kept",
    "temp.",
    "besides",
)
LEFT = {"leaves", "recipe", "library", "timed", "besides"}


def cells(result: Result, row: Row) -> list[str]:
    """Text for every heading."""
    speed, share = text.bandwidth(row, result.share_of_limit(row))
    return [
        row.shape,
        f"{row.size:,}",
        row.case,
        row.peer,
        NOTHING if row.timing == EACH else row.timing,
        text.duration(row.seconds),
        text.ratio(row.adamx_ratio),
        speed,
        share,
        text.size_in_bytes(row.persistent_bytes),
        text.size_in_bytes(row.temporary_bytes),
        text.extras(row),
    ]


def used(table: list[list[str]]) -> list[int]:
    """The columns in which at least one cell says something."""
    return [i for i in range(len(table[0])) if any(row[i] not in ("", NOTHING) for row in table)]


def by_suite(result: Result) -> dict[str, list[Row]]:
    """The rows of every suite, in the order they were made."""
    suites: dict[str, list[Row]] = {}
    for row in result.rows:
        suites.setdefault(row.suite, []).append(row)
    return suites
