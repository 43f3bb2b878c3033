"""Peers: libraries that prepare the same step, each in its own way."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from benchmarks.models import Model
from benchmarks.recipes import Recipe


class Unsupported(Exception):
    """The peer does not have what was asked for; the message says what."""


class Memory(NamedTuple):
    """Bytes."""

    persistent: int  # parameters and state
    temporary: int | None  # besides, within a step; None where the library does not say


class Prepared(NamedTuple):
    """A step ready to be timed, and its memory."""

    dispatch: Callable[[], object]  # takes a step, which may still go on when it returns
    wait: Callable[[], object]  # returns when all steps are finished
    memory: Memory
    in_one_program: Callable[[int], object] | None = None  # takes so many; None: it cannot


class Compiled(NamedTuple):
    """A step as a program: what it took to make it, and its memory."""

    lower_seconds: float  # tracing and lowering
    compile_seconds: float
    memory: Memory
    program: Any


class Peer(Protocol):
    """A library."""

    @property
    def name(self) -> str: ...

    @property
    def package(self) -> str: ...

    def prepare(self, recipe: Recipe, model: Model, seed: int) -> Prepared:
        """The step with parameters and gradients drawn from the seed."""
        ...

    def compile(self, recipe: Recipe, model: Model) -> Compiled:
        """The step compiled, nothing allocated."""
        ...


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
