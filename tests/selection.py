"""Which cases of a table run by default, where a test of each is costly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def full(cases: Iterable[Any], reason: str) -> list[Any]:
    """Cases that `--full` alone runs; a tuple holds several arguments."""
    mark = pytest.mark.full(reason)
    return [pytest.param(*(c if isinstance(c, tuple) else (c,)), marks=mark) for c in cases]


def one_in(every: int, cases: Iterable[Any], reason: str, first: int = 0) -> list[Any]:
    """One case of so many by default, from this one on; all of them with `--full`."""
    return [c if i % every == first else full([c], reason)[0] for i, c in enumerate(cases)]


def in_turn(cases: Iterable[Any], options: Iterable[Any], reason: str) -> list[Any]:
    """Every case with one of the options by default, each its own; all pairs with `--full`."""
    options = list(options)
    return [
        pair
        for i, case in enumerate(cases)
        for pair in one_in(
            len(options), [(case, option) for option in options], reason, first=i % len(options)
        )
    ]
