"""One run from the options to the files: read, train in each mode, test, report."""

from __future__ import annotations

import sys

import jax

from adamx.demo import report as progress_bar
from adamx.demo.exits import Exit
from adamx.demo.files import make_folder
from adamx.demo.tokens import corpus, metrics, plot, report, training
from adamx.demo.tokens.options import PROG, Options
from adamx.demo.tokens.result import Result


def run(options: Options) -> int:
    """Trains, writes the files, prints the report, and returns the exit status.

    Raises:
      UsageError: a folder that cannot be written; a Python without its source files.
      FileError: a file that cannot be written.
    """
    make_folder(options.output, PROG)
    read = corpus.load(options.vocabulary)
    trained = []
    for mode in options.modes:
        with progress_bar.progress(mode, options.steps) as advance:
            trained.append(training.train(mode, options, read, advance))
    result = Result(options, read, trained, jax.devices()[0].device_kind)
    files = [write(result, options.output) for write in (plot.write, metrics.write)]
    report.show(result, files)
    for each in trained:
        if each.first_bad_step is not None:
            print(
                f"{PROG}: the loss of {each.mode} was not finite at step {each.first_bad_step}; "
                "try a smaller --learning-rate",
                file=sys.stderr,
            )
            return Exit.DIVERGED
    return Exit.DONE
