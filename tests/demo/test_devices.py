"""The demo on many devices: the numbers of one, and a run that goes on as if nothing had been."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from adamx.__main__ import main
from adamx.demo import training
from tests.demo import support
from tests.demo.support import final_arrays, same_to_rounding
from tests.selection import one_in

pytestmark = pytest.mark.eight_devices

SHORT = ("--steps", "12", "--batch", "64")
EVERY = ("--checkpoint-every", "4")


def run(folder: Path, *options: str) -> dict[str, Any]:
    return support.run(folder, *SHORT, *options)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with support.small_network():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of 12 steps on 8 devices with a checkpoint every 4."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, "--devices", "8", *EVERY)


def test_eight_devices_give_the_numbers_of_one(whole: Any, tmp_path: Path) -> None:
    one, (_, eight) = run(tmp_path), whole
    same_to_rounding(one, eight)
    assert (one["devices"], eight["devices"]) == (1, 8)
    # Two moments and the average, sharded over 8 devices but for the last bias and the counts.
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
            main(["--output", str(folder), *SHORT, *EVERY, *options])


@pytest.mark.full("test_smoke.py has a shorter one")
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(whole: Any, tmp_path: Path) -> None:
    folder, expected = whole
    interrupted(tmp_path, 8, "--devices", "8")
    assert not (tmp_path / "metrics.json").exists()
    got = run(tmp_path, "--devices", "8", *EVERY, "--resume")
    assert got["curves"] == expected["curves"]
    assert got["results"] == expected["results"]
    assert final_arrays(tmp_path, 12) == final_arrays(folder, 12)


@pytest.mark.parametrize("devices", one_in(2, ["1", "2"], "one case more"))
def test_on_other_devices_it_goes_on_from_the_same_bits(
    whole: Any, tmp_path: Path, devices: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, expected = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    last = support.checkpoint(tmp_path, 12)
    last.write_bytes(last.read_bytes()[:-1])
    got = run(tmp_path, "--devices", devices, *EVERY, "--resume")
    same_to_rounding(got, expected, since=8)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"passed over the damaged checkpoint '{last}'" in err


@pytest.mark.full("whole runs of the program")
def test_a_new_run_removes_the_checkpoints_of_the_old_one(whole: Any, tmp_path: Path) -> None:
    folder, _ = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    run(tmp_path, "--checkpoint-every", "7")
    assert [*(tmp_path / "checkpoints").iterdir()] == [support.checkpoint(tmp_path, 7)]


def test_without_a_whole_checkpoint_there_is_a_status_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path), *SHORT, *EVERY, "--resume"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "there is no checkpoint in" in err
