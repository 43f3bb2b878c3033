"""Embedding rows: each mode beside torch SparseAdam, and beside steps over the whole table.

Two races per table: those who touch rows only, and `lazy` with the dense ones.  A dense step leaves
nothing of the table in the caches, so that the second shows `lazy` at its worst.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.bench import Bench, Case
from benchmarks.options import Options
from benchmarks.peers import sparse_steps
from benchmarks.peers.base import Prepared
from benchmarks.rows import Row
from benchmarks.skewed_rows import Table

TOUCHED, WHOLE = "touched rows only", "beside steps over the whole table"


def against_ids(rows: int, width: int) -> str:
    """The varied and the fixed sizes."""
    return f"against ids, V = {rows:,}, D = {width}"


def _tables(options: Options) -> list[tuple[str, int, Table]]:
    """The varied size, its value, and the table."""
    rows, width = (10**5, 64) if options.quick else (10**6, 64)
    if options.sizes:
        rows = max(max(options.sizes) // width, 1)
    ids = (1024, 8192) if options.quick else (1024, 8192, 65536)
    tables = [(against_ids(rows, width), n, Table(rows, width, n)) for n in ids]
    if not (options.quick or options.sizes):
        at = "against rows of the table, D = 16, 8,192 ids"
        tables += [(at, v, Table(v, 16, 8192)) for v in (10**5, 10**6, 10**7)]
        at = "against width, V = 100,000, 8,192 ids"
        tables += [(at, d, Table(10**5, d, 8192)) for d in (16, 64, 256)]
    return tables


def _builders(bench: Bench, case: str, table: Table) -> dict[str, Callable[[], Prepared]]:
    seed = bench.options.seed
    modes = sparse_steps.MODES if case == TOUCHED else ("lazy", "dense")
    builders: dict[str, Callable[[], Prepared]] = {}
    if bench.available("adamx"):
        for mode in modes:
            builders[f"adamx {mode}"] = partial(sparse_steps.adamx_step, mode, table, seed)
    if case == TOUCHED and bench.available("torch"):
        builders["torch SparseAdam"] = partial(sparse_steps.torch_sparse_step, table, seed)
    if case == WHOLE and bench.available("optax"):
        builders["optax dense"] = partial(sparse_steps.optax_dense_step, table, seed)
    return builders


def _case(shape: str, size: int, table: Table, case: str) -> Case:
    def run(bench: Bench) -> list[Row]:
        bytes_moved = table.least_bytes(bench.options.seed)
        builders = _builders(bench, case, table)
        return bench.race(
            "sparse", shape, size, case, bytes_moved, builders, reference="adamx lazy"
        )

    return Case(f"{case}, {shape}: {size:,}", run)


def cases(options: Options) -> list[Case]:
    return [
        _case(shape, size, table, case)
        for shape, size, table in _tables(options)
        for case in (TOUCHED, WHOLE)
        if case == TOUCHED or shape == against_ids(table.rows, table.width)
    ]
