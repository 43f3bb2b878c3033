"""One large leaf, from what fits into a cache to what does not."""

from __future__ import annotations

from benchmarks import models, recipes
from benchmarks.bench import Case
from benchmarks.options import Options
from benchmarks.suites.pairs import pairs

SIZES = (10**4, 10**5, 10**6, 10**7, 10**8)
QUICK_SIZES = (10**4, 10**6, 10**7)


def cases(options: Options) -> list[Case]:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    leaves = [models.one_leaf(size) for size in sizes]
    return pairs("dense", leaves, (recipes.ADAMW, recipes.CLIPPED))
