"""Schedules as pictures."""

import sys

import numpy as np
import pytest

import adamx

pytest.importorskip("matplotlib", reason="draws with matplotlib")
from matplotlib import pyplot
from matplotlib.figure import Figure

COSINE = adamx.cosine_decay_schedule(1.0, 100)
STEPS = adamx.piecewise_constant_schedule(1.0, {50: 0.1})


def test_one_schedule_is_the_title() -> None:
    figure = adamx.plot_schedule(COSINE, 120)
    (axes,) = figure.axes
    assert isinstance(figure, Figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "value")
    assert axes.get_title().replace("\n", " ") == repr(COSINE)
    assert axes.get_legend() is None
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(121))
    np.testing.assert_array_equal(line.get_ydata(), COSINE(np.arange(121)))


def test_a_long_recipe_is_wrapped() -> None:
    cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 40}
    schedule = adamx.sgdr_schedule([cycle, cycle])
    title = adamx.plot_schedule(schedule, 80).axes[0].get_title()
    assert eval(title.replace("\n", " "), dict(vars(adamx))) == schedule
    assert max(map(len, title.splitlines())) <= 90


def test_several_schedules_have_a_legend() -> None:
    named = adamx.plot_schedule({"cosine": COSINE, "steps": STEPS}, 120, yscale="log")
    listed = adamx.plot_schedule([COSINE, STEPS], 120)
    for figure, expected in ((named, ["cosine", "steps"]), (listed, [repr(COSINE), repr(STEPS)])):
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == expected
    assert named.axes[0].get_yscale() == "log"


def test_long_schedules_are_thinned_out() -> None:
    (line,) = adamx.plot_schedule(COSINE, 1_000_000).axes[0].lines
    steps = line.get_xdata()
    assert len(steps) == 2001
    assert (steps[0], steps[-1]) == (0, 1_000_000)


def test_any_function_can_be_drawn_and_saved(tmp_path) -> None:
    figure = adamx.plot_schedule(lambda count: 1.0 / (1.0 + count), 10)
    figure.savefig(tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").stat().st_size > 0


def test_nothing_is_left_open() -> None:
    before = pyplot.get_fignums()
    adamx.plot_schedule(COSINE, 10)
    assert pyplot.get_fignums() == before


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="`schedule` must be a schedule, or a dict or list"):
        adamx.plot_schedule(0.1, 10)
    with pytest.raises(TypeError, match="`schedule` must be a function of the step count"):
        adamx.plot_schedule([0.1], 10)
    with pytest.raises(ValueError, match="one schedule at least"):
        adamx.plot_schedule({}, 10)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        adamx.plot_schedule(COSINE, 0)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'adamx\[demo\]'"):
        adamx.plot_schedule(COSINE, 10)
