"""Every notebook runs from top to bottom, and is committed with its outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

EXECUTE = """
import sys, nbclient, nbformat
nbclient.NotebookClient(nbformat.read(sys.argv[1], 4), timeout=120).execute()
"""
NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
MARKS = {"4_many_devices": [pytest.mark.eight_devices]}


def test_there_are_notebooks():
    assert NOTEBOOKS


def case(path: Path) -> Any:
    """The first by default, the others in the full suite."""
    marks = [] if path == NOTEBOOKS[0] else [pytest.mark.full("runs a notebook")]
    return pytest.param(path, marks=[*marks, *MARKS.get(path.stem, [])], id=path.stem)


@pytest.mark.parametrize("path", [*map(case, NOTEBOOKS)])
def test_it_runs(path, tmp_path):
    # In a process of its own: the warnings of the notebook machinery are not ours.
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
