"""Runs the suites one after the other."""

from __future__ import annotations

import datetime
import importlib
import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import machine
from benchmarks.bench import Bench, Case
from benchmarks.options import Options
from benchmarks.result import Result
from benchmarks.rows import Row, Spread


def _cases(options: Options) -> list[tuple[str, Case]]:
    """Every case with the name of its suite."""
    return [
        (suite, case)
        for suite in options.suites
        for case in importlib.import_module(f"benchmarks.suites.{suite}").cases(options)
    ]


def run(options: Options, command: Sequence[str], console: Console) -> Result:
    """Measures everything that was asked for, with a progress bar."""
    bench = Bench(options)
    cases = _cases(options)
    rows: list[Row] = []
    failures: list[str] = []
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(cases))
        for suite, case in cases:
            progress.update(task, description=f"{suite}: {case.label}")
            try:
                rows += case.run(bench)
            except Exception as error:  # One case must not cost the hour that the others took.
                console.print_exception()
                failures.append(f"{suite}: {case.label}: {type(error).__name__}")
            progress.advance(task)
        progress.update(task, description="done")
    bench.copy.measure()
    return Result(
        command=shlex.join(("python", "-m", "benchmarks", *command)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=options.seed,
        hardware=machine.hardware(),
        versions=machine.versions(),
        copy_bandwidth=Spread.of(bench.copy.samples),
        limit=max(bench.copy.samples),
        skipped=tuple(bench.skipped),
        failures=tuple(failures),
        rows=tuple(rows),
    )
