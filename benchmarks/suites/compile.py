"""Lowering and compile time against the number of leaves."""

from __future__ import annotations

from benchmarks import models, recipes
from benchmarks.bench import OURS, Bench, Case
from benchmarks.measuring import paired_ratio
from benchmarks.models import Model
from benchmarks.options import Options
from benchmarks.peers.base import Compiled, Unsupported
from benchmarks.recipes import Recipe
from benchmarks.rows import Row, Spread

COUNTS = (1, 10, 100, 1000)
QUICK_COUNTS = (1, 10, 100)


def _compile_in_turns(
    bench: Bench, recipe: Recipe, model: Model, rounds: int
) -> dict[str, list[Compiled]]:
    compiled: dict[str, list[Compiled]] = {}
    for _ in range(rounds):
        for peer in bench.order.sample(bench.peers, len(bench.peers)):
            try:
                one = peer.compile(recipe, model)
            except Unsupported as reason:
                bench.skip(str(reason))
            else:
                # The program itself is let go: a thousand leaves are megabytes of code.
                compiled.setdefault(peer.name, []).append(one._replace(program=None))
    return compiled


def _total(runs: list[Compiled]) -> list[float]:
    return [one.lower_seconds + one.compile_seconds for one in runs]


def _row(
    model: Model, count: int, recipe: Recipe, compiled: dict[str, list[Compiled]], name: str
) -> Row:
    runs, ours = compiled[name], compiled.get(OURS)
    ratio = paired_ratio(_total(ours), _total(runs)) if ours and name != OURS else None
    return Row(
        suite="compile",
        shape=f"leaves of {model.name}",
        size=count,
        case=recipe.name,
        peer=name,
        seconds=Spread.of(_total(runs)),
        adamx_ratio=ratio,
        persistent_bytes=runs[0].memory.persistent,
        temporary_bytes=runs[0].memory.temporary,
        extra={
            "lower s": Spread.of([one.lower_seconds for one in runs]).median,
            "compile s": Spread.of([one.compile_seconds for one in runs]).median,
        },
    )


def _case(count: int, recipe: Recipe, rounds: int) -> Case:
    model = models.small_leaves(count)

    def run(bench: Bench) -> list[Row]:
        compiled = _compile_in_turns(bench, recipe, model, rounds)
        names = [peer.name for peer in bench.peers if peer.name in compiled]
        return [_row(model, count, recipe, compiled, name) for name in names]

    return Case(f"{recipe.name}, {count:,} leaves", run)


def cases(options: Options) -> list[Case]:
    counts = QUICK_COUNTS if options.quick else COUNTS
    rounds = 2 if options.quick else 3
    return [
        _case(count, recipe, rounds)
        for count in counts
        for recipe in (recipes.ADAMW, recipes.CLIPPED)
    ]
