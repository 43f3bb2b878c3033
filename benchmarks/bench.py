"""The base of every case: the peers at hand, turns to take, and the limit they are held against."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from benchmarks.measuring import (
    EACH,
    STEPS,
    CopyBandwidth,
    paired_ratio,
    steps_of,
    take_turns,
    timings,
)
from benchmarks.models import Model
from benchmarks.options import Options
from benchmarks.peers import PEERS
from benchmarks.peers.base import Peer, Prepared, Unsupported, version
from benchmarks.recipes import Recipe
from benchmarks.rows import Row, Spread

OURS = "adamx"


class Case(NamedTuple):
    """One comparison: its name for the progress bar, and how to make it."""

    label: str
    run: Callable[[Bench], list[Row]]


class Bench:
    """One run: options, installed peers, the copy bandwidth, and what had to be left out."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.order = random.Random(options.seed)
        self.skipped: dict[str, None] = {}  # ordered, each reason once
        self.peers: list[Peer] = []
        for peer in (PEERS[name] for name in options.peers):
            if version(peer.package) is None:
                self.skip(f"{peer.name}: {peer.package} is not installed")
            else:
                self.peers.append(peer)
        self.timings = timings(jax.default_backend())
        each = self.timings == (EACH,)
        self.copy = CopyBandwidth(1 << 27, 1) if each else CopyBandwidth(1 << 30, STEPS)

    def skip(self, reason: str) -> None:
        """Notes what is left out and why."""
        self.skipped[reason] = None

    def available(self, package: str) -> bool:
        """Whether a peer of this package takes part."""
        return any(peer.package == package for peer in self.peers)

    def race(
        self,
        suite: str,
        shape: str,
        size: int,
        case: str,
        bytes_moved: int | None,
        builders: Mapping[str, Callable[[], Prepared]],
        reference: str = OURS,
    ) -> list[Row]:
        """Builds every step, lets them take turns, and makes a row of each, per way of timing.

        The ratios are those of `reference`'s time over each one's.
        """
        prepared = {}
        for name, build in builders.items():
            try:
                prepared[name] = build()
            except Unsupported as reason:
                self.skip(str(reason))
        rows = []
        for timing in self.timings:
            seconds = self._seconds(prepared, timing)
            ours = seconds.get(reference)
            rows += [
                Row(
                    suite=suite,
                    shape=shape,
                    size=size,
                    case=case,
                    peer=name,
                    timing=timing,
                    seconds=Spread.of(of_peer),
                    adamx_ratio=paired_ratio(ours, of_peer)
                    if ours is not None and name != reference
                    else None,
                    bytes_moved=bytes_moved,
                    persistent_bytes=prepared[name].memory.persistent,
                    temporary_bytes=prepared[name].memory.temporary,
                )
                for name, of_peer in seconds.items()
            ]
        return rows

    def _seconds(self, prepared: Mapping[str, Prepared], timing: str) -> dict[str, list[float]]:
        """Seconds of one step in every round, of those that can be timed in this way."""
        steps, count = {}, 1
        for name, one in prepared.items():
            found = steps_of(one, timing)
            if found is None:
                self.skip(f"{name}: its steps cannot be timed {timing}")
            else:
                steps[name], count = found
        self.copy.measure()
        taken = take_turns(steps, self.options.rounds, self.options.seconds_per_case, self.order)
        return {name: [t / count for t in seconds] for name, seconds in taken.items()}

    def race_peers(self, suite: str, model: Model, recipe: Recipe) -> list[Row]:
        """All peers on one recipe and one model."""

        def builder(peer: Peer) -> Callable[[], Prepared]:
            return lambda: peer.prepare(recipe, model, self.options.seed)

        return self.race(
            suite,
            model.shape,
            model.parameters,
            recipe.name,
            recipe.bytes_per_parameter * model.parameters,
            {peer.name: builder(peer) for peer in self.peers},
        )
