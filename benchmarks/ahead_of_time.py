"""Programs compiled for TPUs that are not there, and what the compiler says about them.

`libtpu` holds the whole compiler, which needs the description of a topology only.  JAX reads the
environment when it starts, so such programs belong in a process of their own: `in_a_process`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    # No questions to a server that only machines with TPUs have.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    # Compiling takes no TPU away from anyone.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def why_not() -> str | None:
    """Why nothing can be compiled for TPUs here; None if it can."""
    if find_spec("libtpu") is None:
        return "libtpu is not installed; pip install -e '.[tpu]'"
    return None


def _prepare() -> None:
    os.environ.update(ENVIRONMENT)


@contextlib.contextmanager
def in_a_process() -> Iterator[ProcessPoolExecutor]:
    """A process of its own in which JAX can compile for TPUs, and that ends with the context."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_prepare) as process:
        yield process


class Collective(NamedTuple):
    """One exchange between chips, and its bytes."""

    kind: str  # "all-reduce", "reduce-scatter", "all-gather", ...
    shapes: tuple[str, ...]  # of the larger side: what is gathered, what is reduced
    bytes: int


class Program(NamedTuple):
    """The compiler's report about a program, per chip."""

    argument_bytes: int
    temporary_bytes: int
    bytes_accessed: float
    in_place: int  # arguments that a result should take the place of
    aliased: int  # arguments that one does
    largest_copy: int  # bytes of the largest array that is laid out anew
    collectives: tuple[Collective, ...]


def devices(topology: str) -> list[Any]:
    """The chips of a topology such as "v5e:2x4"."""
    from jax.experimental import topologies

    return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)


def compiled(lowered: jax.stages.Lowered, in_place: Any) -> Program:
    """Compiles a program that should update a tree in place; reads what the compiler says."""
    import jax

    program: Any = lowered.compile()
    memory, text = program.memory_analysis(), program.as_text()
    cost = program.cost_analysis() or {}
    header = text.split("\n", 1)[0]
    return Program(
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        bytes_accessed=cost.get("bytes accessed", float("nan")),
        in_place=len(jax.tree.leaves(in_place)),
        aliased=len(re.findall(r"(?:may|must)-alias", header)),
        largest_copy=max((_bytes(*found) for found in _COPY.findall(text)), default=0),
        collectives=tuple(collectives(text)),
    )


_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(\S+) \(.*\{$")
_COLLECTIVE = re.compile(
    r"= (?P<result>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|"
    r"collective-permute)(?:-start)?\((?P<operands>[^)]*)\)"
)
_COPY = re.compile(r"= ([a-z]+\d+)\[([\d,]*)\]\S* copy\(")
_SHAPE = re.compile(r"\b([a-z]+\d+)\[([\d,]*)\]")


def collectives(text: str) -> Iterator[Collective]:
    """The collectives of a compiled program's text, in its order.

    A reduce-scatter is an all-reduce of which each chip keeps a share, in a computation of that
    name.
    """
    computation = ""
    for line in text.splitlines():
        if begins := _COMPUTATION.match(line):
            computation = begins[1]
        elif found := _COLLECTIVE.search(line):
            shapes = _SHAPE.findall(found["result"])
            scattered = found["kind"] == "all-reduce" and "reduce-scatter" in computation
            yield Collective(
                "reduce-scatter" if scattered else found["kind"],
                tuple(f"{dtype}[{sizes}]" for dtype, sizes in shapes),
                sum(_bytes(dtype, sizes) for dtype, sizes in shapes),
            )


def _bytes(dtype: str, sizes: str) -> int:
    size = int(re.sub(r"\D", "", dtype)) // 8
    for length in filter(None, sizes.split(",")):
        size *= int(length)
    return size
