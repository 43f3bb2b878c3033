"""The leaves of real models, and many small ones."""

from __future__ import annotations

from benchmarks import models, recipes
from benchmarks.bench import Case
from benchmarks.options import Options
from benchmarks.suites.pairs import pairs


def cases(options: Options) -> list[Case]:
    if options.quick:
        return pairs("trees", [models.gpt2(96), models.small_leaves(100)], [recipes.CLIPPED])
    trees = [models.gpt2(), models.resnet50(), models.small_leaves(1000)]
    return pairs("trees", trees, (recipes.ADAMW, recipes.CLIPPED))
