"""Bytes kept, allocated and moved against parameters, as the compiler counts them."""

from __future__ import annotations

import jax

from benchmarks import models, recipes
from benchmarks.bench import Bench, Case
from benchmarks.models import Model
from benchmarks.options import Options
from benchmarks.peers.base import Unsupported
from benchmarks.recipes import Recipe
from benchmarks.rows import Row

SIZES = (10**6, 10**7, 10**8)
QUICK_SIZES = (10**6,)
RECIPES = (recipes.ADAMW, recipes.CLIPPED, recipes.AVERAGED, recipes.GUARDED)


def _traffic(program: jax.stages.Compiled, model: Model) -> dict[str, float]:
    """Every loop's reads and writes: what the step moves if no cache holds a leaf."""
    moved = (program.cost_analysis() or {}).get("bytes accessed")
    return {} if moved is None else {"B moved per parameter": moved / model.parameters}


def _case(model: Model, recipe: Recipe) -> Case:
    def run(bench: Bench) -> list[Row]:
        rows = []
        for peer in bench.peers:
            try:
                compiled = peer.compile(recipe, model)
            except Unsupported as reason:
                bench.skip(str(reason))
                continue
            rows.append(
                Row(
                    suite="memory",
                    shape=model.shape,
                    size=model.parameters,
                    case=recipe.name,
                    peer=peer.name,
                    persistent_bytes=compiled.memory.persistent,
                    temporary_bytes=compiled.memory.temporary,
                    extra=_traffic(compiled.program, model),
                )
            )
        return rows

    return Case(f"{recipe.name}, {model.shape}, {model.parameters:,}", run)


def cases(options: Options) -> list[Case]:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    trees = [models.one_leaf(size) for size in sizes]
    if not (options.quick or options.sizes):
        trees.append(models.gpt2())
    return [_case(model, recipe) for model in trees for recipe in RECIPES]
