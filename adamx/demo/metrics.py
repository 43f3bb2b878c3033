"""`metrics.json`: everything needed to compare a run, or to repeat it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import adamx
from adamx.demo import files
from adamx.demo.result import Result

FILE = "metrics.json"
_PACKAGES = ("jax", "jaxlib", "numpy", "scikit-learn")


def numbers(curve: Iterable[float]) -> list[float | None]:
    """Exact float32 numbers; JSON has none that are not finite, so those become null."""
    return [float(x) if np.isfinite(x) else None for x in curve]


def collect(result: Result) -> dict[str, Any]:
    """The run as plain JSON values; all but `timing` depends on the options and versions only."""
    options = result.options
    return {
        "options": {
            "optimizer": options.optimizer,
            "learning_rate": options.learning_rate,
            "steps": options.steps,
            "batch": options.batch,
            "state_format": options.state_format,
            "param_format": options.param_format,
        },
        "seed": options.seed,
        "optimizer": adamx.get_config(result.recipe.tx),
        "results": {
            "test_accuracy": result.accuracy,
            "test_accuracy_averaged": result.averaged_accuracy,
            "final_loss": numbers(result.loss)[-1],
            "parameters": result.parameters,
            "parameter_bytes": result.parameter_bytes,
            "state_bytes": result.state_bytes,
            "kept_bytes": result.kept,
            "state_bytes_per_device": result.state_bytes_per_device,
        },
        "timing": {
            "compile_seconds": result.compile_seconds,
            "train_seconds": result.train_seconds,
            "steps_per_second": result.steps_per_second,
        },
        "device": result.device,
        "devices": result.devices,
        "processes": options.processes,
        "versions": versions(*_PACKAGES),
        "curves": {
            "loss": numbers(result.loss),
            "learning_rate": numbers(result.learning_rate),
            "gradient_norm": numbers(result.gradient_norm),
        },
    }


def versions(*packages: str) -> dict[str, str]:
    """Of Python, adamx and other packages."""
    return {
        "python": platform.python_version(),
        "adamx": adamx.__version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }


def write_json(metrics: dict[str, Any], folder: Path) -> Path:
    """Writes `metrics.json`, one entry per line, and returns its path."""
    lines = ",\n".join(
        f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}"
        for key, value in metrics.items()
    )
    return files.write(folder / FILE, f"{{\n{lines}\n}}\n".encode())


def write(result: Result, folder: Path) -> Path:
    """Writes the metrics of a run and returns their path."""
    return write_json(collect(result), folder)
