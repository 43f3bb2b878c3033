"""How a run may end: the exit statuses, and the errors of one line that lead to them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, ClassVar, NoReturn


class Exit(IntEnum):
    """An exit status; 128 and above as shells report signals."""

    DONE = 0
    DIVERGED = 1
    MISUSED = 2
    PROCESS_LOST = 3
    NOT_RESUMED = 4
    FILE = 5
    FAULT = 70
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """A few words for the help."""
        return _MEANING[self]


_MEANING = {
    Exit.DONE: "done",
    Exit.DIVERGED: "the loss did not stay finite",
    Exit.MISUSED: "wrong option, or a package is missing",
    Exit.PROCESS_LOST: "a process was lost",
    Exit.NOT_RESUMED: "--resume found no whole checkpoint",
    Exit.FILE: "a file could not be written or read, as on a full disk",
    Exit.FAULT: "a fault of the program itself, with a traceback",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}


def table(*left_out: Exit) -> str:
    """The statuses for the help, one per line."""
    return "\n".join(f"  {each:<3}  {each.meaning}" for each in Exit if each not in left_out)


class Failure(Exception):
    """An end that was foreseen; the message is one line, and says what to do."""

    status: ClassVar[Exit]


class UsageError(Failure):
    """Something that the user has to put right."""

    status = Exit.MISUSED


class ResumeError(Failure):
    """There is nothing to go on from."""

    status = Exit.NOT_RESUMED


class FileError(Failure):
    """A file could not be written."""

    status = Exit.FILE


class Terminated(BaseException):
    """SIGTERM has come: as `KeyboardInterrupt`, no error for others to handle."""


def raise_at_sigterm() -> None:
    """From now on SIGTERM raises `Terminated` in the main thread."""

    def terminate(*_: Any) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Meanwhile SIGTERM raises `Terminated`, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    raise_at_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
