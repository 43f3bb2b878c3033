"""Moments and parameters of fewer bits: bytes, time, and what is learnt with them.

adamx computes in float32 whatever is stored.  Moments and parameters that are rounded to nearest
beside it are about time and bytes only: second moments stall at b2 = 0.999, and parameters lose
their small updates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from benchmarks import models, quality, recipes
from benchmarks.bench import Bench, Case
from benchmarks.formats import FLOAT32, FORMATS, Stored
from benchmarks.options import Options
from benchmarks.peers import torchao_peer
from benchmarks.peers.base import Prepared
from benchmarks.peers.jax_peer import Program, compile_step, draw, nbytes, prepared
from benchmarks.rows import Row
from benchmarks.suites.pairs import pairs

SIZES = (10**7,)
QUICK_SIZES = (10**6,)


def _prepare(stored: Stored, size: int, seed: int) -> Prepared:
    leaves = models.one_leaf(size, stored.dtype).leaves
    tx = stored.adamw()
    program = Program(tx.init, lambda params, state, grads: tx.step(grads, state, params))
    params, grads = draw(leaves, seed, 1.0), draw(leaves, seed + 1, 1e-2)
    state = program.init(params)
    compiled = compile_step(program.step, params, state, grads)
    return prepared(program.step, compiled, params, state, grads)


def _formats(size: int, seed: int) -> Case:
    """adamw in every format beside that in float32, in turns, and torchao's 8 bits."""

    def builder(stored: Stored) -> Callable[[], Prepared]:
        return lambda: _prepare(stored, size, seed)

    def described(row: Row) -> Row:
        dtype = next((one.dtype for one in FORMATS if one.name == row.peer), FLOAT32.dtype)
        leaves = models.one_leaf(size, dtype).leaves
        assert row.persistent_bytes is not None
        kept = row.persistent_bytes
        extra = {"B kept per parameter": kept / size}
        if row.adamx_ratio is not None:
            extra["x the time in float32"] = 1.0 / row.adamx_ratio.median
        # Parameters and state are read and written, the gradient is read.
        return dataclasses.replace(
            row, bytes_moved=2 * kept + nbytes(leaves), adamx_ratio=None, extra=extra
        )

    def run(bench: Bench) -> list[Row]:
        builders = {stored.name: builder(stored) for stored in FORMATS}
        if bench.available("torch"):
            builders[torchao_peer.NAME] = lambda: torchao_peer.prepare(size, seed)
        rows = bench.race(
            "precision", "one leaf", size, "adamw", None, builders, reference=FLOAT32.name
        )
        return [described(row) for row in rows]

    return Case(f"formats, {size:,}", run)


def cases(options: Options) -> list[Case]:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    nearest = [
        case
        for recipe in (recipes.MU_BFLOAT16, recipes.BOTH_BFLOAT16, recipes.BFLOAT16_PARAMETERS)
        for case in pairs(
            "precision", [models.one_leaf(size, recipe.dtype) for size in sizes], [recipe]
        )
    ]
    formats = [_formats(size, options.seed) for size in sizes]
    if options.quick:
        return [*nearest, *formats]
    return [
        *nearest,
        *formats,
        Case("losses on the digits", lambda bench: quality.on_digits(seeds=5, steps=1120)),
        Case("losses on the tokens", lambda bench: quality.on_tokens(seeds=3, steps=1000)),
    ]
