"""`metrics.json`: everything needed to compare a run, or to repeat it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import adamx
from adamx.demo.metrics import numbers, versions, write_json
from adamx.demo.tokens.result import Result


def collect(result: Result) -> dict[str, Any]:
    """The run as plain JSON values; all but `timing` depends on what went in only."""
    options = dataclasses.asdict(result.options)
    del options["output"]
    corpus = result.corpus
    return {
        "options": options,
        "optimizers": {each.mode: adamx.get_config(each.tx) for each in result.trained},
        "tokens": {
            "files": corpus.files,
            "train": len(corpus.train),
            "test": len(corpus.test),
            "vocabulary": corpus.vocabulary,
        },
        "results": {
            each.mode: {
                "final_loss": numbers(each.loss)[-1],
                "test_loss": numbers([each.test_loss])[0],
                "state_bytes": each.state_bytes,
                "kept_bytes": each.kept,
            }
            for each in result.trained
        },
        "timing": {each.mode: {"step_seconds": each.step_seconds} for each in result.trained},
        "device": result.device,
        "versions": versions("jax", "jaxlib", "numpy"),
        "curves": {each.mode: numbers(each.loss) for each in result.trained},
    }


def write(result: Result, folder: Path) -> Path:
    """Writes the metrics of a run and returns their path."""
    return write_json(collect(result), folder)
