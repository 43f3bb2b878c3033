"""One picture per suite: a panel per recipe, against size where there are several sizes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measuring import EACH
from benchmarks.output.columns import by_suite
from benchmarks.result import Result
from benchmarks.rows import Row
from benchmarks.suites import SUITES

_WIDTH, _HEIGHT = 5.4, 4.0
_COLOURS = (
    "#0b6e99",
    "#d9730d",
    "#6b9b37",
    "#9b51a0",
    "#7f7f7f",
    "#c23b3b",
    "#3bb3c2",
    "#8a6d3b",
    "#444444",
)


class _Measure(NamedTuple):
    """A quantity on the y axis."""

    label: str
    value: Callable[[Row], tuple[float, float, float]]  # with what lies below and above it


def _seconds(row: Row) -> tuple[float, float, float]:
    assert row.seconds is not None
    median, low, high = (1e3 * x for x in row.seconds)
    return median, median - low, high - median


def _bytes(row: Row) -> tuple[float, float, float]:
    return ((row.persistent_bytes or 0) + (row.temporary_bytes or 0)) / 1e6, 0.0, 0.0


TIME = _Measure("milliseconds", _seconds)
SPACE = _Measure("MB, persistent and temporary", _bytes)


def _case(row: Row) -> str:
    return row.case if row.timing == EACH else f"{row.case}, {row.timing}"


def _panels(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows with one shape and several sizes make a panel of lines, the others one of bars."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(f"{_case(row)}\n{row.shape}", []).append(row)
    panels: dict[str, list[Row]] = {}
    for title, panel in lines.items():
        alone = len({row.size for row in panel}) == 1
        panels.setdefault(_case(panel[0]) if alone else title, []).extend(panel)
    return panels


def _of_peer(panel: list[Row], peer: str) -> list[Row]:
    return [row for row in panel if row.peer == peer]


def _draw_lines(axes: Any, panel: list[Row], measure: _Measure, colours: dict[str, str]) -> None:
    from matplotlib.ticker import LogLocator

    for peer in dict.fromkeys(row.peer for row in panel):
        rows = sorted(_of_peer(panel, peer), key=lambda row: row.size)
        values = [measure.value(row) for row in rows]
        axes.errorbar(
            [row.size for row in rows],
            [value for value, _, _ in values],
            yerr=[[below for _, below, _ in values], [above for _, _, above in values]],
            marker="o",
            markersize=4,
            capsize=2,
            color=colours[peer],
            label=peer,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = sorted({row.size for row in panel})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=20, ha="right")
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _draw_limit(axes: Any, panel: list[Row], result: Result) -> None:
    """The time that the least traffic takes at the copy bandwidth."""
    least = {row.size: row.bytes_moved for row in panel if row.bytes_moved is not None}
    sizes = sorted(least)
    same = all(row.bytes_moved in (None, least.get(row.size)) for row in panel)
    if same and len(sizes) > 1:
        limit = [1e3 * least[size] / result.limit for size in sizes]
        axes.plot(sizes, limit, "--", color="black", linewidth=1, label="limit (copy bandwidth)")


def _draw_bars(axes: Any, panel: list[Row], measure: _Measure, colours: dict[str, str]) -> None:
    peers = list(dict.fromkeys(row.peer for row in panel))
    places = list(dict.fromkeys((row.shape, row.size) for row in panel))
    height = 0.8 / len(peers)
    for i, peer in enumerate(peers):
        for row in _of_peer(panel, peer):
            value, below, above = measure.value(row)
            axes.barh(
                places.index((row.shape, row.size)) + (i - (len(peers) - 1) / 2) * height,
                value,
                height,
                xerr=[[below], [above]],
                color=colours[peer],
                label=peer,
            )
    axes.set_yticks(range(len(places)), [f"{shape}\n{size:,}" for shape, size in places])
    axes.invert_yaxis()


def _legend(figure: Any) -> None:
    """One for all panels, below them."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        named.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3, fontsize=8)


def _draw(suite: str, rows: list[Row], result: Result) -> Any:
    from matplotlib.figure import Figure

    timed = [row for row in rows if row.seconds]
    measure, rows = (TIME, timed) if timed else (SPACE, rows)
    panels = _panels(rows)
    peers = list(dict.fromkeys(row.peer for row in rows))
    colours = {peer: _COLOURS[i % len(_COLOURS)] for i, peer in enumerate(peers)}
    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(_WIDTH * across, _HEIGHT * down + 0.7), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, panel) in zip(grid.flat, panels.items(), strict=False):
        if len({row.shape for row in panel}) == 1 and len({row.size for row in panel}) > 1:
            _draw_lines(axes, panel, measure, colours)
            if measure is TIME:
                _draw_limit(axes, panel, result)
            axes.set_xlabel("size")
            axes.set_ylabel(measure.label)
        else:
            _draw_bars(axes, panel, measure, colours)
            axes.set_xlabel(measure.label)
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    _legend(figure)
    figure.suptitle(textwrap.fill(f"{suite}: {SUITES[suite]}", 50 * across))
    return figure


def save_plots(result: Result, folder: Path) -> list[str]:
    """Draws every suite into `<suite>.png` and returns the names of the files."""
    names = []
    for suite, rows in by_suite(result).items():
        names.append(f"{suite}.png")
        _draw(suite, rows, result).savefig(folder / names[-1], dpi=100)
    return names
