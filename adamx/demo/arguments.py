"""The base of the command lines: their parser, its errors and the kinds of numbers."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import NoReturn

from adamx.demo.exits import UsageError

_LARGEST_RATE = 1000.0


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`s instead of an exit."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=description,
            epilog=epilog,
        )

    def error(self, message: str) -> NoReturn:
        # argparse writes "argument --steps: expected one argument".
        message = re.sub("^argument (.*?):", r"\1", message)
        message = message.replace(
            "expected one argument", "must be followed by a value that does not start with '-'"
        )
        raise UsageError(f"{message}; see {self.prog} --help")


def whole_number(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    """A reader of whole numbers in a range."""
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


def learning_rate(text: str) -> float:
    """A reader of learning rates."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= _LARGEST_RATE:
        raise argparse.ArgumentTypeError(
            f"must be a positive number up to {_LARGEST_RATE:g}, such as 0.003; got {text!r}"
        )
    return value


def one_of(*names: str) -> Callable[[str], str]:
    """A reader of names."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(names)}; got {text!r}")
        return text

    return parse
