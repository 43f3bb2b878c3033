"""The changes since another run."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import EACH
from benchmarks.output import text
from benchmarks.result import Result
from benchmarks.rows import Row, Spread

# A smaller change of a median is none, whatever the quartiles say.
_NOTICED = 0.05


class Change(NamedTuple):
    """One number of one row, before and now."""

    row: Row
    what: str
    before: str
    now: str
    factor: float  # now over before


def _moved(before: Spread | None, now: Spread | None) -> float | None:
    """The factor between the medians if it is more than noise."""
    if before is None or now is None or before.overlaps(now):
        return None
    factor = now.median / before.median
    return factor if abs(factor - 1.0) > _NOTICED else None


def changes(old: Result, new: Result) -> list[Change]:
    """Times whose quartiles no longer meet, and bytes that differ, of the rows that both have."""
    known = {row.key: row for row in old.rows}
    found = []
    for row in new.rows:
        before = known.get(row.key)
        if before is None:
            continue
        factor = _moved(before.seconds, row.seconds)
        if factor is not None:
            times = text.duration(before.seconds), text.duration(row.seconds)
            found.append(Change(row, "time", *times, factor))
        factor = _moved(before.adamx_ratio, row.adamx_ratio)
        if factor is not None:
            ratios = text.ratio(before.adamx_ratio), text.ratio(row.adamx_ratio)
            found.append(Change(row, "adamx ÷ it", *ratios, factor))
        for name in ("persistent_bytes", "temporary_bytes"):
            was, now = getattr(before, name), getattr(row, name)
            if None not in (was, now) and was != now:
                factor = now / was if was else float("inf")
                found.append(Change(row, name.replace("_", " "), f"{was:,}", f"{now:,}", factor))
    return found


def show_changes(old: Result, new: Result, console: Console) -> None:
    """Prints what moved, what appeared and what is gone."""
    for what in ("hardware", "versions"):
        before, now = getattr(old, what), getattr(new, what)
        for name in sorted(set(before) | set(now)):
            if before.get(name) != now.get(name):
                was, is_now = before.get(name, "absent"), now.get(name, "absent")
                console.print(f"{what}: {name} was {was or 'unset'}, is {is_now or 'unset'}")
    found = changes(old, new)
    table = Table(title=f"what moved since {old.created}")
    for heading in (
        "suite",
        "leaves",
        "size",
        "recipe",
        "library",
        "",
        "before",
        "now",
        "now ÷ before",
    ):
        table.add_column(heading, justify="right" if heading.startswith("now ÷") else "left")
    for change in found:
        row = change.row
        timed = row.peer if row.timing == EACH else f"{row.peer}, {row.timing}"
        place = (row.suite, row.shape, f"{row.size:,}", row.case, timed)
        table.add_row(*place, change.what, change.before, change.now, f"{change.factor:.2f}")
    if found:
        console.print(table)
    keys, known = {row.key for row in new.rows}, {row.key for row in old.rows}
    console.print(
        f"{len(keys & known)} rows in both runs, {len({c.row.key for c in found})} of them moved; "
        f"{len(keys - known)} only in this one, {len(known - keys)} only in the old one"
    )
