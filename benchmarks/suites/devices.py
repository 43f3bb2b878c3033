"""Bytes per device, with the state replicated and with ZeRO-1, on N virtual devices.

Each N needs a process of its own, because JAX fixes the number of devices when it starts.  Bytes
are the compiler's and scale as on N real devices; the time of N virtual devices on one machine does
not, and is not measured.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from benchmarks.bench import Bench, Case
from benchmarks.options import Options
from benchmarks.rows import Row

COUNTS = (1, 2, 4, 8)
QUICK_COUNTS = (1, 4)
_FLAG = "--xla_force_host_platform_device_count"


def _environment(count: int) -> dict[str, str]:
    given = re.sub(rf"{_FLAG}=\d+", "", os.environ.get("XLA_FLAGS", ""))
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{given} {_FLAG}={count}".strip()}


def _case(count: int) -> Case:
    def run(bench: Bench) -> list[Row]:
        if not bench.available("adamx"):
            return []
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.virtual_devices"],
            env=_environment(count),
            capture_output=True,
            text=True,
            check=False,
        )
        if child.returncode:
            raise RuntimeError(f"the process with {count} virtual devices failed:\n{child.stderr}")
        return [Row.from_json(row) for row in json.loads(child.stdout)]

    return Case(f"{count} virtual devices", run)


def cases(options: Options) -> list[Case]:
    return [_case(count) for count in (QUICK_COUNTS if options.quick else COUNTS)]
