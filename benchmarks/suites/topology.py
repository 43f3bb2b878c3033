"""Seven billion parameters on 8, 64 and 256 chips of a TPU, compiled without one.

Bytes are per chip, those of a collective of its larger side: what is reduced, what is gathered.
"""

from __future__ import annotations

from benchmarks.ahead_of_time import in_a_process, why_not
from benchmarks.bench import Bench, Case
from benchmarks.many_chips import PLACEMENTS, SEVEN_BILLION, row
from benchmarks.options import Options
from benchmarks.rows import Row

TOPOLOGIES = ("v6e:2x4", "v6e:8x8", "v6e:16x16")
QUICK_TOPOLOGIES = ("v6e:2x4",)
SIZES = SEVEN_BILLION


def _case(topology: str, placement: str) -> Case:
    def run(bench: Bench) -> list[Row]:
        if reason := why_not():
            bench.skip(f"topology: {reason}")
        if reason or not bench.available("adamx"):
            return []
        with in_a_process() as process:
            return [process.submit(row, topology, placement, SIZES).result()]

    return Case(f"{placement}, {topology}", run)


def cases(options: Options) -> list[Case]:
    topologies = QUICK_TOPOLOGIES if options.quick else TOPOLOGIES
    return [_case(topology, placement) for topology in topologies for placement in PLACEMENTS]
