"""`python -m adamx` as a program of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import adamx
from tests.demo.support import checkpoint, final_arrays, has_checkpoint, metrics

# Also from another folder it is the adamx of this one that is run.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(adamx.__file__).parents[1])}


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        **options,
    )


SHORT = ("-m", "adamx", "--steps", "2", "--checkpoint-every", "1")


@pytest.mark.full("whole runs of the program")
def test_a_short_run_prints_no_warning_and_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    done = python(*SHORT, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "runs" / "digits"
    assert (folder / "training.png").exists()
    assert max(map(len, done.stdout.splitlines())) <= 100
    curves = metrics(folder)["curves"]

    last = checkpoint(folder, 2)
    contents = bytearray(last.read_bytes())
    contents[len(contents) // 2] ^= 1
    last.write_bytes(contents)
    done = python(*SHORT, "--resume", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert f"passed over the damaged checkpoint '{last.relative_to(tmp_path)}'" in done.stderr
    assert metrics(folder)["curves"] == curves


@pytest.mark.full("whole runs of the program")
def test_a_disk_that_is_full_indeed(tmp_path: Path) -> None:
    # No file may be longer than half a megabyte, and a checkpoint is.
    limited = ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", sys.executable, *SHORT]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "python -m adamx: could not write the checkpoint after step 1 to 'runs/digits/checkpoints' "
        "(File too large); once that can be, go on with --resume\n"
    )
    assert not [*(tmp_path / "runs" / "digits" / "checkpoints").iterdir()]


@pytest.mark.full("whole runs of the program")
def test_a_report_that_nobody_can_read(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *SHORT],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
    line = "python -m adamx: could not read or write (No space left on device)\n"
    assert (done.returncode, done.stderr) == (5, line)


@pytest.mark.full("whole runs of the program")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_and_what_it_leaves(number: signal.Signals, tmp_path: Path) -> None:
    long = [sys.executable, "-m", "adamx", "--steps", "2240", "--checkpoint-every", "56"]
    folder = tmp_path / "runs" / "digits"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(long, cwd=tmp_path, text=True, env=ENVIRONMENT, **pipes) as process:
        while not has_checkpoint(folder, 112):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    how = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
    status, word = how.get(number, (-signal.SIGKILL, ""))
    assert process.returncode == status
    assert err == (f"python -m adamx: {word} before the end of the run\n" if word else "")
    # Whole ones only: the resumed run passes none over.
    done = python(*long[1:], "--resume", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    kept = {checkpoint(folder, step) for step in (2184, 2240)}
    assert {*(folder / "checkpoints").iterdir()} == kept


@pytest.mark.parametrize(
    ("state", "params"),
    [
        ("pair", "bfloat16"),
        ("float32", "float32"),
        ("bfloat16", "bfloat16+8"),
        ("pair", "bfloat16+16"),
        ("bfloat16", "bfloat16+32"),
    ],
)
@pytest.mark.full("whole runs of the program")
def test_in_every_format_a_killed_run_goes_on_bit_for_bit(
    state: str, params: str, tmp_path: Path
) -> None:
    words = ["-m", "adamx", "--steps", "560", "--checkpoint-every", "56"]
    words += ["--state-format", state, "--param-format", params, "--output"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert python(*words, str(whole)).returncode == 0
    with subprocess.Popen([sys.executable, *words, str(killed)], env=ENVIRONMENT) as process:
        while not has_checkpoint(killed, 112):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (killed / "metrics.json").exists()
    if state != "float32":
        refused = python(*words, str(killed), "--resume", "--state-format", "float32")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert f"is of a run with --state-format {state}; got float32" in refused.stderr
    done = python(*words, str(killed), "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert metrics(killed)["curves"] == metrics(whole)["curves"]
    assert metrics(killed)["results"] == metrics(whole)["results"]
    assert final_arrays(killed, 560) == final_arrays(whole, 560)


@pytest.mark.full("whole runs of the program")
def test_a_wrong_option_ends_with_status_2() -> None:
    done = python("-m", "adamx", "--steps", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_importing_adamx_or_parsing_options_needs_no_extra() -> None:
    check = (
        "import sys, adamx, adamx.__main__;"
        "sys.exit(bool({'sklearn', 'matplotlib', 'rich'} & set(sys.modules)))"
    )
    assert python("-c", check).returncode == 0
