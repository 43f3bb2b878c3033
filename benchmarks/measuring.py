"""Timing: peers take turns, so that what disturbs the machine disturbs them all.

On CPU every step is waited for.  An accelerator works while the host goes on, so there steps are
timed in two ways: one dispatched after the other, with one wait at the end, as a training loop does
that looks at the loss now and then; and in a loop inside one program, which leaves out the host.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from benchmarks.peers.base import Prepared
from benchmarks.rows import Spread

# Threads of one library still spin for a moment after its step; the next one starts after that.
_PAUSE = 1e-3
_LEAST_ROUNDS = 3
_WARM_UP = 2

Step = Callable[[], object]
"""Takes one step and returns when it is finished."""


EACH, PIPELINED, ONE_PROGRAM = "each waited for", "pipelined", "in one program"
# Steps behind one wait.
STEPS = 20


def timings(platform: str) -> tuple[str, ...]:
    """How steps are timed there."""
    return (EACH,) if platform == "cpu" else (PIPELINED, ONE_PROGRAM)


def steps_of(prepared: Prepared, timing: str) -> tuple[Step, int] | None:
    """The timed function, and how many steps it takes; None where a library has no such thing."""
    dispatch, wait, in_one_program = prepared.dispatch, prepared.wait, prepared.in_one_program
    if timing == ONE_PROGRAM and in_one_program is None:
        return None
    count = 1 if timing == EACH else STEPS

    def step() -> None:
        if timing == ONE_PROGRAM:
            assert in_one_program is not None
            in_one_program(count)
        else:
            for _ in range(count):
                dispatch()
        wait()

    return step, count


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

    def __init__(self, bytes_in_array: int, steps: int = 1) -> None:
        self._steps = steps  # behind one wait, as those that are held against it
        self._moved = 2 * bytes_in_array * steps
        self._step = jax.jit(lambda x: x + 1.0, donate_argnums=0)
        self._array = self._step(jnp.zeros(bytes_in_array // 4))
        self.samples: list[float] = []  # bytes per second, read and written

    def measure(self) -> None:
        """Three more samples."""
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(self._steps):
                self._array = self._step(self._array)
            self._array.block_until_ready()
            self.samples.append(self._moved / (time.perf_counter() - start))
