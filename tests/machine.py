"""What this machine lacks of what a test asks for, so that the test is left out with the reason."""

from __future__ import annotations

import re

import jax
import pytest

from adamx.sharding.memory import HOST
from tests.versions import host_memory, too_old

DEVICES = 8  # that every machine without an accelerator has, by `conftest.py`


def missing(item: pytest.Item) -> str | None:
    """Why the test cannot run here; None if it can.

    Its marks `needs_jax` say from which version on what it asserts is so.

    A test says what it asks for by its marks: `eight_devices`, for meshes and `pmap`, and
    `cpu_program`, where it speaks of what XLA:CPU makes of a step.  An example in a docstring has
    no marks: one with a mesh or `pmap` asks for the devices.
    """
    if item.get_closest_marker("cpu_program") and jax.default_backend() != "cpu":
        return f"it is about the programs of XLA:CPU, and this is {jax.default_backend()}"
    example = getattr(item, "dtest", None)
    needs = list(item.iter_markers("needs_jax"))
    if example is not None and HOST in example.docstring:
        needs.append(host_memory.mark)
    for mark in needs:
        if reason := too_old(mark):
            return reason
    maps = example is not None and re.search(r"make_mesh\(|pmap\(", example.docstring)
    if (maps or item.get_closest_marker("eight_devices")) and jax.device_count() < DEVICES:
        return f"it asks for {DEVICES} devices, and there is {jax.device_count()}"
    return None
