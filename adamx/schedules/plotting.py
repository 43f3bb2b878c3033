"""Schedules as pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.hyperparameter import Schedule, as_schedule
from adamx.schedules.shapes import step_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 2000


def _recipe(schedule: Schedule) -> str:
    """The recipe on one line."""
    return " ".join(repr(schedule).split()).replace("( ", "(").replace(", )", ")")


def _labelled(where: Where, value: object) -> dict[str, Schedule]:
    """Schedules by the text that names them in the picture."""
    if callable(value):
        schedule = as_schedule(where, value)
        return {_recipe(schedule): schedule}
    if isinstance(value, Mapping):
        return {str(label): as_schedule(where, schedule) for label, schedule in value.items()}
    if isinstance(value, Iterable):
        schedules = [as_schedule(where, schedule) for schedule in value]
        return {_recipe(schedule): schedule for schedule in schedules}
    raise where.error(TypeError, "a schedule, or a dict or list of schedules", value)


def plot_schedule(
    schedule: Callable[[Any], Any] | Mapping[str, Any] | Iterable[Any],
    steps: int,
    *,
    yscale: str = "linear",
) -> Figure:
    """Draws one or several schedules over the counts 0 to `steps`.

    Each value is drawn as a level until the next step. Of more than 2000 steps, about 2000 evenly
    spaced ones are drawn.

    Args:
      schedule: a schedule or another function of the step count; or several, as a dict from
        labels or as a list.
      steps: the last step to draw, at least 1.
      yscale: "linear", or "log" and what else matplotlib knows.

    Returns:
      A `matplotlib.figure.Figure`: a notebook shows it, `.savefig("schedule.png")` stores it.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: something that is neither a schedule nor a dict or list of them.
      ValueError: no schedule, or `steps` below 1.

    Example:
      >>> import adamx
      >>> schedule = adamx.cosine_decay_schedule(1.0, 100)
      >>> adamx.plot_schedule(schedule, 120).axes[0].get_xlabel()
      'step'
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(
            "plot_schedule needs matplotlib; install it with `pip install 'adamx[demo]'`"
        ) from None

    where = Where("plot_schedule", "schedule")
    schedules = _labelled(where, schedule)
    if not schedules:
        raise where.error(ValueError, "one schedule at least", schedule)
    last = int(fields.check_count(Where("plot_schedule", "steps"), steps, 1))
    spread = np.linspace(0, last, min(last, _MOST_POINTS) + 1)
    counts = step_count(spread.astype(np.int64))

    figure, axes = pyplot.subplots(figsize=(8.0, 4.5), layout="constrained")
    pyplot.close(figure)  # the caller holds it; pyplot would show it a second time
    for label, one in schedules.items():
        axes.plot(counts, jax.vmap(one)(counts), drawstyle="steps-post", label=label)
    axes.set(xlabel="step", ylabel="value", yscale=yscale)
    axes.grid(alpha=0.3)
    if len(schedules) == 1:
        axes.set_title(textwrap.fill(next(iter(schedules)), 90), fontsize="medium")
    else:
        axes.legend()
    return figure
