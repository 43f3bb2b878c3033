"""The result as one Markdown page, ready to be committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.measuring import EACH, ONE_PROGRAM, PIPELINED, STEPS
from benchmarks.output import text
from benchmarks.output.columns import HEADINGS, LEFT, by_suite, cells, used
from benchmarks.output.terminal import measured
from benchmarks.result import Result
from benchmarks.suites import SUITES
from benchmarks.targets import outcomes

_INTRODUCTION = """\
Made by `{command}` on {created}.
Every row is the median of repetitions in which the libraries took turns in random order (seed
{seed}), with half of the interquartile range behind it. `adamx ÷ it` is the median over the rounds
of adamx's time divided by that library's in the same round, with its quartiles: **below 1 adamx is
faster** (in `sparse`, adamx is its `lazy` mode). GB/s is the least a step can move (28 bytes per
float32 parameter for Adam, 32 with a global norm, 40 with an average of the parameters besides)
over the median time; the limit is the best that `x + 1` in place over an array that fits in no
cache moved on the same device in the same run, **{limit} GB/s** (quartiles {low} to {high}). More
than 100 % means that the arrays fit into a cache. `kept` is what stays between steps, parameters
and state; `temp.` is what XLA allocates besides during one. Parameters and state are donated as
each library's documentation recommends.
"""
_TIMED = f"""\
Steps `{PIPELINED}` are dispatched one after the other, {STEPS} behind one wait, as a training loop
does, and so is the copy; steps `{ONE_PROGRAM}` run in a loop that is one program, without the host.
"""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rules = ["---" if heading in (*LEFT, "target", "verdict") else "---:" for heading in headings]
    return [_line(headings), _line(rules), *map(_line, rows), ""]


def page(result: Result, plots: Sequence[str] = ()) -> str:
    """The whole page; `plots` are names of pictures in the same folder, `<suite>.png`."""
    copy = result.copy_bandwidth
    lines = [
        "# Benchmarks",
        "",
        _INTRODUCTION.format(
            command=result.command,
            created=result.created,
            seed=result.seed,
            limit=f"{result.limit / 1e9:.3g}",
            low=f"{copy.low / 1e9:.3g}",
            high=f"{copy.high / 1e9:.3g}",
        ),
        *([_TIMED] if any(row.timing != EACH for row in result.rows) else []),
        ", ".join(f"{name} {value}" for name, value in result.hardware.items() if value) + ".  ",
        ", ".join(f"{name} {value}" for name, value in result.versions.items()) + ".",
        "",
        "## Targets",
        "",
    ]
    found = outcomes(result.rows)
    lines += _table(
        ("target", "at most", "measured", "verdict"),
        [(o.name, f"{o.bound:g}", measured(o.values), o.verdict) for o in found],
    )
    for outcome in found:
        for place, value in outcome.values.items():
            if value > outcome.bound:
                lines.append(
                    f"- not met, {outcome.name} ({place}): {value:.3g} > {outcome.bound:g}"
                )
    lines.append("")
    for suite, rows in by_suite(result).items():
        lines += [f"## {suite}: {SUITES[suite]}", ""]
        table = [cells(result, row) for row in rows]
        columns = used(table)
        lines += _table(
            [HEADINGS[i] for i in columns], [[row[i] for i in columns] for row in table]
        )
        if f"{suite}.png" in plots:
            lines += [f"![{SUITES[suite]}]({suite}.png)", ""]
    missing = [*result.skipped, *(f"FAILED: {failure}" for failure in result.failures)]
    if missing:
        lines += ["## Not measured", "", *(f"- {reason}" for reason in missing), ""]
    return "\n".join(lines).replace(f" {text.NOTHING} |", " |")
