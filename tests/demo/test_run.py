"""Whole runs: what they print, write and reach."""

import contextlib
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

import adamx
from adamx.__main__ import main
from adamx.demo import report, training
from adamx.demo import run as demo
from adamx.demo.formats import STATE_FORMATS
from adamx.demo.recipes import CHOICES, recipe
from tests.demo import support
from tests.demo.support import run
from tests.selection import full

HIDDEN = demo.HIDDEN


LITTLE = ("--steps", "3", "--batch", "16", "--learning-rate", "0.25")


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with support.small_network():
        yield


@pytest.mark.full("whole runs of the program")
def test_default_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "HIDDEN", HIDDEN)
    results = run(tmp_path)["results"]
    assert results["test_accuracy"] >= 0.97
    assert results["test_accuracy_averaged"] >= 0.97
    out, err = capsys.readouterr()
    assert f"{100 * results['test_accuracy']:.1f} %" in out
    assert err == ""


@pytest.mark.full("whole runs of the program")
@pytest.mark.parametrize("name", CHOICES)
def test_every_optimizer_learns_in_four_passes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "HIDDEN", HIDDEN)
    metrics = run(tmp_path, "--optimizer", name, "--steps", "224")
    assert metrics["results"]["test_accuracy"] >= 0.95
    assert metrics["results"]["test_accuracy_averaged"] >= 0.95


@pytest.mark.parametrize("name", CHOICES)
def test_every_recipe_is_rebuilt_from_its_configuration(name: str) -> None:
    tx = recipe(name, 0.02, 224).tx
    assert adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))) == tx


@pytest.fixture(scope="module")
def little(
    small: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str, str]:
    """A run of three steps: its folder, its metrics and what it printed."""
    folder = tmp_path_factory.mktemp("little") / "new" / "folder"
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        metrics = run(folder, *LITTLE)
    return folder, metrics, out.getvalue(), err.getvalue()


@pytest.mark.full("test_smoke.py sees the same of a resumed run")
def test_same_seed_same_numbers(little: Any, tmp_path: Path) -> None:
    _, first, *_ = little
    again, other = (run(tmp_path / seed, *LITTLE, "--seed", seed) for seed in ("0", "8"))
    assert {**again, "timing": None} == {**first, "timing": None}
    assert first["curves"]["loss"] != other["curves"]["loss"]


def test_files_and_table(little: Any) -> None:
    folder, metrics, out, err = little
    assert err == ""  # no terminal, no progress bar

    assert {file.name for file in folder.iterdir()} == {"metrics.json", "training.png"}
    height, width, _ = imread(folder / "training.png").shape
    assert min(height, width) > 500

    tx = recipe("adamw", 0.25, 3).tx
    assert adamx.from_config(metrics["optimizer"]) == tx
    assert repr(tx) in out
    assert metrics["seed"] == 0
    assert metrics["options"]["batch"] == 16
    assert metrics["versions"]["adamx"] == adamx.__version__
    assert {name: len(curve) for name, curve in metrics["curves"].items()} == {
        "loss": 3,
        "learning_rate": 3,
        "gradient_norm": 3,
    }
    results = metrics["results"]
    assert results["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert results["parameter_bytes"] == 4 * results["parameters"]
    # Two moments and the average, and the counts.
    assert 3 * results["parameter_bytes"] < results["state_bytes"] < 3.01 * 4 * 1210
    for shown in ("test accuracy", "EMA", "steps/s", "compile time", "1,210", "training.png"):
        assert shown in out


@pytest.mark.parametrize("name", CHOICES)
def test_every_optimizer_is_offered_the_formats_that_it_takes(name: str) -> None:
    for state in STATE_FORMATS:
        fits = True
        try:
            recipe(name, 0.02, 224, state)
        except (TypeError, ValueError):
            fits = False
        assert (state in CHOICES[name].state_formats) == fits


# Bytes of one parameter in each of the formats: of itself with its rest, and of its moments.
PARAMS = {"float32": 4, "bfloat16": 2, "bfloat16+8": 3, "bfloat16+16": 4, "bfloat16+32": 6}
MOMENTS = {"float32": 8, "bfloat16": 4, "pair": 2}
FEW = [("pair", "bfloat16")]
OTHERS = [both for both in itertools.product(MOMENTS, PARAMS) if both not in FEW]


@pytest.mark.parametrize(("state", "params"), [*FEW, *full(OTHERS, "cases")])
def test_fewer_bits(
    state: str,
    params: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "HIDDEN", HIDDEN)
    metrics = run(tmp_path, "--steps", "224", "--state-format", state, "--param-format", params)
    results, kept = metrics["results"], metrics["results"]["kept_bytes"]
    own = kept["params"] + kept.get("rest", 0)
    assert own == PARAMS[params] * results["parameters"]
    moments = (kept["mu"] + kept["nu"]) / results["parameters"]
    # The last matrix and the biases are small leaves.
    assert moments == pytest.approx(MOMENTS[state], abs=0.22 if state == "pair" else 0)
    assert results["test_accuracy"] >= 0.95
    assert results["test_accuracy_averaged"] >= 0.95
    assert f"params {4 if params == 'float32' else 2}," in capsys.readouterr().out
    tx = recipe("adamw", 0.005, 224, state, params).tx
    assert adamx.from_config(metrics["optimizer"]) == tx


def test_a_forced_colour_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with report.progress("adamw", 2) as after_pass:
        after_pass(2, 0.5)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("schedule_free_adamw", "2"),
        *full(
            [("adamw", "1"), ("adamw", "2"), ("schedule_free_adamw", "1")],
            "one case more",
        ),
    ],
)
def test_shortest_runs(name: str, steps: str, tmp_path: Path) -> None:
    metrics = run(tmp_path, "--steps", steps, "--batch", "7185", "--optimizer", name)
    assert metrics["curves"]["loss"][0] == pytest.approx(np.log(10), abs=0.7)


def test_divergence_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def explode(tx: Any, begun: training.Trained, *_: Any) -> training.Trained:
        return begun._replace(
            gradient_norm=np.ones(3, np.float32),
            train_seconds=1.0,
            loss=np.array([2.0, np.inf, np.nan], np.float32),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", explode)
        assert main(["--output", str(tmp_path), "--steps", "3"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "not finite at step 1; try a smaller --learning-rate" in line
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["curves"]["loss"] == [2.0, None, None]
