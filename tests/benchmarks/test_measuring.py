"""Peers take turns; models and ids are what they claim to be."""

from __future__ import annotations

import random

import jax
import numpy as np
import pytest

from benchmarks import models
from benchmarks.measuring import CopyBandwidth, paired_ratio, take_turns
from benchmarks.options import parse
from benchmarks.skewed_rows import Table


def recorded(rounds, seconds, warm_up=2, seed=0):
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "abc"}
    return calls, take_turns(steps, rounds, seconds, random.Random(seed), warm_up)


def test_everyone_runs_once_in_every_round_in_an_order_drawn_anew():
    calls, taken = recorded(rounds=8, seconds=60.0)
    assert calls[:6] == list("abcabc")  # warm-up
    rounds = [calls[i : i + 3] for i in range(6, len(calls), 3)]
    assert len(rounds) == 8
    assert all(sorted(one) == list("abc") for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert all(len(seconds) == 8 for seconds in taken.values())


def test_the_seed_decides_the_order():
    first, again, other = (recorded(8, 60.0, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_time_that_is_up_ends_it_after_three_rounds():
    _, taken = recorded(rounds=100, seconds=0.0)
    assert [len(seconds) for seconds in taken.values()] == [3, 3, 3]


def test_ratios_are_of_the_same_round():
    # Medians alone would say 1: the second was disturbed when the first was.
    assert paired_ratio([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == (0.5, 0.5, 0.5)


def test_the_copy_bandwidth_is_sampled():
    copy = CopyBandwidth(1 << 20)
    copy.measure()
    copy.measure()
    assert len(copy.samples) == 6
    assert min(copy.samples) > 1e6


@pytest.mark.parametrize(
    ("model", "leaves", "parameters"),
    [
        (models.one_leaf(10), 1, 10),
        (models.gpt2(), 148, 124_439_808),
        (models.resnet50(), 161, 25_557_032),
        (models.small_leaves(1000), 1000, 2_000_000),
    ],
    ids=lambda value: value.name if isinstance(value, models.Model) else None,
)
def test_models_have_their_published_numbers_of_parameters(model, leaves, parameters):
    assert len(jax.tree.leaves(model.leaves)) == leaves
    assert model.parameters == parameters


def test_ids_are_skewed_and_inside_the_table():
    table = Table(rows=10**5, width=8, ids=8192)
    ids = table.draw(seed=0)
    assert ids.dtype == np.int32
    assert 0 <= ids.min() <= ids.max() < table.rows
    touched = len(np.unique(ids))
    assert 1000 < touched < 4000
    assert table.least_bytes(0) == 8192 * 36 + touched * 8 * 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "dens"], "no suite 'dens'; there are dense, trees"),
        (["--peers", "jax"], "no peer 'jax'; there are adamx, optax"),
        (["--sizes", "0"], "at least 1"),
        (["--sizes", "many"], "sizes are numbers like 1e6"),
        (["--compare", "nowhere.json"], "no such file: nowhere.json"),
    ],
)
def test_nonsense_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_command_line_is_read():
    options = parse(["--suite", "dense,sparse", "--peers", "torch", "--sizes", "1e4,2e6"])
    assert options.suites == ("dense", "sparse")
    assert options.peers == ("torch-fused", "torch-foreach")
    assert options.sizes == (10_000, 2_000_000)
