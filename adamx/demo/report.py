"""The output in the terminal: a progress bar while it runs, a table when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adamx.core.kept import per_parameter
from adamx.demo.result import Result


@contextmanager
def progress(optimizer: str, steps: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar on stderr, and nothing at all where stderr is not a terminal.

    Yields:
      A function to call after every pass, with its number of steps and its last loss.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps  {task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Colours forced upon a log file do not make it a terminal.
        disable=not (sys.stderr.isatty() and console.is_interactive),
    )
    with bar:
        task = bar.add_task(f"compiling {optimizer}", total=steps, note="")

        def after_pass(done: int, loss: float) -> None:
            bar.update(
                task, advance=done, description=f"training {optimizer}", note=f"loss {loss:.4f}"
            )

        yield after_pass


def _share(correct: int, images: int) -> str:
    return f"[bold]{100 * correct / images:.1f} %[/bold] ({correct} of {images} images)"


def _devices(result: Result) -> str:
    if result.devices == 1:
        return result.device
    processes = result.options.processes
    return f"{result.devices} x {result.device}" + (
        f" in {processes} processes" if processes > 1 else ""
    )


def _rows(result: Result) -> Iterator[tuple[str, str]]:
    options = result.options
    passes = options.steps / (result.train_images // options.batch)
    yield "test accuracy", _share(result.correct, result.test_images)
    averaged = _share(result.correct_averaged, result.test_images)
    yield f"test accuracy, averaged ({result.average})", averaged
    yield "final training loss", f"{result.loss[-1]:.4g}"
    yield "steps", f"{options.steps:,}"
    yield "images per step", f"{options.batch:,}"
    yield "training images", f"{result.train_images:,}, seen {passes:.3g} times"
    yield "speed", f"{result.steps_per_second:,.0f} steps/s on {_devices(result)}"
    yield "training time", f"{result.train_seconds:.2f} s, without compiling"
    yield "compile time", f"{result.compile_seconds:.2f} s"
    yield "parameters", f"{result.parameters:,}"
    yield "parameter memory", f"{result.parameter_bytes:,} bytes"
    yield "optimizer state memory", f"{result.state_bytes:,} bytes"
    if result.devices > 1:
        yield "... on each device", f"{result.state_bytes_per_device:,} bytes"
    yield "bytes per parameter", per_parameter(result.kept, result.parameters)


def table(result: Result) -> Table:
    """The results, one per row."""
    options = result.options
    grid = Table(
        title=f"{options.optimizer} on handwritten digits, seed {options.seed}",
        title_justify="left",
        show_header=False,
    )
    grid.add_column(style="cyan")
    grid.add_column()
    for name, value in _rows(result):
        grid.add_row(name, value)
    return grid


def show(result: Result, files: list[Path]) -> None:
    """Prints the table, the recipe and where the files are."""
    console = Console()
    console.print(table(result))
    console.print("\n[bold]the recipe[/bold], repr(tx)", highlight=False)
    console.print(repr(result.recipe.tx), soft_wrap=True, markup=False, highlight=False)
    console.print("\n[bold]the files[/bold]")
    for file in files:
        console.print(str(file), soft_wrap=True, markup=False, highlight=False)
