"""Comparing runs on different devices."""

from __future__ import annotations

from typing import Any

import numpy as np


def same_to_rounding(a: dict[str, Any], b: dict[str, Any], since: int = 0) -> None:
    """The curves of two runs whose sums are in another order from step `since` on.

    An image may bring a ReLU to zero within rounding, so that it is on in one run and off in the
    other; from there on they differ by one image's share of a gradient.
    """
    for name in ("loss", "gradient_norm"):
        x, y = (np.array(metrics["curves"][name]) for metrics in (a, b))
        assert np.array_equal(x[:since], y[:since]), name
        assert np.allclose(x[: since + 10], y[: since + 10], rtol=1e-6), name
        assert np.allclose(x, y, rtol=1e-2), name
    assert abs(a["results"]["test_accuracy"] - b["results"]["test_accuracy"]) < 0.006
