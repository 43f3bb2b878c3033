"""`training.png`: loss, learning rate and gradient norm, step by step."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamx.demo import files
from adamx.demo.recipes import MAX_NORM
from adamx.demo.result import Result

FILE = "training.png"
_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#555555"
_SMOOTHING = 0.9
_FEW_STEPS = 20


def smooth(curve: np.ndarray) -> np.ndarray:
    """A running average that gives the latest step 1 - 0.9, corrected for its start."""
    result = np.empty_like(curve)
    total = weight = 0.0
    for i, x in enumerate(curve):
        total = _SMOOTHING * total + (1.0 - _SMOOTHING) * float(x)
        weight = _SMOOTHING * weight + (1.0 - _SMOOTHING)
        result[i] = total / weight
    return result


def _raw_and_smooth(axes: Axes, curve: np.ndarray, color: str) -> None:
    """The curve in a pale tone and its running average over it, on a logarithmic axis."""
    marker = "o" if len(curve) <= _FEW_STEPS else ""
    axes.plot(curve, color=color, alpha=0.3, linewidth=0.8, marker=marker, label="each step")
    axes.plot(smooth(curve), color=color, linewidth=1.8, label="running average")
    if np.any(np.isfinite(curve) & (curve > 0.0)):
        axes.set_yscale("log")


def draw(result: Result) -> Figure:
    """Three panels above each other that share the axis of the steps."""
    figure = Figure(figsize=(8.0, 8.5), layout="constrained")
    FigureCanvasAgg(figure)  # draws to memory, whatever display there is or is not
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    figure.suptitle(
        f"{result.options.optimizer} on handwritten digits\n"
        f"test accuracy: {100 * result.accuracy:.1f} % with the trained parameters, "
        f"{100 * result.averaged_accuracy:.1f} % with their average ({result.average})"
    )
    _raw_and_smooth(top, result.loss, _BLUE)
    top.set(title="Training loss", ylabel="cross-entropy (nats)")
    top.legend(loc="upper right")

    middle.plot(
        result.learning_rate,
        color=_GREEN,
        linewidth=1.8,
        marker="o" if len(result.learning_rate) <= _FEW_STEPS else "",
    )
    middle.set(title="Learning rate", ylabel="learning rate")
    middle.set_ylim(bottom=0.0)

    _raw_and_smooth(bottom, result.gradient_norm, _ORANGE)
    clipped = 100 * np.mean(result.gradient_norm > MAX_NORM)
    bottom.axhline(
        MAX_NORM,
        color=_GREY,
        linestyle="--",
        linewidth=1.2,
        label=f"clipped above {MAX_NORM:g} ({clipped:.0f} % of the steps)",
    )
    bottom.set(title="Gradient norm before clipping", ylabel="Euclidean norm", xlabel="step")
    bottom.legend(loc="lower left")
    bottom.set_xlim(-0.5, len(result.loss) - 0.5)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (top, middle, bottom):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(11)
    return figure


def write(result: Result, folder: Path) -> Path:
    """Writes `training.png` and returns its path."""
    image = io.BytesIO()
    draw(result).savefig(image, dpi=130)
    return files.write(folder / FILE, image.getvalue())
