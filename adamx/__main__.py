"""`python -m adamx`: train a small network and report how it went."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from adamx.demo import extras, options, processes
from adamx.demo.exits import Exit, Failure, Terminated, sigterm_raises
from adamx.demo.tokens import options as tokens_options

_TOKENS = "tokens"


def _digits(argv: Sequence[str]) -> int:
    chosen = options.parse(argv)
    extras.require()
    # Only now, because it needs those extras.
    from adamx.demo.run import run

    return run(chosen)


def _tokens(argv: Sequence[str]) -> int:
    chosen = tokens_options.parse(argv)
    extras.require("matplotlib", "rich")
    from adamx.demo.tokens.run import run

    return run(chosen)


def _discard_output() -> None:
    """Leaves nothing for the end of the program to write where nothing can be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a demo and returns its exit status, an `adamx.demo.exits.Exit`.

    Args:
      argv: the command line without the program's name; `sys.argv` by default. The first word
        `tokens` chooses the demo of sparse tables, else it is that of the digits.
    """
    words = sys.argv[1:] if argv is None else [*argv]
    prog, demo = options.PROG, _digits
    if words[:1] == [_TOKENS]:
        prog, demo, words = tokens_options.PROG, _tokens, words[1:]

    def ended(status: Exit, line: str) -> Exit:
        print(f"{prog}: {line}", file=sys.stderr)
        return status

    def stopped(status: Exit, how: str) -> Exit:
        # The signal may have come to all processes of the run; the one that started them tells.
        if processes.was_started_by_another():
            return status
        return ended(status, f"{how} before the end of the run")

    try:
        with sigterm_raises():
            status = demo(words)
            sys.stdout.flush()  # Here rather than at the very end, where errors have no status.
            return status
    except Failure as error:
        return ended(error.status, str(error))
    except KeyboardInterrupt:
        return stopped(Exit.INTERRUPTED, "interrupted")
    except Terminated:
        return stopped(Exit.TERMINATED, "terminated")
    except OSError as error:
        _discard_output()
        where = f" '{error.filename}'" if error.filename else ""
        return ended(Exit.FILE, f"could not read or write{where} ({error.strerror or error})")
    except Exception:
        # Python's own status for it is 1, which says that the loss did not stay finite.
        traceback.print_exc()
        return Exit.FAULT


def _program() -> NoReturn:
    status = main()
    if status in (Exit.INTERRUPTED, Exit.TERMINATED):
        # The signal may have come while XLA was computing; it still is, and crashes where the
        # interpreter is taken down meanwhile.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    _program()
