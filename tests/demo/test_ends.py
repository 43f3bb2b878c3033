"""Every end but a good one: one line, a status of its own, and no file that is not whole."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adamx.__main__ import main
from adamx.demo import files, training
from adamx.demo import options as digits_options
from adamx.demo.exits import Exit, FileError, UsageError
from adamx.demo.tokens import corpus
from adamx.demo.tokens import options as tokens_options
from adamx.demo.tokens import training as tokens_training
from tests.demo import support

DIGITS: list[str] = []
TOKENS = ["tokens"]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with support.small_network():
        yield


def both(
    monkeypatch: pytest.MonkeyPatch, train: Callable[..., Any], words: list[str], folder: Path
) -> int:
    """The status of a demo that does something else instead of training."""
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(tokens_training, "train", train)
    monkeypatch.setattr(corpus, "load", lambda vocabulary: None)
    return main([*words, "--output", str(folder)])


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def terminate(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("the signal was not heard")


def fill_the_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")


def close_the_pipe(*_: Any) -> None:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


ENDS = [
    (interrupt, Exit.INTERRUPTED, "interrupted before the end of the run"),
    (terminate, Exit.TERMINATED, "terminated before the end of the run"),
    (
        fill_the_disk,
        Exit.FILE,
        "could not read or write 'some/file' (No space left on device)",
    ),
    (close_the_pipe, Exit.FILE, "could not read or write (Broken pipe)"),
]


@pytest.mark.parametrize("words", [DIGITS, TOKENS], ids=["digits", "tokens"])
@pytest.mark.parametrize(("train", "status", "line"), ENDS, ids=[name.name for _, name, _ in ENDS])
def test_one_line_and_a_status(
    train: Callable[..., Any],
    status: Exit,
    line: str,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert both(monkeypatch, train, words, tmp_path) == status
    assert signal.getsignal(signal.SIGTERM) is before
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"{' '.join(['python -m adamx', *words])}: {line}\n"


@pytest.mark.parametrize("words", [DIGITS, TOKENS], ids=["digits", "tokens"])
def test_a_fault_is_not_taken_for_a_diverged_loss(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("ours")

    assert both(monkeypatch, fail, words, tmp_path) == Exit.FAULT
    assert capsys.readouterr().err.endswith("ZeroDivisionError: ours\n")


def test_a_full_disk_while_checkpoints_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three finds no room; the run can go on from the first."""
    argv = ["--steps", "6", "--batch", "16", "--checkpoint-every", "2"]
    folder = tmp_path / "full"
    replace, room = os.replace, [2]

    def second_finds_none(source: Path, target: Path) -> None:
        room[0] -= Path(target).suffix == ".npz" and "unfinished" not in Path(target).name
        if not room[0]:
            fill_the_disk()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second_finds_none)
        assert main(["--output", str(folder), *argv]) == Exit.FILE
    out, err = capsys.readouterr()
    assert out == ""
    place = folder / "checkpoints"
    assert err == (
        f"python -m adamx: could not write the checkpoint after step 4 to '{place}' "
        "(No space left on device); once that can be, go on with --resume\n"
    )
    assert support.has_checkpoint(folder, 2)
    assert not support.has_checkpoint(folder, 4)
    assert len(support.run(folder, *argv, "--resume")["curves"]["loss"]) == 6
    assert capsys.readouterr().err == ""


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write(tmp_path / "a", b"before")
    monkeypatch.setattr(os, "replace", fill_the_disk)
    with pytest.raises(FileError, match=r"could not write '.*a' \(No space left on device\)"):
        files.write(path, b"after")
    assert path.read_bytes() == b"before"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, FileError), (errno.EDQUOT, FileError), (errno.EACCES, UsageError)],
)
def test_a_folder_without_room_is_no_wrong_option(
    number: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(error):
        files.make_folder(tmp_path / "new", "prog")


def test_the_help_lists_every_status() -> None:
    assert len({status.meaning for status in Exit}) == len(Exit)
    digits, tokens = (
        {int(line.split()[0]) for line in text.split("exit status:\n")[1].splitlines()}
        for text in (
            digits_options.parser().epilog or "",
            tokens_options.parser().epilog or "",
        )
    )
    assert digits == {*Exit}
    assert tokens == {*Exit} - {Exit.PROCESS_LOST, Exit.NOT_RESUMED}
