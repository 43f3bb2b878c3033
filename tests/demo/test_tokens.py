"""`python -m adamx tokens`: its parts, its options and short runs."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

import adamx
from adamx.__main__ import main
from adamx.demo.tokens import corpus, model, training
from adamx.demo.tokens.options import MODES, Options, parse, parser
from tests.selection import full

WRONG = {
    "--mode fast": "--mode must be one of all, dense, exact, lazy, rowwise; got 'fast'",
    "--vocabulary 1": "--vocabulary must be a whole number, from 2 to 1048576; got '1'",
    "--steps 0": "--steps must be a whole number, at least 1; got '0'",
    "--batch many": "--batch must be a whole number, from 1 to 1048576; got 'many'",
    "--learning-rate nan": "--learning-rate must be a positive number",
    "--seed -1": "--seed must be a whole number",
    "--state-format half": "--state-format must be one of float32, bfloat16, pair; got 'half'",
    "--state-format pair": "--state-format pair needs --mode dense or lazy; got all",
    "--param-format bfloat16 --mode exact": "needs --mode dense or lazy or rowwise; got exact",
    "--optimizer adam": "unrecognized arguments: --optimizer adam",
}


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A library of 40 files, so that reading it takes no time."""
    real = corpus._sources

    def some(folder: Path) -> list[Path]:
        return [path for path in real(folder) if path.parent == folder][:40]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_sources", some)
        yield


def run(folder: Path, *options: str) -> dict[str, Any]:
    arguments = ["--vocabulary", "3000", "--batch", "32", *options]
    assert main(["tokens", "--output", str(folder), *arguments]) == 0
    return json.loads((folder / "metrics.json").read_text())


SHORT = ("--steps", "60", "--learning-rate", "0.02", "--seed", "7")


@pytest.fixture(scope="module")
def short(
    small: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str]:
    """A run in every mode: its folder, its metrics and what it printed."""
    folder = tmp_path_factory.mktemp("short")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        return folder, run(folder, *SHORT), out.getvalue()


def test_exact_gives_the_loss_curve_of_dense(short: Any) -> None:
    _, metrics, _ = short
    curves = {mode: np.array(curve) for mode, curve in metrics["curves"].items()}
    assert list(curves) == [*MODES]
    assert curves["dense"][-20:].mean() < curves["dense"][0] - 2.0  # it learns
    far = {
        mode: np.max(np.abs(c - curves["dense"]) / curves["dense"]) for mode, c in curves.items()
    }
    assert far["exact"] < 1e-5
    assert far["lazy"] > 1e-3
    results = metrics["results"]
    assert results["exact"]["test_loss"] == pytest.approx(results["dense"]["test_loss"], rel=1e-5)
    assert results["rowwise"]["state_bytes"] < 0.8 * results["lazy"]["state_bytes"]
    assert results["exact"]["state_bytes"] < 1.1 * results["lazy"]["state_bytes"]
    for mode, config in metrics["optimizers"].items():
        assert adamx.from_config(config) == training.recipe(mode, 0.02, 60)


def test_files_and_table(short: Any) -> None:
    folder, _, out = short
    assert max(map(len, out.splitlines())) <= 100
    assert all(mode in out for mode in MODES)
    assert "a step reads at most 256 rows of the table" in out
    assert {file.name for file in folder.iterdir()} == {"metrics.json", "tokens.png"}
    height, width, _ = imread(folder / "tokens.png").shape
    assert min(height, width) > 500


@pytest.mark.full("a run of its own")
def test_same_seed_same_numbers(short: Any, tmp_path: Path) -> None:
    _, first, _ = short
    again = run(tmp_path, *SHORT, "--mode", "lazy")
    assert again["curves"]["lazy"] == first["curves"]["lazy"]
    assert again["results"]["lazy"] == first["results"]["lazy"]


@pytest.mark.full("whole runs of the program")
def test_another_seed_other_numbers(short: Any, tmp_path: Path) -> None:
    _, first, _ = short
    other = run(tmp_path, *SHORT, "--mode", "lazy", "--seed", "8")
    assert other["curves"]["lazy"] != first["curves"]["lazy"]


@pytest.mark.full("whole runs of the program")
@pytest.mark.parametrize("mode", ["lazy", "dense"])
def test_shortest_runs(mode: str, tmp_path: Path) -> None:
    metrics = run(tmp_path, "--mode", mode, "--steps", "1")
    assert metrics["curves"][mode][0] == pytest.approx(np.log(model.OUTPUTS), abs=0.5)


@pytest.mark.parametrize(("command", "message"), WRONG.items(), ids=WRONG)
def test_wrong_options(
    command: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["tokens", "--output", str(tmp_path / "new"), *command.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m adamx tokens: ")
    assert err.endswith("see python -m adamx tokens --help\n")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


FORMATS = [
    ("pair", "bfloat16", "lazy", {"params": 2.0, "mu": 2.0}),
    ("pair", "float32", "dense", {"params": 4.0, "mu": 2.0}),
    ("bfloat16", "bfloat16+8", "dense", {"params": 2.0, "rest": 1.0, "mu": 2.0, "nu": 2.0}),
    ("float32", "bfloat16+16", "lazy", {"params": 2.0, "rest": 2.0, "mu": 4.0, "nu": 4.0}),
]


@pytest.mark.parametrize(
    ("state", "params", "mode", "each"),
    full(FORMATS, "a run of its own"),
)
def test_fewer_bits(
    state: str, params: str, mode: str, each: dict[str, float], short: Any, tmp_path: Path
) -> None:
    options = ("--mode", mode, "--state-format", state, "--param-format", params)
    metrics = run(tmp_path, *SHORT, *options)
    _, float32, _ = short
    kept = metrics["results"][mode]["kept_bytes"]
    parameters = kept["params"] // int(each["params"])
    for kind, size in each.items():
        assert kept[kind] == pytest.approx(size * parameters, rel=0.01)
    # Biases of 1,152 elements in two moments of float32.
    assert sum(kept.values()) <= sum(each.values()) * parameters + 9000
    wanted = float32["results"][mode]["test_loss"]
    assert metrics["results"][mode]["test_loss"] == pytest.approx(wanted, abs=0.15)
    config = metrics["optimizers"][mode]
    assert adamx.from_config(config) == training.recipe(mode, 0.02, 60, state, params)


def test_divergence_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(mode: str, *_: Any) -> training.Trained:
        tx = training.recipe(mode, 0.1, 2)
        kept = {"params": 4, "other": 1}
        return training.Trained(mode, tx, np.array([2.0, np.inf], np.float32), 1.0, 1.0, 1, kept)

    monkeypatch.setattr(training, "train", explode)
    assert main(["tokens", "--output", str(tmp_path), "--mode", "lazy", "--steps", "2"]) == 1
    assert "the loss of lazy was not finite at step 1; try" in capsys.readouterr().err


def test_without_sources_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "_sources", lambda folder: [])
    assert main(["tokens", "--output", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "found no source files of the standard library in" in err
    assert err.count("\n") == 1


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["tokens", "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for action in parser()._actions:
        assert all(option in text for option in action.option_strings)
        assert action.dest == "help" or "default: " in action.help
    assert all(f"\n  {mode} " in text for mode in MODES)


def test_defaults() -> None:
    assert parse([]) == Options()
    assert Options().modes == MODES
    assert parse(["--mode", "exact"]).modes == ("exact",)


def test_the_most_frequent_tokens_come_first() -> None:
    read = corpus.load(500)
    counts = np.bincount(read.train)
    assert len(counts) == read.vocabulary == 500
    assert np.all(np.diff(counts[1:]) <= 0)
    assert read.test.max() < 500
    assert read.files == 40


def test_windows_end_before_the_place() -> None:
    contexts, targets = model.windows(jnp.arange(100), jnp.array([model.CONTEXT, 50]))
    assert list(contexts[1]) == list(range(50 - model.CONTEXT, 50))
    assert list(contexts[0]) == list(range(model.CONTEXT))
    assert list(targets) == [model.CONTEXT, 50]
