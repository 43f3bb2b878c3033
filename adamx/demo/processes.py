"""Several processes on this machine, which end together."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from adamx.demo.options import PROG, Options

LOST = 3  # the exit status when a process was lost
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_STOP = 5


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


@contextlib.contextmanager
def _started(options: Options) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One process for each number; whatever happens, none is left behind."""
    coordinator = f"127.0.0.1:{_free_port()}"
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(options.processes):
            one = dataclasses.replace(options, coordinator=coordinator, process_id=number)
            running.append(subprocess.Popen(command(one)))
        yield running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run(options: Options) -> int:
    """Runs every process here, and returns the exit status of the first that did not end well.

    If one is lost, the others are stopped: they would wait for it.
    """
    with _started(options) as running:
        while True:
            statuses = [process.poll() for process in running]
            failed = [i for i, status in enumerate(statuses) if status]
            if failed:
                break
            if None not in statuses:
                return 0
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    status = statuses[failed[0]]
    if status in (1, 2, 130):  # It has said why.
        return int(status)
    print(
        f"{PROG}: process {failed[0]} of {options.processes} was lost (status {status}); the "
        "others were stopped; with --checkpoint-every, go on with --resume",
        file=sys.stderr,
    )
    return LOST
