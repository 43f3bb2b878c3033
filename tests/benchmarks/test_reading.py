"""What is concluded from rows: targets, changes, and numbers as text."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.compare import changes
from benchmarks.output import text
from benchmarks.result import Result
from benchmarks.rows import Row, Spread
from benchmarks.suites.sparse import TOUCHED, against_ids
from benchmarks.targets import outcomes

DENSE = Row(
    suite="dense",
    shape="one leaf",
    size=10**7,
    case="clip + adamw",
    peer="optax",
    seconds=Spread(0.1, 0.09, 0.11),
    adamx_ratio=Spread(0.5, 0.4, 0.6),
    bytes_moved=32 * 10**7,
    temporary_bytes=100,
)


def result(*rows):
    return Result(
        command="",
        created="",
        seed=0,
        hardware={},
        versions={},
        copy_bandwidth=Spread(1e10, 1e10, 1e10),
        limit=1e10,
        skipped=(),
        failures=(),
        rows=rows,
    )


def verdict(name, *rows):
    (found,) = [outcome for outcome in outcomes(rows) if name in outcome.name]
    return found.verdict


def slower(row, factor):
    return dataclasses.replace(row, seconds=Spread(*(factor * x for x in row.seconds)))


def test_a_target_is_met_missed_or_not_measured():
    missed = dataclasses.replace(DENSE, size=10**8, adamx_ratio=Spread(0.66, 0.6, 0.7))
    found = {outcome.name: outcome for outcome in outcomes([DENSE, missed])}
    assert found["clip + adamw, time over optax's"].verdict == "NOT MET in 1 of 2"
    assert found["clip + adamw, time over Keras 3's"].verdict == "not measured"
    (alone,) = [o for o in outcomes([DENSE]) if o.name == "clip + adamw, time over optax's"]
    assert alone.verdict == "met"


def test_small_leaves_do_not_count_for_a_target():
    assert verdict("time over Keras 3's", dataclasses.replace(DENSE, size=10**6, peer="keras")) == (
        "not measured"
    )


@pytest.mark.parametrize(("ids", "found"), [(1023, False), (1024, True), (65536, True)])
def test_sparse_targets_find_their_rows(ids, found):
    row = dataclasses.replace(
        DENSE,
        suite="sparse",
        shape=against_ids(10**6, 64),
        size=ids,
        peer="torch SparseAdam",
        adamx_ratio=Spread(1.1, 1.0, 1.2),
    )
    assert verdict("torch SparseAdam", row) == ("NOT MET in 1 of 1" if found else "not measured")
    other = dataclasses.replace(row, shape=against_ids(10**5, 64))
    assert verdict("torch SparseAdam", other) == "not measured"


def test_lazy_on_its_own_is_compared_across_races():
    dense = dataclasses.replace(
        DENSE, suite="sparse", shape=against_ids(10**6, 64), size=8192, peer="optax dense"
    )
    lazy = dataclasses.replace(
        dense, case=TOUCHED, peer="adamx lazy", seconds=Spread(0.004, 0.003, 0.005)
    )
    assert verdict("lazy on its own", dense) == "not measured"
    assert verdict("lazy on its own", dense, lazy) == "met"
    assert verdict("lazy on its own", dense, slower(lazy, 2.0)) == "NOT MET in 1 of 1"
    assert verdict("lazy between dense steps", dense, lazy) == "NOT MET in 1 of 1"


def test_temporaries_of_the_size_of_a_gradient_miss_the_target():
    ours = dataclasses.replace(DENSE, peer="adamx")
    assert verdict("temporaries", ours) == "met"
    assert verdict("temporaries", dataclasses.replace(ours, temporary_bytes=4 * 10**7)) == (
        "NOT MET in 1 of 1"
    )


def test_only_what_is_more_than_noise_has_moved():
    assert changes(result(DENSE), result(slower(DENSE, 1.2))) == []
    (change,) = changes(result(DENSE), result(slower(DENSE, 2.0)))
    assert (change.what, change.factor) == ("time", 2.0)


def test_bytes_are_compared_exactly():
    (change,) = changes(result(DENSE), result(dataclasses.replace(DENSE, temporary_bytes=101)))
    assert (change.what, change.before, change.now) == ("temporary bytes", "100", "101")


def test_rows_of_one_run_only_are_no_change():
    assert changes(result(DENSE), result(dataclasses.replace(DENSE, size=5))) == []


@pytest.mark.parametrize(
    ("value", "shown"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (3e-8, "30 ns")]
)
def test_seconds_as_text(value, shown):
    assert text.seconds(value) == shown


def test_a_spread_is_the_median_and_its_quartiles():
    assert Spread.of([1.0]) == (1.0, 1.0, 1.0)
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 2.0, 4.0)
