"""The rows of a benchmark: one per case and peer."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple, Self


class Spread(NamedTuple):
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def overlaps(self, other: Spread) -> bool:
        """True where the two ranges between the quartiles meet."""
        return self.low <= other.high and other.low <= self.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement.  What was not measured is None."""

    suite: str
    shape: str  # what is stepped over, in words: "one leaf", "GPT-2 small, 148 leaves"
    size: int  # the number on the x axis: parameters, leaves, ids or devices
    case: str  # the recipe: "clip + adamw"
    peer: str
    timing: str = "each waited for"  # how steps were timed, a name of `measuring`
    seconds: Spread | None = None  # of one step (of lowering and compiling in `compile`)
    adamx_ratio: Spread | None = None  # adamx's seconds over these, of paired repetitions
    bytes_moved: int | None = None  # the least a step can read and write
    persistent_bytes: int | None = None  # parameters and state
    temporary_bytes: int | None = None  # what XLA allocates besides
    extra: dict[str, float] = dataclasses.field(default_factory=dict)  # named, in plain units

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The key of the same row in another run."""
        return (self.suite, self.shape, self.size, self.case, self.peer, self.timing)

    @property
    def bytes_per_second(self) -> float:
        """The least traffic of the step over the time it took; NaN where either is unknown."""
        if self.seconds is None or self.bytes_moved is None:
            return math.nan
        return self.bytes_moved / self.seconds.median

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        spreads = {
            name: None if stored[name] is None else Spread(*stored[name])
            for name in ("seconds", "adamx_ratio")
        }
        return cls(**{**stored, **spreads})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
