"""`python -m adamx` as a program of its own."""

import subprocess
import sys
from pathlib import Path


def python(*arguments: str, **options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, **options
    )


def test_a_short_run_prints_no_warning_and_no_progress(tmp_path: Path) -> None:
    done = python("-m", "adamx", "--steps", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs" / "digits" / "training.png").exists()
    assert max(map(len, done.stdout.splitlines())) <= 100


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
