"""Several processes on this machine, which end together."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from adamx.demo.exits import Exit
from adamx.demo.options import PROG, Options

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_REPORT = 60
# In the environment of the processes that `run` starts.
_STARTED = "ADAMX_DEMO_STARTED"
# With these a process has said why it ended.
_TOLD = (Exit.DIVERGED, Exit.MISUSED, Exit.NOT_RESUMED, Exit.FILE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(options: Options) -> list[str]:
    """The command line of a run with these options."""
    words = [sys.executable, "-m", "adamx"]
    for name, value in dataclasses.asdict(options).items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words


def was_started_by_another() -> bool:
    """Whether another process has started this one by `run`."""
    return _STARTED in os.environ


@contextlib.contextmanager
def _started(options: Options) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One process for each number; whatever happens, none is left behind."""
    coordinator = f"127.0.0.1:{_free_port()}"
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(options.processes):
            one = dataclasses.replace(options, coordinator=coordinator, process_id=number)
            # The first process speaks for all.
            heard = subprocess.DEVNULL if number else None
            environment = {**os.environ, _STARTED: "yes"}
            running.append(subprocess.Popen(command(one), stderr=heard, env=environment))
        yield running
    finally:
        # A signal that they can answer would have each of them tell how it ended.
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _first_to_fail(running: list[subprocess.Popen[bytes]]) -> int | None:
    """The number of a process that did not end well, or None when all did."""
    while True:
        statuses = [process.poll() for process in running]
        failed = [i for i, status in enumerate(statuses) if status]
        if failed:
            return failed[0]
        if None not in statuses:
            return None
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def run(options: Options) -> int:
    """Runs every process here, and returns the exit status of one that did not end well.

    If one is lost, the others are stopped: they would wait for it.
    """
    with _started(options) as running:
        failed = _first_to_fail(running)
        if failed is None:
            return Exit.DONE
        status = running[failed].returncode
        if status in _TOLD:
            # The first comes to the same end, and may still be writing the report.
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(_SECONDS_TO_REPORT)
        first = running[0].poll()
    if first in _TOLD:
        return Exit(first)
    print(
        f"{PROG}: process {failed} of {options.processes} was lost (status {status}); the "
        "others were stopped; with --checkpoint-every, go on with --resume",
        file=sys.stderr,
    )
    return Exit.PROCESS_LOST
