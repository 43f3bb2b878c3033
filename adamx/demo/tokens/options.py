"""The command line of `python -m adamx tokens`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adamx.demo import exits, formats
from adamx.demo.arguments import Parser, learning_rate, one_of, whole_number
from adamx.demo.exits import UsageError

PROG = "python -m adamx tokens"
MODES = ("dense", "exact", "lazy", "rowwise")
# Rows that were put off cannot be rounded at random, and a pair has no second moment for a row.
_WITH_FEWER_BITS = ("dense", "lazy", "rowwise")
_WITH_PAIRS = ("dense", "lazy")


@dataclass(frozen=True)
class Options:
    """The options of one run."""

    mode: str = "all"
    vocabulary: int = 65536
    learning_rate: float = 0.003
    steps: int = 1000
    batch: int = 64
    seed: int = 0
    state_format: str = formats.FLOAT32
    param_format: str = formats.FLOAT32
    output: Path = Path("runs/tokens")

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes to train in, one after the other."""
        return MODES if self.mode == "all" else (self.mode,)


_EPILOG = f"""\
modes, all with Adam's moments for the table of embeddings:
  dense    every row takes every step, at the cost of the whole table
  exact    the same result at the cost of the rows that a batch reads
  lazy     rows that a batch does not read stand still, moments included
  rowwise  as lazy, with one second moment for a whole row

files written to the output folder (replacing those of an earlier run):
  tokens.png    loss of each mode, step by step, and how far it is from that of dense
  metrics.json  the same numbers, the results, the options, the seed, the versions, and
                the optimizers: adamx.from_config(...) rebuilds them

exit status:
{exits.table(exits.Exit.PROCESS_LOST, exits.Exit.NOT_RESUMED)}
"""


def parser() -> Parser:
    """The parser; its errors are `UsageError`s instead of an exit."""
    defaults = Options()
    result = Parser(
        PROG,
        description=(
            "Train a small network to predict the next token of Python's own standard library,\n"
            "with its embeddings in one of the sparse modes or in each.  Takes less than a minute\n"
            "on a CPU.  The source files are those of this Python; nothing is downloaded."
        ),
        epilog=_EPILOG,
    )
    result.add_argument(
        "--mode",
        metavar="NAME",
        type=one_of("all", *MODES),
        default=defaults.mode,
        help="one of the modes listed below, or all to compare them (default: %(default)s)",
    )
    result.add_argument(
        "--vocabulary",
        metavar="N",
        type=whole_number(2, 2**20),
        default=defaults.vocabulary,
        help="how many of the most frequent tokens have an embedding of their own, all others "
        "sharing one, from 2 to 1048576 (default: %(default)s)",
    )
    result.add_argument(
        "--learning-rate",
        metavar="RATE",
        type=learning_rate,
        default=defaults.learning_rate,
        help="the largest learning rate, reached after a tenth of the steps; positive "
        "(default: %(default)s)",
    )
    result.add_argument(
        "--steps",
        metavar="N",
        type=whole_number(1),
        default=defaults.steps,
        help="how many updates to make in each mode, at least 1 (default: %(default)s)",
    )
    result.add_argument(
        "--batch",
        metavar="N",
        type=whole_number(1, 2**20),
        default=defaults.batch,
        help="how many tokens each update predicts, from 1 to 1048576 (default: %(default)s)",
    )
    result.add_argument(
        "--seed",
        metavar="N",
        type=whole_number(0, 2**32 - 1),
        default=defaults.seed,
        help="fixes the initial weights and the order of the tokens: the same seed gives the "
        "same numbers (default: %(default)s)",
    )
    formats.add_options(
        result,
        state=f"; with --mode {' or '.join(_WITH_PAIRS)}, bfloat16 also with rowwise",
        params=f"; with --mode {' or '.join(_WITH_FEWER_BITS)}",
    )
    result.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=defaults.output,
        help="where to write the results; created if missing (default: %(default)s)",
    )
    return result


def parse(argv: Sequence[str]) -> Options:
    """The options on a command line, after the word `tokens`.

    Raises:
      UsageError: an unknown option, or a value that is not allowed.
      SystemExit: after printing the help that was asked for.
    """
    chosen = Options(**vars(parser().parse_args(argv)))
    modes = _WITH_PAIRS if chosen.state_format == "pair" else _WITH_FEWER_BITS
    _check_format("--state-format", chosen.state_format, chosen.mode, modes)
    _check_format("--param-format", chosen.param_format, chosen.mode, _WITH_FEWER_BITS)
    return chosen


def _check_format(option: str, name: str, mode: str, allowed: tuple[str, ...]) -> None:
    if name != formats.FLOAT32 and mode not in allowed:
        raise UsageError(
            f"{option} {name} needs --mode {' or '.join(allowed)}; got {mode}; see {PROG} --help"
        )
