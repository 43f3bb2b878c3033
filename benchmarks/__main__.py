"""One command: a dense step of adamx beside optax, interleaved in one run, with its memory."""

from __future__ import annotations

import argparse
import functools
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from rich.console import Console
from rich.table import Table

import adamx

RECIPES: dict[str, dict[str, Any]] = {
    "adamw": {"adamx": adamx.adamw(1e-3), "optax": optax.adamw(1e-3)},
    "clip + adamw": {
        "adamx": adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3)),
        "optax": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
    },
}


def compile_step(tx: Any, params: Any) -> Any:
    """The donated, in-place step of any library that speaks `init` and `update`."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step.lower(params, jax.eval_shape(tx.init, params), params).compile()


def runner(step: Any, tx: Any, size: int) -> Callable[[], float]:
    """A function that takes one step and returns its seconds."""
    params, grads = jnp.ones(size), jnp.full(size, 1e-3)
    state = [params, jax.jit(tx.init)(params)]

    def run() -> float:
        start = time.perf_counter()
        state[:] = jax.block_until_ready(step(*state, grads))
        return time.perf_counter() - start

    return run


def measure(size: int, repetitions: int) -> Iterator[tuple[str, str, float, float, int]]:
    """For every recipe and library: median seconds, median ratio to optax, temporary bytes."""
    like = jax.ShapeDtypeStruct((size,), jnp.float32)
    for recipe, libraries in RECIPES.items():
        steps = {name: compile_step(tx, like) for name, tx in libraries.items()}
        runs = {name: runner(steps[name], tx, size) for name, tx in libraries.items()}
        for run in runs.values():
            run()
        # Interleaved: what disturbs the machine disturbs both.
        seconds = [{name: run() for name, run in runs.items()} for _ in range(repetitions)]
        for name in libraries:
            yield (
                recipe,
                name,
                statistics.median(row[name] for row in seconds),
                statistics.median(row[name] / row["optax"] for row in seconds),
                steps[name].memory_analysis().temp_size_in_bytes,
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--size",
        type=int,
        default=1 << 24,
        help="parameters in the one leaf (default: %(default)s)",
    )
    parser.add_argument(
        "--repetitions", type=int, default=15, help="paired runs to take the median of"
    )
    options = parser.parse_args()
    if options.size < 1 or options.repetitions < 1:
        parser.error("--size and --repetitions must be at least 1")
    table = Table(title=f"one step over {options.size:,} float32 parameters")
    for heading in ("recipe", "library"):
        table.add_column(heading)
    for heading in ("median", "x optax", "GB/s of 28 B", "temporaries"):
        table.add_column(heading, justify="right")
    for recipe, name, seconds, ratio, temporaries in measure(options.size, options.repetitions):
        table.add_row(
            recipe,
            name,
            f"{1e3 * seconds:.2f} ms",
            f"{ratio:.2f}",
            f"{28e-9 * options.size / seconds:.1f}",
            f"{temporaries:,} B",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{jax.devices()[0].device_kind}, {platform.machine()}; "
        f"jax {jax.__version__}, optax {optax.__version__}, adamx {adamx.__version__}"
    )


if __name__ == "__main__":
    main()
