"""The command line: what can be chosen, what it means, and one clear line when it is wrong."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adamx.demo import exits, formats
from adamx.demo.arguments import Parser, learning_rate, one_of, whole_number
from adamx.demo.exits import UsageError
from adamx.demo.recipes import CHOICES

PROG = "python -m adamx"


def wrong_option(message: str) -> UsageError:
    """The error for a command line that cannot be run; `message` says what to write instead."""
    return UsageError(f"{message}; see {PROG} --help")


@dataclass(frozen=True)
class Options:
    """The options of one run."""

    optimizer: str = "adamw"
    learning_rate: float = CHOICES["adamw"].learning_rate
    steps: int = 1120
    batch: int = 128
    seed: int = 0
    state_format: str = formats.FLOAT32
    param_format: str = formats.FLOAT32
    output: Path = Path("runs/digits")
    checkpoint_every: int | None = None
    resume: bool = False
    devices: int | None = None
    processes: int = 1
    coordinator: str | None = None
    process_id: int | None = None


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

  checkpoints/  with --checkpoint-every: the last two, <step>.<checksum>.npz, whole or not
                there; the checksum shows whether one was damaged since

many devices:
  every batch is sharded over the devices, and so is the optimizer's state (ZeRO-1)
  python -m adamx --devices 8                 eight devices, virtual ones on a CPU
  python -m adamx --devices 8 --processes 2   four in each of two processes, started here
  on several hosts, start one process on each, with the address of the first:
  python -m adamx --processes 2 --coordinator 10.0.0.1:4000 --process-id 0

another demo:
  python -m adamx tokens    next-token prediction with a sparsely trained table

exit status:
{exits.table()}
"""


def parser() -> Parser:
    """The parser; its errors are `UsageError`s instead of an exit."""
    defaults = Options()
    result = Parser(
        PROG,
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
        type=one_of(*CHOICES),
        default=defaults.optimizer,
        help="the optimizer, one of the names listed below (default: %(default)s)",
    )
    result.add_argument(
        "--learning-rate",
        metavar="RATE",
        type=learning_rate,
        help="the largest learning rate, reached after a tenth of the steps; positive "
        "(default: the one listed below for the optimizer)",
    )
    result.add_argument(
        "--steps",
        metavar="N",
        type=whole_number(1),
        default=defaults.steps,
        help="how many updates to make, at least 1 (default: %(default)s, which is 20 passes "
        "over the training images)",
    )
    result.add_argument(
        "--batch",
        metavar="N",
        type=whole_number(1),
        default=defaults.batch,
        help="how many images each update sees, at least 1 and at most all of the training "
        "images (default: %(default)s)",
    )
    result.add_argument(
        "--seed",
        metavar="N",
        type=whole_number(0, 2**32 - 1),
        default=defaults.seed,
        help="fixes the initial weights and the order of the images: the same seed gives the "
        "same numbers (default: %(default)s)",
    )
    formats.add_options(result)
    result.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=defaults.output,
        help="where to write the results; created if missing (default: %(default)s)",
    )
    result.add_argument(
        "--checkpoint-every",
        metavar="N",
        type=whole_number(1),
        help="write a checkpoint after every N updates, at least 1 (default: none)",
    )
    result.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest whole checkpoint in the output folder, passing over damaged "
        "ones; repeat the options of the run that wrote it (except --devices, --processes; also "
        "--steps, which sets the learning rates) (default: start anew)",
    )
    result.add_argument(
        "--devices",
        metavar="N",
        type=whole_number(1, 1024),
        help="how many devices share every batch, in all processes together, from 1 to 1024 "
        "(default: 1, or all that several processes have)",
    )
    result.add_argument(
        "--processes",
        metavar="N",
        type=whole_number(1, 1024),
        default=defaults.processes,
        help="how many processes train together, from 1 to 1024; without --coordinator they are "
        "started on this machine (default: %(default)s)",
    )
    result.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="where the processes meet: the address of the first (default: started here)",
    )
    result.add_argument(
        "--process-id",
        metavar="I",
        type=whole_number(0, 1023),
        help="which of the processes this one is, from 0; with --coordinator (default: none)",
    )
    return result


def _check_together(chosen: argparse.Namespace) -> None:
    fitting = CHOICES[chosen.optimizer].state_formats
    if chosen.state_format not in fitting:
        raise wrong_option(
            f"--state-format {chosen.state_format} does not fit --optimizer {chosen.optimizer}, "
            f"which takes {', '.join(fitting)}"
        )
    if chosen.resume and chosen.checkpoint_every is None:
        raise wrong_option("--resume needs the --checkpoint-every of the run that is to go on")
    if (chosen.coordinator is None) != (chosen.process_id is None):
        raise wrong_option("--coordinator and --process-id must be given together")
    if chosen.process_id is not None and chosen.process_id >= chosen.processes:
        raise wrong_option(
            f"--process-id must be below --processes {chosen.processes}; got {chosen.process_id}"
        )
    if chosen.devices is not None and chosen.devices % chosen.processes:
        raise wrong_option(
            f"--devices must be a multiple of --processes {chosen.processes}; got {chosen.devices}"
        )


def parse(argv: Sequence[str] | None = None) -> Options:
    """The options on a command line, `sys.argv` by default.

    Raises:
      UsageError: an unknown option, or a value that is not allowed.
      SystemExit: after printing the help that was asked for.
    """
    chosen = parser().parse_args(argv)
    _check_together(chosen)
    if chosen.learning_rate is None:
        chosen.learning_rate = CHOICES[chosen.optimizer].learning_rate
    return Options(**vars(chosen))
