"""What differs between versions of JAX for the tests: guarantees that began with one, and names.

A guarantee that holds from a version on is marked with it, and with the reason in words:
`pytest.mark.needs_jax("0.10.2", "why")`.  The tests of older versions leave it out and say so.
"""

from __future__ import annotations

from typing import Any

import jax
import pytest

# In the newest version under `jax` only; up to 0.7 under `jax.experimental` only.
enable_x64: Any = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

# A step that writes in place and stores nothing as large as a gradient.
in_place = pytest.mark.needs_jax(
    "0.10.2", "XLA stores a gradient that two loops read (so it does for optax)"
)
# State in the memory of the host, on a CPU.
host_memory = pytest.mark.needs_jax(
    "0.10.2", "a CPU has no memory `pinned_host` (up to 0.7.0), or XLA cannot place constants there"
)


def too_old(mark: pytest.Mark) -> str | None:
    """Why a test with the mark `needs_jax(version, reason)` cannot run; None if it can."""
    if len(mark.args) != 2 or not all(isinstance(arg, str) for arg in mark.args) or mark.kwargs:
        raise pytest.UsageError(f"`needs_jax` takes a version and a reason, got {mark.args}")
    version, reason = mark.args
    if jax.__version_info__ >= tuple(map(int, version.split("."))):
        return None
    return f"before jax {version}: {reason} (this is {jax.__version__})"
