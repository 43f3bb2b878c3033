"""Breaks one line at a time and names the test that notices: `python -m tests.mistakes [WORDS]`.

Every mistake of the table whose kind or file holds one of the words, all without words, is made in
a temporary copy of the checkout; the tests that are to notice run there until one fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mistakes.table import MISTAKES, Mistake

ROOT = Path(__file__).parent.parent.parent
COPIED = ("adamx", "benchmarks", "docs", "notebooks", "tests", "conftest.py", "pyproject.toml")
PASSED, FAILED = 0, 1  # pytest's exit codes


def copy_of_the_checkout(folder: Path) -> None:
    for name in (*COPIED, "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def run_tests(folder: Path, names: list[str]) -> tuple[int, str]:
    """pytest's exit code, and the test that failed or what it printed last."""
    words = ["-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=no", *names]
    done = subprocess.run(
        [sys.executable, "-B", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed[1] if failed else done.stdout[-500:] + done.stderr[-500:]


def make(mistake: Mistake, folder: Path) -> str:
    """`noticed`, `MISSED` or what went wrong, and by which test."""
    path = folder / mistake.file
    right = path.read_text() if path.exists() else ""
    if (found := right.count(mistake.old)) != 1:
        return f"BROKEN    the snippet is found {found} times in {mistake.file}: {mistake.old}"
    path.write_text(right.replace(mistake.old, mistake.new))
    try:
        code, what = run_tests(folder, mistake.noticed_by.split())
    finally:
        path.write_text(right)
    if code == FAILED:
        return f"noticed   by {what}"
    return f"MISSED    by {mistake.noticed_by}" if code == PASSED else f"BROKEN    {what}"


def main(words: list[str]) -> int:
    chosen = [m for m in MISTAKES if not words or any(w in m.kind or w in m.file for w in words)]
    noticed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_of_the_checkout(folder)
        for mistake in chosen:
            verdict = make(mistake, folder)
            noticed += verdict.startswith("noticed")
            print(f"{mistake.kind}\n  {verdict}", flush=True)
    print(f"{noticed} of {len(chosen)} mistakes were noticed")
    return 0 if noticed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
