"""Numbers as people read them."""

from __future__ import annotations

import math

from benchmarks.rows import Row, Spread

NOTHING = "-"


def seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value:.0f} s"
    return f"{value / 1e-9:.0f} ns"


def duration(spread: Spread | None) -> str:
    """The median and half of the range between the quartiles in percent of it."""
    if spread is None:
        return NOTHING
    half = 50.0 * (spread.high - spread.low) / spread.median
    return f"{seconds(spread.median)} ± {half:.0f} %"


def ratio(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    digits = 2 if spread.median >= 0.1 else 3
    median, low, high = (f"{x:.{digits}f}" for x in spread)
    return f"{median} [{low}, {high}]"


def size_in_bytes(value: float | None) -> str:
    if value is None:
        return NOTHING
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def bandwidth(row: Row, share: float) -> tuple[str, str]:
    """GB/s and the share of the limit."""
    speed = row.bytes_per_second
    if math.isnan(speed):
        return NOTHING, NOTHING
    return f"{speed / 1e9:.3g}", f"{100 * share:.0f} %"


def extras(row: Row) -> str:
    """The named numbers that only some suites have."""
    return ", ".join(f"{name} {value:,.3g}" for name, value in row.extra.items())
