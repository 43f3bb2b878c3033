"""What every test needs: eight devices on every machine, and the choice of tests and programs.

`pytest` runs in minutes; `pytest --full` also runs what is marked with `full("why")`.  With
`--optimized` all programs are compiled as for users, which takes twice as long.
"""

import gc
from typing import Any

import jax
import pytest

from tests.compiling import compile_quickly
from tests.machine import DEVICES, missing

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which tests, and which programs."""
    parser.addoption("--full", action="store_true", help="also run the tests marked with `full`")
    parser.addoption("--optimized", action="store_true", help="let XLA optimize what tests compile")


def pytest_configure(config: pytest.Config) -> None:
    """Divides the CPU up before any test asks for another number of devices."""
    if not config.getoption("optimized"):
        compile_quickly()
    jax.config.update("jax_num_cpu_devices", DEVICES)
    jax.devices()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked with `full`, unless asked for."""
    for item in items:
        for mark in item.iter_markers("full"):
            if not (len(mark.args) == 1 and isinstance(mark.args[0], str)) or mark.kwargs:
                raise pytest.UsageError(f"{item.nodeid}: `full` takes one text, the reason")
    if config.getoption("full"):
        return
    full = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.stash[LEFT_OUT] = len(full)
    if full:
        config.hook.pytest_deselected(items=full)


def pytest_collection_finish() -> None:
    """Modules and tests stay: garbage collection need not go through them again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist, where tests are collected, tells the process that prints the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker collects all tests, so that one of them knows the number."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says how much of the suite did not run."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} tests left out; `pytest --full` runs them too")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """An accelerator is one device, and its programs are not those of a CPU."""
    if reason := missing(item):
        pytest.skip(reason)
