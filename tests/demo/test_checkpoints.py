"""Whatever is done to the files of a checkpoint, a whole one is taken, or one line says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.demo import training
from adamx.demo.checkpoints import Checkpoints
from adamx.demo.devices import placement
from adamx.demo.exits import FileError, ResumeError, UsageError
from adamx.demo.options import Options
from tests.demo.support import checkpoint as file

SAVED = (10, 20, 30)
KEPT = (20, 30)
DAMAGED = "python -m adamx: passed over the damaged checkpoint"


def reached(step: int) -> training.Trained:
    """A run after some steps; its numbers say after how many."""
    tx = adamx.chain(adamx.adamw(0.1), adamx.ema_params(0.9))
    params = {"w": jnp.full(5, 1.0 + step), "b": jnp.float32(step)}
    curve = np.arange(step, dtype=np.float32)
    return training.Trained(params, tx.init(params), curve, 2 * curve, 0.5, 0.1 * step)


def checkpoints(folder: Path, **changed: Any) -> Checkpoints:
    options = Options(output=folder, checkpoint_every=10, **changed)
    return Checkpoints(options, 10, placement(options))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has saved three times."""
    folder = tmp_path_factory.mktemp("saved")
    made = checkpoints(folder)
    made.clear()
    for step in SAVED:
        made.save(reached(step))
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return tmp_path


def is_exactly(got: training.Trained, step: int) -> bool:
    wanted = reached(step)
    same = jax.tree.map(
        lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), got, wanted
    )
    return jax.tree.all(same) and got.step == step


def flip(where: float, bit: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        contents = bytearray(path.read_bytes())
        contents[int(where * len(contents))] ^= 1 << bit
        path.write_bytes(contents)

    return damage


def truncate(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return damage


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_another_step(path: Path) -> None:
    """A whole file in the wrong place."""
    shutil.copy(file(path.parent.parent, 20), path)


def to_a_foreign_file(path: Path) -> None:
    np.savez(path, w=np.zeros(3))


def damages() -> Iterator[Any]:
    draw = np.random.default_rng(0)
    for where in draw.random(80):
        yield pytest.param(flip(where, int(draw.integers(8))), id=f"bit at {where:.3f}")
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        yield pytest.param(truncate(share), id=f"truncated to {share}")
    yield pytest.param(Path.unlink, id="deleted")
    yield from (to_folder, to_another_step, to_a_foreign_file)


@pytest.mark.parametrize("damage", [*damages()])
def test_one_damaged_checkpoint(
    damage: Callable[[Path], None], copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = file(copy, 30)
    damage(last)
    assert is_exactly(checkpoints(copy).restore(reached(0)), 20)
    line = capsys.readouterr().err
    if last.exists():
        assert line.count("\n") == 1
        assert line.startswith(f"{DAMAGED} '{last}' (")
        assert line.endswith("); going on after step 20\n")
    else:
        assert line == ""


@pytest.mark.parametrize(
    "damage", [truncate(0.0), truncate(0.5), flip(0.5, 0), to_folder, to_a_foreign_file]
)
def test_without_a_whole_one_each_is_named(damage: Callable[[Path], None], copy: Path) -> None:
    truncate(0.7)(file(copy, 20))
    damage(file(copy, 30))
    with pytest.raises(ResumeError, match=r"is whole: 30\..*\(.+\), 20\..* \(.+\); leave"):
        checkpoints(copy).restore(reached(0))


def test_the_last_two_are_kept(saved: Path) -> None:
    names = {path.name for path in (saved / "checkpoints").iterdir()}
    assert names == {file(saved, step).name for step in KEPT}
    assert is_exactly(checkpoints(saved).restore(reached(0)), 30)


def test_a_damaged_one_is_written_anew(copy: Path) -> None:
    damaged = file(copy, 30)
    truncate(0.5)(damaged)
    # Also one that is later than all that this run will write.
    shutil.copy(damaged, damaged.with_name("40.0123456789abcdef.npz"))
    made = checkpoints(copy)
    made.save(reached(made.restore(reached(0)).step + 10))
    assert is_exactly(checkpoints(copy).restore(reached(0)), 30)
    assert {*(copy / "checkpoints").iterdir()} == {file(copy, 20), file(copy, 30)}


def test_what_a_killed_run_left_unfinished_is_no_checkpoint(copy: Path) -> None:
    place = copy / "checkpoints"
    left = [place / "unfinished.npz", place / ".unfinished.npz.0123456789abcdef"]
    for path in left:
        path.write_bytes(b"half")
    made = checkpoints(copy)
    assert made.restore(reached(0)).step == 30
    made.save(reached(40))
    assert not any(path.exists() for path in left)


def test_a_checkpoint_that_cannot_be_written_leaves_those_before(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(FileError, match=r"the checkpoint after step 40 to '.+' \(No space"):
            checkpoints(copy).save(reached(40))
    assert len([*(copy / "checkpoints").iterdir()]) == 2
    assert is_exactly(checkpoints(copy).restore(reached(0)), 30)


def test_arrays_of_another_version_are_no_damage(copy: Path) -> None:
    begun = reached(0)._replace(state=())
    with pytest.raises(ResumeError, match=r"30\..*\.npz' holds other arrays than this version"):
        checkpoints(copy).restore(begun)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "of a run with --seed 0; got 1; leave --resume out"),
        ({"batch": 64}, "of a run with --batch 128; got 64"),
        ({"optimizer": "lamb"}, "of a run with --optimizer adamw; got lamb"),
        ({"learning_rate": 0.5}, "of a run with --learning-rate 0.005; got 0.5"),
        ({"state_format": "pair"}, "of a run with --state-format float32; got pair; leave"),
        ({"param_format": "bfloat16"}, "of a run with --param-format float32; got bfloat16"),
        ({"steps": 2000}, "--steps 1120, which its learning rates follow; got 2000"),
    ],
)
def test_another_run_is_not_gone_on_with(
    saved: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        checkpoints(saved, **changed).restore(reached(0))


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match=r"there is no checkpoint in '.*'; leave --resume out"):
        checkpoints(tmp_path).restore(reached(0))
