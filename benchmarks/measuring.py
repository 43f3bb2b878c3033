"""Timing: peers take turns, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from benchmarks.rows import Spread

# Threads of one library still spin for a moment after its step; the next one starts after that.
_PAUSE = 1e-3
_LEAST_ROUNDS = 3
_WARM_UP = 2

Step = Callable[[], object]
"""Takes one step and returns when it is finished."""


def _timed(step: Step) -> float:
    time.sleep(_PAUSE)
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def take_turns(
    steps: Mapping[str, Step],
    rounds: int,
    seconds: float,
    order: random.Random,
    warm_up: int = _WARM_UP,
) -> dict[str, list[float]]:
    """Seconds of every step in every round, in an order drawn anew for each round.

    Ends after `rounds`, or once `seconds` are over and three rounds are done.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for step in list(steps.values()) * warm_up:
        step()
    gc.collect()
    gc.disable()
    try:
        deadline = time.perf_counter() + seconds
        for done in range(rounds):
            if done >= _LEAST_ROUNDS and time.perf_counter() > deadline:
                break
            order.shuffle(names)
            for name in names:
                taken[name].append(_timed(steps[name]))
    finally:
        gc.enable()
    return taken


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """The spread of the ratios of one round each."""
    return Spread.of([a / b for a, b in zip(numerator, denominator, strict=True)])


class CopyBandwidth:
    """The speed of `x <- x + 1` in place over an array that fits in no cache: the limit.

    Measured before every case, so that it is that of the machine as it was during the run.
    """

    def __init__(self, bytes_in_array: int) -> None:
        self._moved = 2 * bytes_in_array
        self._step = jax.jit(lambda x: x + 1.0, donate_argnums=0)
        self._array = self._step(jnp.zeros(bytes_in_array // 4))
        self.samples: list[float] = []  # bytes per second, read and written

    def measure(self) -> None:
        """Three more samples."""
        for _ in range(3):
            start = time.perf_counter()
            self._array = self._step(self._array).block_until_ready()
            self.samples.append(self._moved / (time.perf_counter() - start))
