"""`python -m adamx`: train a small network and report how it went."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from adamx.demo import extras, options
from adamx.demo.arguments import UsageError
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a demo and returns its exit status: 0, 1 if it diverged, 2 misused, 130 interrupted.

    Args:
      argv: the command line without the program's name; `sys.argv` by default. The first word
        `tokens` chooses the demo of sparse tables, else it is that of the digits.
    """
    words = sys.argv[1:] if argv is None else [*argv]
    prog, demo = options.PROG, _digits
    if words[:1] == [_TOKENS]:
        prog, demo, words = tokens_options.PROG, _tokens, words[1:]
    try:
        return demo(words)
    except UsageError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted before the end of the run", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
