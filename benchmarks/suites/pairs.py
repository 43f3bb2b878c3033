"""Cases that are every recipe on every model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.bench import Bench, Case
from benchmarks.models import Model
from benchmarks.recipes import Recipe
from benchmarks.rows import Row


def pairs(suite: str, models: Iterable[Model], recipes: Sequence[Recipe]) -> list[Case]:
    """One timed case per model and recipe."""

    def case(model: Model, recipe: Recipe) -> Case:
        def run(bench: Bench) -> list[Row]:
            return bench.race_peers(suite, model, recipe)

        return Case(f"{recipe.name}, {model.shape}, {model.parameters:,}", run)

    return [case(model, recipe) for model in models for recipe in recipes]
