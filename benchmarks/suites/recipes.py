"""Clipping, weight decay, an average of the parameters and a guard in one step."""

from __future__ import annotations

from benchmarks import models, recipes
from benchmarks.bench import Case
from benchmarks.options import Options
from benchmarks.suites.pairs import pairs

SIZES = (10**6, 10**7, 10**8)
QUICK_SIZES = (10**6,)


def cases(options: Options) -> list[Case]:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    trees = [models.one_leaf(size) for size in sizes]
    if not (options.quick or options.sizes):
        trees.append(models.gpt2())
    return pairs("recipes", trees, (recipes.AVERAGED, recipes.GUARDED))
