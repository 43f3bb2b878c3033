"""`python -m adamx`: train a network on handwritten digits and report how it went."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from adamx.demo import extras, options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo and returns its exit status: 0, 1 if it diverged, 2 misused, 130 interrupted.

    Args:
      argv: the command line without the program's name; `sys.argv` by default.
    """
    try:
        chosen = options.parse(argv)
        extras.require()
        # Only now, because it needs those extras.
        from adamx.demo.run import run

        return run(chosen)
    except options.UsageError as error:
        print(f"{options.PROG}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{options.PROG}: interrupted before the end of the run", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
