"""What XLA makes of a step: the rows are read and written where they are.

A copy of the table, or a temporary of its size, would cost what the whole mode is meant to save,
and would not show in any result.
"""

import functools
import itertools
import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adamx
from tests.selection import full

V, D, N = 200_000, 16, 64
TABLE_BYTES = 4 * V * D
PARAMS = {
    "bias": jax.ShapeDtypeStruct((D,), jnp.float32),
    "table": jax.ShapeDtypeStruct((V, D), jnp.float32),
}
MODES = ("lazy", "rowwise", "exact")


def loss(params: Any, ids: jax.Array) -> jax.Array:
    return jnp.sum((params["table"][ids] @ params["bias"]) ** 2)


def compiled(tx: adamx.GradientTransformation, ids: int = N) -> Any:
    step = adamx.make_step(loss, tx, tables={"table": lambda ids: ids})
    state = jax.eval_shape(tx.init, PARAMS)
    return step.lower(PARAMS, state, jax.ShapeDtypeStruct((ids,), jnp.int32)).compile()


def recipe(name: str, mode: str) -> adamx.GradientTransformation:
    modes = {"table": mode}
    adamw = functools.partial(adamx.sparse.adamw, 1e-3, modes)
    recipes: dict[str, Any] = {
        "adam": lambda: adamx.sparse.adam(1e-3, modes),
        "adamw": adamw,
        "amsgrad": lambda: adamx.sparse.amsgrad(1e-3, modes),
        "guarded": lambda: adamx.apply_if_finite(
            adamx.chain(adamx.clip(1.0), adamx.clip_by_global_norm(1.0), adamw())
        ),
        "averaged": lambda: adamx.sparse.ema_params(adamw(), 0.99),
        "grouped": lambda: adamx.multi_transform(
            {"table": adamw(), "rest": adamx.adam(1e-3)},
            adamx.label_by_path(("table", "table"), default="rest"),
        ),
    }
    made: adamx.GradientTransformation = recipes[name]()
    return made


def pairs(names: Iterable[str], by_default: list[tuple[str, str]]) -> list[Any]:
    """Every recipe in every mode, in the full suite."""
    others = [pair for pair in itertools.product(names, MODES) if pair not in by_default]
    return [*by_default, *full(others, "every recipe in every mode, compiled as for users")]


STEPS = pairs(
    ["adam", "adamw", "amsgrad", "guarded", "grouped"],
    [("amsgrad", "lazy"), ("grouped", "rowwise"), ("guarded", "exact")],
)
LONG_STEPS = pairs(["adamw", "guarded", "averaged"], [("averaged", "exact")])


@pytest.mark.parametrize(("name", "mode"), [*STEPS, ("adamw", "counted")])
def test_a_step_makes_nothing_of_the_size_of_the_table(name: str, mode: str) -> None:
    program = compiled(recipe(name, mode))
    memory = program.memory_analysis()
    # `exact` also computes a block of rows whose turn it is, of a size that does not grow with V.
    assert memory.temp_size_in_bytes < TABLE_BYTES / 10
    moments = 1 if mode == "rowwise" else 2
    assert memory.alias_size_in_bytes >= (1 + moments) * TABLE_BYTES
    made = rf"= f32\[{V}(,{D})?\]\S* (copy|broadcast|select|multiply|add|transpose)\("
    assert not re.findall(made, program.as_text())


@pytest.mark.parametrize(("name", "mode"), LONG_STEPS)
def test_nor_does_a_step_of_many_rows(name: str, mode: str) -> None:
    """Of so many that they are worked through in chunks."""
    program = compiled(recipe(name, mode), 20_000)
    made = rf"= f32\[{V}(,{D})?\]\S* (copy|broadcast|select|multiply|add|transpose)\("
    assert not re.findall(made, program.as_text())


def test_dense_does() -> None:
    """So that the test above can fail."""
    program = compiled(adamx.sparse.adam(1e-3, {"table": "dense"}))
    assert program.memory_analysis().temp_size_in_bytes >= TABLE_BYTES


@pytest.mark.parametrize("mode", ["lazy", "rowwise", "counted"])
def test_the_program_does_not_depend_on_the_number_of_rows(mode: str) -> None:
    """The temporaries of a table with 50 times as many rows are the same."""

    def temporaries(rows: int) -> int:
        tx = adamx.sparse.adam(1e-3, mode)
        table = jax.ShapeDtypeStruct((rows, D), jnp.float32)
        grads = adamx.SparseRows.tree_unflatten(
            (rows, False),
            (jax.ShapeDtypeStruct((N,), jnp.int32), jax.ShapeDtypeStruct((N, D), jnp.float32)),
        )
        step = jax.jit(lambda t, s, g: tx.step(g, s, t), donate_argnums=(0, 1))
        lowered = step.lower(table, jax.eval_shape(tx.init, table), grads)
        return int(lowered.compile().memory_analysis().temp_size_in_bytes)

    assert temporaries(50 * V) <= 1.5 * temporaries(V)
