"""One process per worker that compiles for TPUs, started when the first test asks for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.ahead_of_time import Program, in_a_process


@pytest.fixture(scope="session")
def compiled() -> Iterator[Callable[..., Program]]:
    """Calls a function of `tests.tpu.programs` where there is a compiler for TPUs."""
    with in_a_process() as process:

        def call(program: Callable[..., Program], *args: Any) -> Program:
            return process.submit(program, *args).result()

        yield call
