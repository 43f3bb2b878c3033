"""The losses of the suite `precision`: every format trains, and the table says which is which."""

from __future__ import annotations

import pytest

from adamx.demo.recipes import recipe
from benchmarks import quality
from benchmarks.formats import FORMATS


def test_the_names_tell_the_formats_apart() -> None:
    names = [stored.name for stored in FORMATS]
    assert names[0] == "float32"
    assert len({*names, quality.NEAREST}) == len(names) + 1


@pytest.mark.full("a training run")
def test_a_few_steps_on_the_digits() -> None:
    seeds = quality.digits_losses(recipe("adamw", 0.005, 60, "pair").tx, "float32", range(2), 60)
    assert len({*seeds}) == 2
    assert max(seeds) < 1.0


@pytest.mark.full("trains in every format")
@pytest.mark.filterwarnings("ignore:.*rounded to nearest:UserWarning")
def test_rows_of_both_tasks() -> None:
    for row in (*quality.on_digits(2, 5), *quality.on_tokens(2, 5)):
        assert row.extra["test loss"] > 0
        assert row.extra["± half of the range"] > 0
        assert (row.extra["above float32"] == 0) == (row.peer == "float32")
