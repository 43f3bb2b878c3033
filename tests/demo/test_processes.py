"""The demo in two real processes on the loopback: same numbers, and an end in bounded time."""

from __future__ import annotations

import json
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

from adamx.demo.options import Options, parse
from adamx.demo.processes import LOST, command
from tests.demo.support import final_arrays, same_to_rounding

SECONDS = 120


def program(folder: Path, *options: str) -> list[str]:
    words = ["--steps", "40", "--batch", "64", "--output", str(folder), *options]
    return [sys.executable, "-W", "error", "-m", "adamx", *words]


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


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


@pytest.mark.full("starts processes")
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


@pytest.mark.full("starts processes")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_in_the_middle_and_resumed_it_is_the_same_run_bit_for_bit(
    two: Any, tmp_path: Path
) -> None:
    """kill -9 of everything at once; what two processes did undisturbed is the oracle."""
    with running(program(tmp_path, *TWO)) as parent:
        wait_for((tmp_path / "checkpoints" / "20").exists)
        for pid in [*children(parent.pid), parent.pid]:
            os.kill(pid, signal.SIGKILL)
    assert not (tmp_path / "metrics.json").exists()
    subprocess.run(program(tmp_path, *TWO, "--resume"), check=True, capture_output=True)
    folder, whole, _ = two
    killed = metrics(tmp_path)
    assert killed["curves"] == whole["curves"]
    assert killed["results"] == whole["results"]
    last = len(whole["curves"]["loss"])
    for a, b in zip(final_arrays(tmp_path, last), final_arrays(folder, last), strict=True):
        assert a.tobytes() == b.tobytes()


LONG = ("--steps", "100000", "--devices", "2", "--processes", "2")


@pytest.mark.full("starts processes")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killing_one_process_ends_all(tmp_path: Path) -> None:
    with running(program(tmp_path, *LONG, "--checkpoint-every", "5")) as parent:
        wait_for((tmp_path / "checkpoints" / "10").exists)
        both = children(parent.pid)
        assert len(both) == 2
        os.kill(both[0], signal.SIGKILL)
        started = time.monotonic()
        _, err = parent.communicate(timeout=SECONDS)
        assert parent.returncode == LOST
        assert "was lost" in err
        assert "go on with --resume" in err
        assert time.monotonic() - started < 30
        for pid in both:
            assert not Path(f"/proc/{pid}").exists()


@pytest.mark.full("starts processes")
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
        wait_for((tmp_path / "checkpoints" / "5").exists)
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
