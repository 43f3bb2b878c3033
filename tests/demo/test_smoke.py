"""The shortest run of every kind; what longer ones reach is for `pytest --full`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adamx.__main__ import main
from tests.demo.test_devices import interrupted, run

# Two programs, of two steps and of one: three steps to a pass, a checkpoint after every second.
FEW = ("--steps", "6", "--batch", "2048", "--devices", "2", "--checkpoint-every", "2")


def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(tmp_path / "whole", *FEW)
    interrupted(tmp_path / "cut", 4, *FEW)
    resumed = ("--output", str(tmp_path / "cut"), *FEW, "--resume")
    assert main([*resumed, "--seed", "1"]) == 2
    assert "of a run with --seed 0; got 1" in capsys.readouterr().err
    assert main([*resumed]) == 0
    got = json.loads((tmp_path / "cut" / "metrics.json").read_text())
    assert got["curves"] == whole["curves"]
    assert got["results"] == whole["results"]


@pytest.mark.full("three processes that start JAX")
def test_two_processes_train(tmp_path: Path) -> None:
    words = ["--steps", "2", "--devices", "2", "--processes", "2", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "adamx", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["processes"] == 2
