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


def file(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"{step}.npz"


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
    shutil.copy(path.with_name("20.npz"), path)


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
    damage(file(copy, 30))
    got = checkpoints(copy).restore(reached(0))
    lines = capsys.readouterr().err.splitlines()
    if got.step == 30:
        # Bits that say nothing about the arrays, such as the time in a ZIP file's directory.
        assert is_exactly(got, 30)
        assert not lines
        return
    assert is_exactly(got, 20)
    if file(copy, 30).exists():
        assert len(lines) == 1
        assert lines[0].startswith(f"{DAMAGED} '{file(copy, 30)}' (")
        assert lines[0].endswith("); going on after step 20")


@pytest.mark.parametrize(
    "damage", [truncate(0.0), truncate(0.5), flip(0.5, 0), to_folder, to_a_foreign_file]
)
def test_without_a_whole_one_each_is_named(damage: Callable[[Path], None], copy: Path) -> None:
    truncate(0.7)(file(copy, 20))
    damage(file(copy, 30))
    with pytest.raises(ResumeError, match=r"is whole: 30\.npz \(.+\), 20\.npz \(.+\); leave"):
        checkpoints(copy).restore(reached(0))


def test_every_bit_of_an_array_counts(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = file(copy, 30).read_bytes()
    array = np.asarray(reached(30).params["w"]).tobytes()
    first = contents.index(array)
    for i in range(8 * len(array)):
        damaged = bytearray(contents)
        damaged[first + i // 8] ^= 1 << i % 8
        file(copy, 30).write_bytes(damaged)
        assert checkpoints(copy).restore(reached(0)).step == 20
    assert capsys.readouterr().err.count("\n") == 8 * len(array)


def test_the_last_two_are_kept(saved: Path) -> None:
    names = {path.name for path in (saved / "checkpoints").iterdir()}
    assert names == {f"{step}.npz" for step in KEPT}
    assert is_exactly(checkpoints(saved).restore(reached(0)), 30)


def test_a_damaged_one_is_written_anew(copy: Path) -> None:
    truncate(0.5)(file(copy, 30))
    made = checkpoints(copy)
    made.save(reached(made.restore(reached(0)).step + 10))
    assert is_exactly(checkpoints(copy).restore(reached(0)), 30)


def test_what_a_killed_run_left_unfinished_is_no_checkpoint(copy: Path) -> None:
    left = copy / "checkpoints" / ".40.npz.0123456789abcdef"
    left.write_bytes(b"half")
    made = checkpoints(copy)
    assert made.restore(reached(0)).step == 30
    made.save(reached(40))
    assert not left.exists()


def test_a_checkpoint_that_cannot_be_written_leaves_those_before(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(FileError, match=r"could not write '.*40\.npz' \(No space left"):
            checkpoints(copy).save(reached(40))
    assert {path.name for path in (copy / "checkpoints").iterdir()} == {"20.npz", "30.npz"}
    assert is_exactly(checkpoints(copy).restore(reached(0)), 30)


def test_arrays_of_another_version_are_no_damage(copy: Path) -> None:
    begun = reached(0)._replace(state=())
    with pytest.raises(ResumeError, match=r"30\.npz' holds other arrays than this version"):
        checkpoints(copy).restore(begun)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "of a run with --seed 0; got 1; leave --resume out"),
        ({"batch": 64}, "of a run with --batch 128; got 64"),
        ({"optimizer": "lamb"}, "of a run with --optimizer adamw; got lamb"),
        ({"learning_rate": 0.5}, "of a run with --learning-rate 0.005; got 0.5"),
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
