"""The table in the terminal when the run is done: one row for each mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from adamx.core.kept import per_parameter
from adamx.demo.tokens import model
from adamx.demo.tokens.result import Result

# How many of the last steps the training loss is a mean of.
_LAST = 50


def _columns(result: Result) -> Iterator[tuple[str, list[str]]]:
    trained = result.trained
    yield "train loss", [f"{np.mean(each.loss[-_LAST:]):.4f}" for each in trained]
    yield "test loss", [f"{each.test_loss:.4f}" for each in trained]
    if result.dense is not None:
        distances = map(result.distance, trained)
        yield (
            "off dense",
            ["-" if d is None else f"{100 * np.max(d):.2g} %" for d in distances],
        )
    yield "step", [f"{1e3 * each.step_seconds:.2f} ms" for each in trained]
    if result.dense is not None:
        dense = result.dense.step_seconds
        yield "faster", [f"{dense / each.step_seconds:.1f} x" for each in trained]
    yield "state", [f"{each.state_bytes / 1e6:.1f} MB" for each in trained]


def table(result: Result) -> Table:
    """The results, one mode per row."""
    options = result.options
    grid = Table(
        title=f"next-token prediction, {options.steps:,} steps of {options.batch:,} tokens, "
        f"seed {options.seed}",
        title_justify="left",
    )
    columns = list(_columns(result))
    grid.add_column("mode", style="cyan")
    for name, _ in columns:
        grid.add_column(name, justify="right")
    for i, each in enumerate(result.trained):
        grid.add_row(each.mode, *(cells[i] for _, cells in columns))
    return grid


def show(result: Result, files: list[Path]) -> None:
    """Prints the table, what was read, the first recipe and where the files are."""
    console = Console()
    corpus = result.corpus
    console.print(table(result))
    if result.dense is not None:
        console.print(
            "off dense: the largest difference of any step's loss from that of dense",
            highlight=False,
        )
    console.print(
        f"{len(corpus.train) + len(corpus.test):,} tokens of {corpus.files} files, "
        f"{corpus.vocabulary:,} of them told apart, on {result.device}",
        highlight=False,
    )
    for each in result.trained:
        shown = per_parameter(each.kept, each.parameters)
        console.print(f"bytes per parameter of {each.mode}: {shown}", highlight=False)
    rows = min(result.options.batch * model.CONTEXT, corpus.vocabulary)
    console.print(
        f"a step reads at most {rows:,} rows of the table, "
        f"{100 * rows / corpus.vocabulary:.2g} % of it; dense steps them all",
        highlight=False,
    )
    first = result.trained[0]
    console.print(f"\n[bold]the recipe[/bold] of {first.mode}, repr(tx)", highlight=False)
    console.print(repr(first.tx), soft_wrap=True, markup=False, highlight=False)
    console.print("\n[bold]the files[/bold]")
    for file in files:
        console.print(str(file), soft_wrap=True, markup=False, highlight=False)
