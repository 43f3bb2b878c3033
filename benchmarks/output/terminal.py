"""Tables on the terminal."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console, JustifyMethod
from rich.table import Table

from benchmarks.output import text
from benchmarks.output.columns import HEADINGS, LEFT, PLACE, by_suite, cells, used
from benchmarks.result import Result
from benchmarks.rows import Row
from benchmarks.suites import SUITES
from benchmarks.targets import outcomes


def show(result: Result, console: Console) -> None:
    """Every suite case by case, then the targets and what was skipped."""
    for suite, rows in by_suite(result).items():
        console.rule(f"{suite}: {SUITES[suite]}")
        _show_suite([(row, cells(result, row)[len(PLACE) :]) for row in rows], console)
    console.print(f"limit: {result.limit / 1e9:.3g} GB/s, the best copy bandwidth of the run")
    _show_targets(result, console)
    for reason in result.skipped:
        console.print(f"skipped: {reason}", highlight=False)
    for failure in result.failures:
        console.print(f"[red]FAILED[/red]: {failure}", highlight=False)


def _show_suite(lines: list[tuple[Row, list[str]]], console: Console) -> None:
    """One small table per case, all with columns of the same width."""
    columns = used([line for _, line in lines])
    headings = [HEADINGS[len(PLACE) + i] for i in columns]
    widths = [max(len(line[i]) for _, line in lines) for i in columns]
    for place, case in groupby(lines, lambda line: _place(line[0])):
        console.print(place, style="bold", highlight=False)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for heading, width in zip(headings, widths, strict=True):
            side: JustifyMethod = "left" if heading in LEFT else "right"
            table.add_column(heading, justify=side, min_width=max(width, len(heading)))
        for _, line in case:
            table.add_row(*(line[i] for i in columns))
        console.print(table)


def _place(row: Row) -> str:
    return f"{row.shape}, {row.size:,}: {row.case}"


def _show_targets(result: Result, console: Console) -> None:
    table = Table(title="targets")
    for heading in ("target", "at most", "measured", "verdict"):
        table.add_column(heading)
    for outcome in outcomes(result.rows):
        table.add_row(outcome.name, f"{outcome.bound:g}", measured(outcome.values), outcome.verdict)
    console.print(table)


def measured(values: dict[str, float]) -> str:
    """The range of what was measured."""
    if not values:
        return text.NOTHING
    low, high = min(values.values()), max(values.values())
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
