"""Files in the output folder: whole or not there, and one clear line if they cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adamx.demo.exits import FileError, UsageError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(path: Path, what: str = "", advice: str = "") -> Iterator[None]:
    """Turns errors of the file system into a `FileError` that names `path`."""
    try:
        yield
    except OSError as error:
        named = f"{what} '{path}'".strip()
        raise FileError(f"could not write {named} ({error.strerror}){advice}") from error


def write(path: Path, contents: bytes) -> Path:
    """Puts a file in its place once it is complete, and returns its path.

    Raises:
      FileError: it cannot be written; what was there before stays.
    """
    beside = path.with_name(f".{path.name}.part")
    with writing(path):
        try:
            beside.write_bytes(contents)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def make_folder(folder: Path, prog: str) -> None:
    """Makes the folder that `--output` names.

    Raises:
      UsageError: it cannot be made, or nothing can be written into it.
      FileError: there is no room for it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Writing tells more than permission bits do.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise FileError(f"could not write into '{folder}' ({error.strerror})") from error
        raise UsageError(
            f"--output must be a folder that can be written; got '{folder}' ({error.strerror}); "
            f"see {prog} --help"
        ) from error
