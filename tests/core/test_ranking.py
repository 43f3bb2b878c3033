"""Distinct ids and their places: two forms with one result, and no loop where a loop is dear."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from adamx import SparseRows
from adamx.core.indexing import positions
from adamx.core.ranking import find, rank, sort_and_look_up, sort_with_places

FORMS = (sort_and_look_up, sort_with_places, rank)
RANDOM = np.random.default_rng(0)
# Ids of a table of 10 rows.
CASES = {
    "distinct": np.array([3, 0, 9]),
    "duplicates": np.array([4, 0, 4, 4, 0, 9]),
    "all alike": np.zeros(7, int),
    "negative": np.array([4, -1, 4, -(2**31)]),
    "past the end": np.array([10, 4, 2**31 - 1, 9, 4, 10]),
    "none inside": np.array([-1, 10, 11]),
    "empty": np.zeros(0, int),
    "more than rows": RANDOM.integers(-3, 13, 40),
    "every row": np.arange(10)[::-1].repeat(2),
    "int8": np.array([-128, 4, 127, 4], np.int8),
    "uint8": np.array([255, 4, 10, 4], np.uint8),
    "uint32": np.array([2**32 - 1, 4, 2**31, 9, 4], np.uint32),
    "int64": np.array([4, 2**32 + 4, -1, 4]),
    "uint64": np.array([4, 2**64 - 1, 2**32 + 4, 4], np.uint64),
}
V = 10


def oracle(ids: np.ndarray) -> tuple[np.ndarray, list[int]]:
    size = min(len(ids), V)
    inside = [int(i) for i in ids if 0 <= i < V]
    known = np.unique(inside).astype(int)
    unique = V + np.arange(size)
    unique[: len(known)] = known
    return unique, [[*known].index(i) if 0 <= i < V else size for i in ids]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ids", CASES.values(), ids=CASES)
def test_every_form_gives_the_distinct_ids_and_the_place_of_each(
    ids: np.ndarray, form: Callable[..., Any]
) -> None:
    given = SparseRows(ids, np.zeros(len(ids)), V).positions()
    unique, place = jax.jit(form, static_argnames="num_rows")(given, num_rows=V)
    assert unique.dtype == place.dtype == jnp.int32
    wanted = oracle(ids)
    np.testing.assert_array_equal(unique, wanted[0])
    np.testing.assert_array_equal(place, wanted[1])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_under_vmap(form: Callable[..., Any]) -> None:
    ids = positions(jnp.asarray(RANDOM.integers(-2, V + 2, (3, 8))), V)
    together = jax.vmap(partial(form, num_rows=V))(ids)
    for i, one in enumerate(ids):
        for got, wanted in zip(together, oracle(np.asarray(one)), strict=True):
            np.testing.assert_array_equal(got[i], wanted)


def test_the_gradient_of_a_coalesced_sum_is_that_of_the_dense_one() -> None:
    ids, values = CASES["more than rows"], jnp.asarray(RANDOM.normal(size=(40, 2)), jnp.float32)

    def penalty(form: Callable[[SparseRows], Any]) -> Callable[[jax.Array], jax.Array]:
        return lambda values: jnp.sum(form(SparseRows(ids, values, V)) ** 2)

    got = jax.grad(penalty(lambda rows: rows.coalesce().values))(values)
    np.testing.assert_allclose(got, jax.grad(penalty(SparseRows.to_dense))(values), rtol=1e-6)


def loops(function: Callable[..., Any], platform: str, *shapes: tuple[int, ...]) -> int:
    """The number of loops in the program of integers and floats, which needs no such machine."""
    dtypes = (jnp.int32, jnp.int32 if function is find else jnp.float32)
    given = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    exported = jax.export.export(jax.jit(function), platforms=[platform])(*given)
    # A cumulative sum is one operation, `chlo.scan`; its loop is for compilers that lack it.
    program = re.sub(
        r"func private @chlo\.scan\.impl.*?\n  }", "", exported.mlir_module(), flags=re.S
    )
    return program.count("stablehlo.while")


def coalesced(ids: jax.Array, values: jax.Array) -> Any:
    rows = SparseRows(ids, values, 1000).coalesce()
    return rows.indices, rows.values


PROGRAMS = {"coalesce": (coalesced, (64,), (64, 4)), "find": (find, (64,), (4, 16))}


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_no_loop_on_an_accelerator(program: Any, platform: str) -> None:
    assert loops(program[0], platform, *program[1:]) == 0


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_cpu_searches(program: Any) -> None:
    assert loops(program[0], "cpu", *program[1:]) == 1
