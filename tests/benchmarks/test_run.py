"""One tiny run of every suite: the program, its files and what they say."""

from __future__ import annotations

import json
import math

import jax
import pytest

from benchmarks import bench, models
from benchmarks.__main__ import main
from benchmarks.bench import Case
from benchmarks.options import Options
from benchmarks.result import Result
from benchmarks.suites import SUITES, compile, dense, devices, topology, train
from benchmarks.targets import TARGETS
from benchmarks.transformer import Sizes

# `topology` needs a compiler for TPUs; tests/tpu has it.
ANYWHERE = [suite for suite in SUITES if suite != "topology"]
TINY = Sizes(vocabulary=16, width=8, layers=1, heads=2, length=4, batch=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and the result of `python -m benchmarks` on a few parameters."""
    folder = tmp_path_factory.mktemp("benchmarks")
    small = models.small_leaves
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "gpt2", lambda width=768: small(3, 10)._replace(name="tiny"))
        patch.setattr(models, "small_leaves", lambda count, size=10: small(min(count, 4), size))
        patch.setattr(compile, "QUICK_COUNTS", (1, 2))
        patch.setattr(train, "QUICK_SIZES", TINY)
        patch.setattr(devices, "QUICK_COUNTS", (2,))
        patch.setattr(topology, "why_not", lambda: "libtpu is not installed")
        arguments = "--quick --sizes 1e4 --peers adamx,optax,torch-fused --seed 7 --output"
        result = main([*arguments.split(), str(folder)])
    return folder, result


def rows(result, suite, **wanted):
    return [
        row
        for row in result.rows
        if row.suite == suite and all(getattr(row, k) == v for k, v in wanted.items())
    ]


@pytest.mark.full("runs every benchmark once")
@pytest.mark.parametrize("suite", ANYWHERE)
def test_every_suite_has_rows_of_adamx(finished, suite):
    assert any(row.peer.startswith("adamx") for row in rows(finished[1], suite))


@pytest.mark.full("runs every benchmark once")
@pytest.mark.parametrize("suite", ["dense", "trees", "recipes", "compile", "train"])
def test_the_peer_is_timed_beside_it(finished, suite):
    for row in rows(finished[1], suite, peer="optax"):
        assert 0.0 < row.seconds.low <= row.seconds.median <= row.seconds.high
        assert row.adamx_ratio.median > 0.0


@pytest.mark.full("runs every benchmark once")
def test_nothing_failed(finished):
    assert finished[1].failures == ()


def test_a_case_that_fails_does_not_cost_the_others(tmp_path, monkeypatch, capsys):
    def cases(options):
        return [Case("broken", lambda bench: 1 / 0), Case("empty", lambda bench: [])]

    monkeypatch.setattr(dense, "cases", cases)
    result = main(["--suite", "dense", "--quick", "--output", str(tmp_path)])
    assert result.failures == ("dense: broken: ZeroDivisionError",)
    assert "FAILED: dense: broken" in (tmp_path / "RESULTS.md").read_text()
    assert "1 / 0" in capsys.readouterr().out


def test_what_is_not_installed_is_skipped_by_name(monkeypatch):
    monkeypatch.setattr(bench, "version", lambda package: None if package == "torch" else "1")
    made = bench.Bench(Options(quick=True, peers=("adamx", "torch-fused", "torch-foreach")))
    assert [peer.name for peer in made.peers] == ["adamx"]
    assert list(made.skipped) == [
        "torch fused: torch is not installed",
        "torch foreach: torch is not installed",
    ]


@pytest.mark.full("runs every benchmark once")
def test_a_compiler_that_is_missing_is_said(finished):
    assert "topology: libtpu is not installed" in finished[1].skipped


@pytest.mark.full("runs every benchmark once")
def test_what_a_peer_lacks_is_said(finished):
    assert "optax: no adamw, m and v in bfloat16" in finished[1].skipped


@pytest.mark.full("runs every benchmark once")
@pytest.mark.cpu_program
def test_bytes_are_counted(finished):
    (ours,) = rows(finished[1], "memory", peer="adamx", case="clip + adamw")
    (theirs,) = rows(finished[1], "memory", peer="optax", case="clip + adamw")
    # Parameters, two moments and a count; optax keeps the clipped gradient.
    assert ours.size == 10_000
    assert ours.persistent_bytes == 3 * 40_000 + 4
    assert ours.temporary_bytes < 1024 < 40_000 <= theirs.temporary_bytes
    # Three loops and a norm: 12 + 12 + 16 + 4 bytes; on other devices there are fewer loops.
    assert ours.extra["B moved per parameter"] < 44.5 < theirs.extra["B moved per parameter"]


@pytest.mark.full("runs every benchmark once")
def test_zero1_cuts_the_state(finished):
    (replicated,) = rows(finished[1], "devices", peer="adamx replicated")
    (sharded,) = rows(finished[1], "devices", peer="adamx ZeRO-1")
    assert sharded.extra["MB of state"] < 0.6 * replicated.extra["MB of state"]


@pytest.mark.full("runs every benchmark once")
def test_the_share_of_the_limit_follows_from_the_row(finished):
    result = finished[1]
    row, *_ = rows(result, "dense", peer="adamx", case="clip + adamw")
    assert row.bytes_moved == 32 * 10_000
    share = 320_000 / row.seconds.median / result.limit
    assert math.isclose(result.share_of_limit(row), share)


@pytest.mark.full("runs every benchmark once")
def test_the_json_is_complete_and_reads_back(finished):
    folder, result = finished
    stored = json.loads((folder / "results.json").read_text())
    assert stored["schema"] == 1
    assert stored["seed"] == 7
    assert {"jax", "jaxlib", "optax", "adamx", "python"} <= set(stored["versions"])
    assert {"processor", "cores", "memory", "device"} <= set(stored["hardware"])
    assert stored["limit"] >= stored["copy_bandwidth"][0] > 0.0
    assert len(stored["rows"]) == len(result.rows)
    assert Result.load(folder / "results.json") == result


@pytest.mark.full("runs every benchmark once")
def test_the_page_has_every_suite_every_target_and_its_pictures(finished):
    folder, result = finished
    page = (folder / "RESULTS.md").read_text()
    for suite in ANYWHERE:
        assert f"## {suite}: {SUITES[suite]}" in page
        assert f"({suite}.png)" in page
        assert (folder / f"{suite}.png").stat().st_size > 1000
    assert all(target.name in page for target in TARGETS)
    assert all(reason in page for reason in result.skipped)


@pytest.mark.full("runs every benchmark once")
def test_another_run_is_compared(finished, tmp_path, monkeypatch, capsys):
    folder, result = finished
    monkeypatch.setattr("benchmarks.__main__.run", lambda *_: result)
    monkeypatch.setattr("benchmarks.__main__.save_plots", lambda *_: [])
    main(["--compare", str(folder / "results.json"), "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert f"{len(result.rows)} rows in both runs, 0 of them moved" in " ".join(printed.split())


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(SystemExit, match="JAX sees none, only cpu"):
        main(["--device", "gpu"])


def test_a_file_of_something_else_is_refused(tmp_path):
    other = tmp_path / "other.json"
    other.write_text("[]")
    with pytest.raises(ValueError, match="not a benchmark result"):
        main(["--compare", str(other), "--output", str(tmp_path)])
