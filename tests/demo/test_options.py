"""The command line: every wrong one ends with one clear line, the help explains every option."""

import sys
from pathlib import Path

import pytest

from adamx.__main__ import main
from adamx.demo.options import Options, UsageError, parse, parser
from adamx.demo.recipes import CHOICES

WRONG = {
    "--optimizer sgd": "--optimizer must be one of adam, adamw,",
    "--learning-rate -1": "--learning-rate must be a positive number",
    "--learning-rate=-1e-3": "--learning-rate must be a positive number",
    # From Python 3.14 on argparse knows that this is a number, and not another option.
    "--learning-rate -1e-3": "--learning-rate must be ",
    "--learning-rate 0": "--learning-rate must be a positive number",
    "--learning-rate nan": "--learning-rate must be a positive number",
    "--learning-rate inf": "--learning-rate must be a positive number",
    "--learning-rate fast": "--learning-rate must be a positive number",
    "--steps 0": "--steps must be a whole number, at least 1; got '0'",
    "--steps 1.5": "--steps must be a whole number, at least 1; got '1.5'",
    "--steps": "--steps must be followed by a value",
    "--batch 0": "--batch must be a whole number, at least 1; got '0'",
    "--batch 7186": "--batch must be at most 7185, the number of training images; got 7186",
    "--devices 0": "--devices must be a whole number, from 1 to 1024; got '0'",
    "--devices 9": "--devices must be at most 8, the number of devices here; got 9",
    "--devices 3": "--batch must be a multiple of the 3 devices that share it; got 128",
    "--devices 3 --processes 2": "--devices must be a multiple of --processes 2; got 3",
    "--processes 0": "--processes must be a whole number, from 1 to 1024; got '0'",
    "--process-id 0": "--coordinator and --process-id must be given together",
    "--coordinator localhost:1": "--coordinator and --process-id must be given together",
    "--coordinator localhost:1 --process-id 1": "--process-id must be below --processes 1; got 1",
    "--checkpoint-every 0": "--checkpoint-every must be a whole number, at least 1; got '0'",
    "--resume": "--resume needs the --checkpoint-every of the run that is to go on",
    "--seed -1": "--seed must be a whole number, from 0 to 4294967295; got '-1'",
    "--state-format half": "--state-format must be one of float32, bfloat16, pair; got 'half'",
    "--param-format bfloat16+7": "--param-format must be one of float32, bfloat16, bfloat16+8,",
    "--state-format pair --optimizer yogi": "does not fit --optimizer yogi, which takes float32",
    "--opt adam": "unrecognized arguments: --opt adam",
    "digits": "unrecognized arguments: digits",
}


def fails_with_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m adamx: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param(
            *pair, id=pair[0], marks=[pytest.mark.eight_devices] if "--devices" in pair[0] else []
        )
        for pair in WRONG.items()
    ],
)
def test_wrong_options(
    command: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = fails_with_one_line(command.split(), capsys)
    assert message in line
    assert line.endswith("see python -m adamx --help\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_output_that_cannot_be_written(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    line = fails_with_one_line(["--output", str(tmp_path / folder)], capsys)
    assert f"--output must be a folder that can be written; got '{tmp_path / folder}'" in line


def test_missing_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "rich", None)
    line = fails_with_one_line([], capsys)
    assert "needs scikit-learn, rich, not installed" in line
    assert "pip install 'adamx[demo]'" in line


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for action in parser()._actions:
        assert all(option in text for option in action.option_strings)
        assert action.help
        assert action.dest == "help" or "default: " in action.help
    for name, choice in CHOICES.items():
        assert f"{name} " in text
        assert f"{choice.learning_rate:g}" in text


def test_defaults() -> None:
    assert parse([]) == Options()


@pytest.mark.parametrize("name", CHOICES)
def test_learning_rate_follows_the_optimizer(name: str) -> None:
    assert parse(["--optimizer", name]).learning_rate == CHOICES[name].learning_rate
    chosen = parse(["--learning-rate", "0.5", "--optimizer", name])
    assert chosen.learning_rate == 0.5


def test_errors_are_exceptions_before_they_are_messages() -> None:
    with pytest.raises(UsageError, match="--steps must be"):
        parse(["--steps", "many"])
