"""Eight devices on every machine: the CPU is divided up before any test asks for another number."""

import jax
import pytest

from tests.machine import DEVICES, missing

jax.config.update("jax_num_cpu_devices", DEVICES)
jax.devices()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """An accelerator is one device, and its programs are not those of a CPU."""
    if reason := missing(item):
        pytest.skip(reason)
