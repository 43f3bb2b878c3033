"""The demo on many devices: the numbers of one, and a run that goes on as if nothing had been."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import pytest

from adamx.__main__ import main
from adamx.demo import training
from tests.demo.support import final_arrays, same_to_rounding

pytestmark = pytest.mark.eight_devices

SHORT = ("--steps", "60", "--batch", "64")


def run(folder: Path, *options: str) -> dict[str, Any]:
    """The metrics of a run in this process."""
    assert main(["--output", str(folder), *SHORT, *options]) == 0
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of 60 steps on 8 devices with a checkpoint every 20."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, "--devices", "8", "--checkpoint-every", "20")


def test_eight_devices_give_the_numbers_of_one(whole: Any, tmp_path: Path) -> None:
    one, (_, eight) = run(tmp_path), whole
    same_to_rounding(one, eight)
    assert (one["devices"], eight["devices"]) == (1, 8)
    # Two moments and the average, cut over 8 devices but for the last bias and the counts.
    of_one, of_eight = (m["results"]["state_bytes_per_device"] for m in (one, eight))
    kept = 3 * 4 * 10 + 4 * 4
    assert of_one == one["results"]["state_bytes"]
    assert of_eight <= (of_one - 3 * 40) / 8 + kept


def interrupted(folder: Path, step: int, *options: str) -> None:
    """A run that ends, as by a power cut, in the pass after so many steps."""
    compile_ = training._compile

    class Cut(BaseException):
        pass

    def failing(tx: Any, params: Any, *rest: Any) -> Any:
        program = compile_(tx, params, *rest)

        def once(*arguments: Any) -> Any:
            counts = [
                x for x in jax.tree.leaves(arguments[1]) if x.ndim == 0 and x.dtype == "int32"
            ]
            if int(counts[0]) >= step:
                raise Cut
            return program(*arguments)

        return once

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_compile", failing)
        with pytest.raises(Cut):
            main(["--output", str(folder), *SHORT, "--checkpoint-every", "20", *options])


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(whole: Any, tmp_path: Path) -> None:
    folder, expected = whole
    interrupted(tmp_path, 40, "--devices", "8")
    assert not (tmp_path / "metrics.json").exists()
    got = run(tmp_path, "--devices", "8", "--checkpoint-every", "20", "--resume")
    assert got["curves"] == expected["curves"]
    assert got["results"] == expected["results"]
    for a, b in zip(final_arrays(tmp_path, 60), final_arrays(folder, 60), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("devices", ["1", "2"])
def test_on_other_devices_it_goes_on_from_the_same_bits(
    whole: Any, tmp_path: Path, devices: str
) -> None:
    folder, expected = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "60")
    got = run(tmp_path, "--devices", devices, "--checkpoint-every", "20", "--resume")
    same_to_rounding(got, expected, since=40)


def test_a_new_run_removes_the_checkpoints_of_the_old_one(whole: Any, tmp_path: Path) -> None:
    folder, _ = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    run(tmp_path, "--checkpoint-every", "50")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["50"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "1"], "of a run with --seed 0; got 1"),
        (["--batch", "128"], "of a run with --batch 64; got 128"),
        (["--optimizer", "lamb"], "of a run with --optimizer adamw; got lamb"),
    ],
    ids=["seed", "batch", "optimizer"],
)
def test_another_run_is_not_gone_on_with(
    whole: Any, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = whole
    argv = ["--output", str(folder), *SHORT, "--checkpoint-every", "20", "--resume", *options]
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--output", str(tmp_path), *SHORT, "--checkpoint-every", "20", "--resume"]
    assert main(argv) == 2
    assert "there is no complete checkpoint in" in capsys.readouterr().err
