"""The hardware and the versions a run was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import jax

from benchmarks.cores import cores
from benchmarks.peers import PEERS
from benchmarks.peers.base import version


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def hardware() -> dict[str, str]:
    """The text in front of the numbers."""
    return {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processor": _processor(),
        "cores": str(cores()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def versions() -> dict[str, str]:
    """Of Python, JAX and the installed peers."""
    packages = ["jax", "jaxlib", *dict.fromkeys(peer.package for peer in PEERS.values())]
    found = {package: version(package) for package in packages}
    return {
        "python": platform.python_version(),
        **{package: number for package, number in found.items() if number is not None},
    }
