"""A whole training step of a small transformer, so that the optimizer's share is seen.

The step of plain gradient descent beside it has the same gradient and the cheapest update there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import recipes, transformer
from benchmarks.bench import Bench, Case
from benchmarks.models import Model
from benchmarks.options import Options
from benchmarks.peers.base import Prepared
from benchmarks.peers.jax_peer import JaxPeer, Program, compile_step, draw, prepared
from benchmarks.recipes import LEARNING_RATE
from benchmarks.rows import Row
from benchmarks.transformer import Sizes

SIZES = Sizes(vocabulary=8192, width=256, layers=4, heads=4, length=128, batch=8)
QUICK_SIZES = Sizes(vocabulary=2048, width=128, layers=2, heads=4, length=64, batch=4)
DESCENT = "gradient descent"


def _descent() -> Program:
    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), state

    return Program(lambda params: (), step)


def _prepare(program: Program, init: Callable[[Any], Any], sizes: Sizes, seed: int) -> Prepared:
    def step(params: Any, state: Any, tokens: jax.Array) -> tuple[Any, Any]:
        grads = jax.grad(transformer.loss)(params, tokens, sizes.heads)
        return program.step(params, state, grads)

    params = draw(sizes.parameters(), seed, 0.02)
    state, tokens = init(params), sizes.tokens(seed)
    compiled = compile_step(step, params, state, tokens)
    return prepared(step, compiled, params, state, tokens)


def _share(row: Row, baseline: Row | None) -> Row:
    if row.seconds is None or baseline is None or baseline.seconds is None or row is baseline:
        return row
    share = 1.0 - baseline.seconds.median / row.seconds.median
    return dataclasses.replace(row, extra={"% optimizer": 100.0 * share})


def cases(options: Options) -> list[Case]:
    sizes = QUICK_SIZES if options.quick else SIZES
    recipe, seed = recipes.CLIPPED, options.seed

    def builder(peer: JaxPeer) -> Callable[[], Prepared]:
        def build() -> Prepared:
            program = peer.program(recipe)
            return _prepare(program, lambda params: peer.init(program, params), sizes, seed)

        return build

    def run(bench: Bench) -> list[Row]:
        builders = {p.name: builder(p) for p in bench.peers if isinstance(p, JaxPeer)}
        descent = _descent()
        builders[DESCENT] = lambda: _prepare(descent, descent.init, sizes, seed)
        model = Model("transformer", sizes.parameters())
        rows = bench.race("train", model.shape, model.parameters, recipe.name, None, builders)
        baseline = next((row for row in rows if row.peer == DESCENT), None)
        return [_share(row, baseline) for row in rows]

    return [Case("transformer, whole step", run)]
