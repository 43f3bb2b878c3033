"""`python -m benchmarks`: measures, prints, stores, draws and compares."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import jax
from rich.console import Console

from benchmarks.compare import show_changes
from benchmarks.options import parse
from benchmarks.output.markdown import page
from benchmarks.output.plots import save_plots
from benchmarks.output.terminal import show
from benchmarks.result import Result
from benchmarks.run import run


def _choose(device: str | None) -> None:
    """Makes JAX use the device, or says that it cannot."""
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device == "gpu" and jax.default_backend() != "gpu":
        sys.exit(f"--device gpu: JAX sees none, only {jax.default_backend()}; see jax[cuda13]")


def main(arguments: Sequence[str] | None = None) -> Result:
    given = sys.argv[1:] if arguments is None else arguments
    options = parse(given)
    # Read before the run: it may be the file that the run overwrites.
    old = None if options.compare is None else Result.load(options.compare)
    _choose(options.device)
    console = Console()
    result = run(options, given, console)
    options.output.mkdir(parents=True, exist_ok=True)
    result.save(options.output / "results.json")
    plots = save_plots(result, options.output)
    (options.output / "RESULTS.md").write_text(page(result, plots))
    show(result, console)
    if old is not None:
        show_changes(old, result, console)
    written = ", ".join(["results.json", "RESULTS.md", *plots])
    console.print(f"written to {options.output}: {written}")
    return result


if __name__ == "__main__":
    sys.exit(1 if main().failures else 0)
