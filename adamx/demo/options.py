"""The command line: what can be chosen, what it means, and one clear line when it is wrong."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from adamx.demo.recipes import CHOICES

PROG = "python -m adamx"
_LARGEST_RATE = 1000.0


class UsageError(Exception):
    """Something that the user has to put right; the message is one line."""


def wrong_option(message: str) -> UsageError:
    """The error for a command line that cannot be run; `message` says what to write instead."""
    return UsageError(f"{message}; see {PROG} --help")


@dataclass(frozen=True)
class Options:
    """What one run does."""

    optimizer: str = "adamw"
    learning_rate: float = CHOICES["adamw"].learning_rate
    steps: int = 1120
    batch: int = 128
    seed: int = 0
    output: Path = Path("runs/digits")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse writes "argument --steps: expected one argument".
        message = re.sub("^argument (.*?):", r"\1", message)
        raise wrong_option(
            message.replace(
                "expected one argument", "must be followed by a value that does not start with '-'"
            )
        )


def _whole_number(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    wanted = f"at least {minimum}" if maximum == math.inf else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"must be a whole number, {wanted}; got {text!r}")
        return value

    return parse


def _learning_rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= _LARGEST_RATE:
        raise argparse.ArgumentTypeError(
            f"must be a positive number up to {_LARGEST_RATE:g}, such as 0.003; got {text!r}"
        )
    return value


def _optimizer(text: str) -> str:
    if text not in CHOICES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(CHOICES)}; got {text!r}")
    return text


def _epilog() -> str:
    width = max(map(len, CHOICES))
    rates = "\n".join(f"  {name:{width}}  {c.learning_rate:g}" for name, c in CHOICES.items())
    return f"""\
optimizers and their default learning rates:
{rates}

files written to the output folder (replacing those of an earlier run):
  training.png  loss, learning rate and gradient norm, step by step
  metrics.json  the same numbers, the results, the options, the seed, the versions, and
                the optimizer itself: adamx.from_config(metrics["optimizer"]) rebuilds it

exit status:
  0 done, 1 the loss did not stay finite, 2 wrong option, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The parser; its errors are `UsageError`s instead of an exit."""
    defaults = Options()
    result = _Parser(
        prog=PROG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Train a small network to read handwritten digits with an optimizer of the Adam\n"
            "family, and report its accuracy, speed and memory.  Takes seconds on a CPU.\n"
            "The data come with scikit-learn; nothing is downloaded."
        ),
        epilog=_epilog(),
    )
    result.add_argument(
        "--optimizer",
        metavar="NAME",
        type=_optimizer,
        default=defaults.optimizer,
        help="the optimizer, one of the names listed below (default: %(default)s)",
    )
    result.add_argument(
        "--learning-rate",
        metavar="RATE",
        type=_learning_rate,
        help="the largest learning rate, reached after a tenth of the steps; positive "
        "(default: the one listed below for the optimizer)",
    )
    result.add_argument(
        "--steps",
        metavar="N",
        type=_whole_number(1),
        default=defaults.steps,
        help="how many updates to make, at least 1 (default: %(default)s, which is 20 passes "
        "over the training images)",
    )
    result.add_argument(
        "--batch",
        metavar="N",
        type=_whole_number(1),
        default=defaults.batch,
        help="how many images each update sees, at least 1 and at most all of the training "
        "images (default: %(default)s)",
    )
    result.add_argument(
        "--seed",
        metavar="N",
        type=_whole_number(0, 2**32 - 1),
        default=defaults.seed,
        help="fixes the initial weights and the order of the images: the same seed gives the "
        "same numbers (default: %(default)s)",
    )
    result.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=defaults.output,
        help="where to write the results; created if missing (default: %(default)s)",
    )
    return result


def parse(argv: Sequence[str] | None = None) -> Options:
    """The options on a command line, `sys.argv` by default.

    Raises:
      UsageError: an unknown option, or a value that is not allowed.
      SystemExit: after printing the help that was asked for.
    """
    chosen = parser().parse_args(argv)
    if chosen.learning_rate is None:
        chosen.learning_rate = CHOICES[chosen.optimizer].learning_rate
    return Options(**vars(chosen))
