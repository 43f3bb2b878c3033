"""Runs of the demo in this process, and what is compared between them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamx.__main__ import main
from adamx.demo import run as demo


@contextlib.contextmanager
def small_network() -> Iterator[None]:
    """Meanwhile the demo has a hidden layer of 16 units only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "HIDDEN", (16,))
        yield


def run(folder: Path, *options: str) -> dict[str, Any]:
    """The metrics of a run in this process, which must end well."""
    assert main(["--output", str(folder), *options]) == 0
    return metrics(folder)


def metrics(folder: Path) -> dict[str, Any]:
    """The metrics that a run has left behind."""
    return json.loads((folder / "metrics.json").read_text())


def same_to_rounding(a: dict[str, Any], b: dict[str, Any], since: int = 0) -> None:
    """The curves of two runs whose sums are in another order from step `since` on."""
    for name in ("loss", "gradient_norm"):
        x, y = (np.array(metrics["curves"][name]) for metrics in (a, b))
        assert np.array_equal(x[:since], y[:since]), name
        np.testing.assert_allclose(x, y, rtol=1e-6, err_msg=name)
    assert a["results"]["test_accuracy"] == b["results"]["test_accuracy"]


def checkpoint(folder: Path, step: int) -> Path:
    """The file of the checkpoint after so many steps."""
    [path] = (folder / "checkpoints").glob(f"{step}.*.npz")
    return path


def has_checkpoint(folder: Path, step: int) -> bool:
    """Whether there is one by now."""
    return any((folder / "checkpoints").glob(f"{step}.*.npz"))


def final_arrays(folder: Path, step: int) -> dict[str, bytes]:
    """Parameters and optimizer state of a checkpoint, as they are in its file."""
    with np.load(checkpoint(folder, step)) as file:
        return {
            name: file[name].tobytes()
            for name in file.files
            if name.startswith(("params/", "state/"))
        }
