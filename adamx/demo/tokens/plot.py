"""`tokens.png`: the loss of each mode, and how far it is from that of dense."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adamx.demo import files
from adamx.demo.plot import smooth
from adamx.demo.tokens.result import Result

FILE = "tokens.png"
# Okabe & Ito's colours; each mode has its own dashes too, as two of the curves coincide.
_STYLES = {
    "dense": {"color": "#555555", "linewidth": 4.0, "alpha": 0.6},
    "exact": {"color": "#0072b2", "linewidth": 1.6, "linestyle": "--"},
    "lazy": {"color": "#d55e00", "linewidth": 1.6},
    "rowwise": {"color": "#009e73", "linewidth": 1.6, "linestyle": ":"},
}
# A difference of zero has no place on a logarithmic axis.
_SMALLEST = 1e-9


def draw(result: Result) -> Figure:
    """One panel, and below it the differences from `dense` if it was trained."""
    panels = 1 if result.dense is None or len(result.trained) == 1 else 2
    figure = Figure(figsize=(8.0, 3.2 + 2.8 * panels), layout="constrained")
    FigureCanvasAgg(figure)  # draws to memory, whatever display there is or is not
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle("Next-token prediction over Python's standard library")
    marker = "o" if result.options.steps <= 20 else ""
    for each in result.trained:
        style = {**_STYLES[each.mode], "marker": marker, "label": each.mode}
        timed = f"{each.mode}, {1e3 * each.step_seconds:.2g} ms a step"
        axes[0].plot(smooth(each.loss), **{**style, "label": timed})
        distance = result.distance(each)
        if panels == 2 and distance is not None:
            axes[1].plot(np.maximum(smooth(distance), _SMALLEST), **style)
    axes[0].set(title="Training loss, running average", ylabel="cross-entropy (nats)")
    if panels == 2:
        axes[1].set(
            title="Difference of the loss from that of dense, running average",
            ylabel="relative difference",
        )
        axes[1].set_yscale("log")
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    for panel in axes:
        panel.legend(loc="best")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.title.set_fontsize(11)
    return figure


def write(result: Result, folder: Path) -> Path:
    """Writes `tokens.png` and returns its path."""
    image = io.BytesIO()
    draw(result).savefig(image, dpi=130)
    return files.write(folder / FILE, image.getvalue())
