"""The demo in two real processes on the loopback: same numbers, and an end in bounded time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adamx.demo import processes
from adamx.demo.exits import Exit
from adamx.demo.options import Options, parse
from adamx.demo.processes import command
from tests.demo.support import final_arrays, has_checkpoint, metrics, same_to_rounding

SECONDS = 120


def program(folder: Path, *options: str) -> list[str]:
    words = ["--steps", "40", "--batch", "64", "--output", str(folder), *options]
    return [sys.executable, "-W", "error", "-m", "adamx", *words]


def children(parent: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@contextmanager
def running(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Any) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


TWO = ("--devices", "8", "--processes", "2", "--checkpoint-every", "10")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A run on two processes of four devices: its folder, its metrics and what it printed."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run(program(folder, *TWO), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return folder, metrics(folder), done.stdout


@pytest.mark.full("whole runs of the program")
def test_two_processes_train_to_the_numbers_of_one(two: Any, tmp_path: Path) -> None:
    subprocess.run(
        program(tmp_path, "--devices", "8", "--checkpoint-every", "10"),
        check=True,
        capture_output=True,
    )
    _, together, printed = two
    same_to_rounding(metrics(tmp_path), together)
    assert (together["devices"], together["processes"]) == (8, 2)
    # One of the processes reports, the other is silent; Gloo's announcements are not seen.
    assert printed.count("final training loss") == 1
    assert "8 x cpu in 2 processes" in printed
    assert "Gloo" not in printed


@pytest.mark.full("whole runs of the program")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_in_the_middle_and_resumed_it_is_the_same_run_bit_for_bit(
    two: Any, tmp_path: Path
) -> None:
    """kill -9 of everything at once; what two processes did undisturbed is the oracle."""
    with running(program(tmp_path, *TWO)) as parent:
        wait_for(lambda: has_checkpoint(tmp_path, 20))
        for pid in [*children(parent.pid), parent.pid]:
            os.kill(pid, signal.SIGKILL)
    assert not (tmp_path / "metrics.json").exists()
    subprocess.run(program(tmp_path, *TWO, "--resume"), check=True, capture_output=True)
    folder, whole, _ = two
    killed = metrics(tmp_path)
    assert killed["curves"] == whole["curves"]
    assert killed["results"] == whole["results"]
    last = len(whole["curves"]["loss"])
    assert final_arrays(tmp_path, last) == final_arrays(folder, last)


LONG = ("--steps", "100000", "--devices", "2", "--processes", "2")


@pytest.mark.full("whole runs of the program")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killing_one_process_ends_all(tmp_path: Path) -> None:
    with running(program(tmp_path, *LONG, "--checkpoint-every", "5")) as parent:
        wait_for(lambda: has_checkpoint(tmp_path, 10))
        both = children(parent.pid)
        assert len(both) == 2
        os.kill(both[0], signal.SIGKILL)
        started = time.monotonic()
        _, err = parent.communicate(timeout=SECONDS)
        assert parent.returncode == Exit.PROCESS_LOST
        assert "was lost" in err
        assert "go on with --resume" in err
        assert time.monotonic() - started < 30
        for pid in both:
            assert not Path(f"/proc/{pid}").exists()


@pytest.mark.full("whole runs of the program")
def test_without_a_parent_the_other_process_ends_by_itself(tmp_path: Path) -> None:
    """As on real hosts: nobody is there to stop it, only the silence of the lost one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = ("--coordinator", f"127.0.0.1:{probe.getsockname()[1]}")
    words = [*program(tmp_path, *LONG, "--checkpoint-every", "5"), *meeting]
    with (
        running([*words, "--process-id", "0"]) as first,
        running([*words, "--process-id", "1"]) as second,
    ):
        wait_for(lambda: has_checkpoint(tmp_path, 5))
        second.kill()
        started = time.monotonic()
        first.communicate(timeout=SECONDS)
        assert first.returncode not in (0, None)
        assert time.monotonic() - started < 60


def test_the_processes_get_the_options_of_their_parent() -> None:
    given = Options(
        optimizer="lamb",
        seed=0,
        output=Path("some where"),
        resume=True,
        checkpoint_every=3,
        devices=8,
        processes=2,
        coordinator="127.0.0.1:1",
        process_id=0,
    )
    assert parse(command(given)[3:]) == given


@pytest.mark.full("whole runs of the program")
def test_a_terminated_run_says_so_once(tmp_path: Path) -> None:
    """The signal comes to all processes at once, as at the shutdown of a machine."""
    words = [*program(tmp_path, *LONG, "--checkpoint-every", "5")]
    with running(words) as parent:
        wait_for(lambda: has_checkpoint(tmp_path, 10))
        both = children(parent.pid)
        for pid in [*both, parent.pid]:
            os.kill(pid, signal.SIGTERM)
        _, err = parent.communicate(timeout=SECONDS)
    assert parent.returncode == Exit.TERMINATED
    assert err == "python -m adamx: terminated before the end of the run\n"
    for pid in both:
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("first", "second", "status", "told"),
    [
        ("_exit(0)", "_exit(0)", Exit.DONE, ""),
        # What both come to, the first says, whoever is sooner.
        ("sleep(0.5); _exit(4)", "_exit(4)", Exit.NOT_RESUMED, ""),
        ("_exit(2)", "sleep(60)", Exit.MISUSED, ""),
        ("_exit(70)", "sleep(60)", Exit.PROCESS_LOST, "process 0 of 2 was lost (status 70)"),
        (
            "sleep(60)",
            "kill(getpid(), 9)",
            Exit.PROCESS_LOST,
            "process 1 of 2 was lost (status -9)",
        ),
    ],
)
def test_one_of_the_processes_speaks_for_all(
    first: str,
    second: str,
    status: Exit,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def instead(options: Options) -> list[str]:
        code = second if options.process_id else first
        return [sys.executable, "-S", "-c", f"from os import *; from time import *; {code}"]

    monkeypatch.setattr(processes, "command", instead)
    assert processes.run(Options(processes=2)) == status
    err = capsys.readouterr().err
    assert err.count("\n") == bool(told)
    assert told in err
