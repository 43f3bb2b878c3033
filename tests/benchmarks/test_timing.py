"""How steps are timed on an accelerator: pipelined and in one program, and each row says which."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from benchmarks import bench
from benchmarks.__main__ import main
from benchmarks.measuring import (
    EACH,
    ONE_PROGRAM,
    PIPELINED,
    STEPS,
    CopyBandwidth,
    steps_of,
    timings,
)
from benchmarks.options import Options
from benchmarks.peers import sparse_steps
from benchmarks.peers.base import Memory, Prepared
from benchmarks.peers.jax_peer import compile_step, prepared
from benchmarks.rows import Row, Spread
from benchmarks.skewed_rows import Table
from benchmarks.suites import sparse
from benchmarks.targets import outcomes


def recorded(can_loop: bool = True) -> tuple[list[str], Prepared]:
    calls: list[str] = []
    return calls, Prepared(
        lambda: calls.append("step"),
        lambda: calls.append("wait"),
        Memory(0, None),
        (lambda times: calls.append(f"{times} steps")) if can_loop else None,
    )


def test_a_cpu_is_waited_for_and_an_accelerator_is_kept_busy():
    assert timings("cpu") == (EACH,)
    assert timings("gpu") == timings("tpu") == (PIPELINED, ONE_PROGRAM)


@pytest.mark.parametrize(
    ("timing", "wanted", "count"),
    [
        (EACH, ["step", "wait"], 1),
        (PIPELINED, ["step"] * STEPS + ["wait"], STEPS),
        (ONE_PROGRAM, [f"{STEPS} steps", "wait"], STEPS),
    ],
)
def test_every_way_waits_once(timing, wanted, count):
    calls, one = recorded()
    step, steps = steps_of(one, timing)
    step()
    assert (calls, steps) == (wanted, count)


def test_what_has_no_programs_is_left_out():
    assert steps_of(recorded(can_loop=False)[1], ONE_PROGRAM) is None


def test_steps_in_one_program_go_on_where_dispatched_ones_ended():
    def step(params, state, grads):
        return params + grads, state + 1

    arguments = jnp.zeros(3), jnp.zeros((), jnp.int32), jnp.ones(3)
    one = prepared(step, compile_step(step, *arguments), *arguments)
    one.dispatch()
    one.in_one_program(4)
    one.dispatch()
    params, count = one.wait()
    assert count == 6
    assert (params == 6.0).all()


def test_the_copy_is_timed_as_the_steps_are():
    copy = CopyBandwidth(1 << 16, steps=5)
    assert copy._moved == 2 * 5 * (1 << 16)
    copy.measure()
    assert copy._array[0] == 1.0 + 3 * 5


@pytest.fixture(scope="module")
def on_accelerator(tmp_path_factory):
    """A run that times steps as on an accelerator; what it says about this one means nothing."""
    folder = tmp_path_factory.mktemp("accelerator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "timings", lambda platform: timings("gpu"))
        patch.setattr(bench, "CopyBandwidth", lambda size, steps: CopyBandwidth(1 << 16, steps))
        patch.setattr(Options, "seconds_per_case", 0.0)
        patch.setattr(sparse_steps, "MODES", ("lazy",))
        patch.setattr(sparse, "_tables", lambda options: [("tiny", 64, Table(1000, 4, 64))])
        arguments = "--suite dense,sparse --quick --sizes 1e4 --peers adamx --output"
        return folder, main([*arguments.split(), str(folder)])


def test_every_row_says_how_it_was_timed(on_accelerator):
    _, result = on_accelerator
    assert result.failures == ()
    ours = [row for row in result.rows if row.peer == "adamx"]
    assert {(row.case, row.timing) for row in ours} == {
        (case, timing) for case in ("adamw", "clip + adamw") for timing in (PIPELINED, ONE_PROGRAM)
    }
    assert {row.timing for row in result.rows if row.peer == "adamx lazy"} == {
        PIPELINED,
        ONE_PROGRAM,
    }
    assert len({row.key for row in result.rows}) == len(result.rows)


def test_the_page_says_so_too(on_accelerator):
    folder, _ = on_accelerator
    page = (folder / "RESULTS.md").read_text()
    assert f"{STEPS} behind one wait" in page
    assert f"| adamx | {ONE_PROGRAM} |" in page
    assert (folder / "dense.png").stat().st_size > 1000


@pytest.mark.parametrize(("timing", "judged"), [(EACH, True), (PIPELINED, False)])
def test_times_promised_for_a_cpu_are_judged_there_only(timing, judged):
    row = Row(
        suite="dense",
        shape="one leaf",
        size=10**7,
        case="clip + adamw",
        peer="optax",
        timing=timing,
        adamx_ratio=Spread(0.5, 0.5, 0.5),
    )
    found = {outcome.name: outcome.values for outcome in outcomes([row])}
    assert bool(found["clip + adamw, time over optax's"]) == judged
