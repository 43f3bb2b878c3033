"""Comparing runs on different devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint


def same_to_rounding(a: dict[str, Any], b: dict[str, Any], since: int = 0) -> None:
    """The curves of two runs whose sums are in another order from step `since` on."""
    for name in ("loss", "gradient_norm"):
        x, y = (np.array(metrics["curves"][name]) for metrics in (a, b))
        assert np.array_equal(x[:since], y[:since]), name
        np.testing.assert_allclose(x, y, rtol=1e-6, err_msg=name)
    assert a["results"]["test_accuracy"] == b["results"]["test_accuracy"]


def final_arrays(folder: Path, step: int) -> list[np.ndarray]:
    """Parameters and optimizer state of a checkpoint, as they are in its files."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    arrays_of = orbax.checkpoint.args.StandardRestore
    registry = orbax.checkpoint.handlers.DefaultCheckpointHandlerRegistry()
    registry.add("arrays", arrays_of)
    with orbax.checkpoint.CheckpointManager(
        folder.resolve() / "checkpoints", handler_registry=registry
    ) as manager:
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            manager.item_metadata(step)["arrays"],
        )
        args = orbax.checkpoint.args.Composite(arrays=arrays_of(like))
        arrays = manager.restore(step, args=args)["arrays"]
    return [np.asarray(x) for x in jax.tree.leaves((arrays["params"], arrays["state"]))]
