"""A compiled step of mode `exact` writes into the table and its moments; it copies none of them."""

import re

import jax
import jax.numpy as jnp
import pytest

import adamx

D, N = 16, 64


def compiled(rows: int) -> jax.stages.Compiled:
    """A donated step of a table of `rows` rows with a gradient of `N` rows."""
    tx = adamx.sparse.adamw(adamx.linear_schedule(0.1, 0.0, 100), "exact", weight_decay=0.1)

    def step(table: jax.Array, state: object, ids: jax.Array, values: jax.Array) -> object:
        return tx.step(adamx.SparseRows(ids, values, rows), state, table)

    table = jax.ShapeDtypeStruct((rows, D), jnp.float32)
    ids = jax.ShapeDtypeStruct((N,), jnp.int32)
    values = jax.ShapeDtypeStruct((N, D), jnp.float32)
    state = jax.eval_shape(tx.init, table)
    return jax.jit(step, donate_argnums=(0, 1)).lower(table, state, ids, values).compile()


@pytest.mark.parametrize("rows", [50_000, 500_000])
def test_no_table_sized_temporary_or_copy(rows: int) -> None:
    program = compiled(rows)
    # Beside the rows touched, at most 1024 rows a step are paid whatever the size of the table.
    assert program.memory_analysis().temp_size_in_bytes < 0.5e6
    copies = [
        line
        for line in program.as_text().splitlines()
        if re.search(rf"= [fs]32\[{rows}[,\]]\S* copy", line)
    ]
    assert copies == []
