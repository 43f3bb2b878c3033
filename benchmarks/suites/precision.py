"""Moments and parameters of 16 bits.

adamx computes in float32 whatever is stored.  bfloat16 second moments stall at b2 = 0.999: that
row is about time and bytes only.
"""

from __future__ import annotations

from benchmarks import models, recipes
from benchmarks.bench import Case
from benchmarks.options import Options
from benchmarks.suites.pairs import pairs

SIZES = (10**7,)
QUICK_SIZES = (10**6,)


def cases(options: Options) -> list[Case]:
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    return [
        case
        for recipe in (recipes.MU_BFLOAT16, recipes.BOTH_BFLOAT16, recipes.BFLOAT16_PARAMETERS)
        for case in pairs(
            "precision", [models.one_leaf(size, recipe.dtype) for size in sizes], [recipe]
        )
    ]
