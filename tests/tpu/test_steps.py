"""What the compiler for TPUs makes of a step: nothing beside what the arithmetic asks for.

Bytes are those of float32, per parameter.  `clip` reads the gradient once more, for its norm; the
compiler brings it into fast memory for both readers, and counts that copy as 16 bytes.  A guard
reads it to see whether it is finite.
"""

from collections.abc import Callable

import pytest

from benchmarks.ahead_of_time import Program
from tests.tpu import programs
from tests.tpu.support import every_generation, on_tpus

pytestmark = on_tpus
PREFETCH = 16
# gradient, moments and parameter read, moments and parameter written; an average read and written.
BYTES = {
    "adamw": 4 * 4 + 3 * 4,
    "adamw + ema": 4 * 4 + 3 * 4 + 2 * 4,
    "clip + adamw": 4 * 4 + 3 * 4 + 4 + PREFETCH,
    "guard(clip + adamw + ema)": 4 * 4 + 3 * 4 + 2 * 4 + 4 + 4 + PREFETCH,
}
# Scratch of reductions and scatters; the leaf has 64 times as much, and the table 256 times.
SCRATCH = 2**20


@every_generation
@pytest.mark.parametrize("optimizer", BYTES)
def test_a_large_leaf(compiled: Callable[..., Program], topology: str, optimizer: str) -> None:
    program = compiled(programs.one_leaf, topology, optimizer)
    assert program.aliased == program.in_place
    assert program.temporary_bytes <= (SCRATCH if "clip" in optimizer else 0)
    assert program.bytes_accessed / programs.N**2 == pytest.approx(BYTES[optimizer], abs=0.05)
    assert program.collectives == ()


# Bytes per parameter in fewer bits: gradient, state and parameter read, both written.
FEWER_BITS = {
    ("pair", "float32"): 3 * 4 + 2 * 2,
    ("bfloat16 moments", "float32"): 3 * 4 + 4 * 2,
    ("pair, bfloat16 parameters", "bfloat16"): 3 * 2 + 2 * 2,
}


@every_generation
@pytest.mark.parametrize(("optimizer", "dtype"), FEWER_BITS)
def test_a_large_leaf_in_fewer_bits(
    compiled: Callable[..., Program], topology: str, optimizer: str, dtype: str
) -> None:
    program = compiled(programs.one_leaf, topology, optimizer, dtype)
    bound = FEWER_BITS[optimizer, dtype]
    assert program.aliased == program.in_place
    assert program.temporary_bytes <= SCRATCH
    assert program.bytes_accessed / programs.N**2 == pytest.approx(bound, abs=0.1)
    assert program.collectives == ()


# Blocks are along the lanes of a TPU, so that the compiler moves them, and bytes are packed
# otherwise than words, so that it goes through a leaf twice.  Temporaries and bytes accessed for
# each parameter, of the worse generation: docs/guides/memory.md says them.
MOVED = {
    ("pair in blocks", "float32"): (10.1, 95),
    ("pair, parameters of 24 bits", "bfloat16"): (0.1, 40),
}


@every_generation
@pytest.mark.parametrize(("optimizer", "dtype"), MOVED)
def test_a_large_leaf_that_is_moved(
    compiled: Callable[..., Program], topology: str, optimizer: str, dtype: str
) -> None:
    program = compiled(programs.one_leaf, topology, optimizer, dtype)
    temporary, accessed = MOVED[optimizer, dtype]
    assert program.aliased == program.in_place
    assert program.temporary_bytes <= temporary * programs.N**2
    assert program.bytes_accessed <= accessed * programs.N**2
    assert program.collectives == ()


# For v6e `exact` compiles in 20 s at times, and in minutes at others.
@pytest.mark.parametrize(
    ("topology", "mode"), [("v5e:2x4", "lazy"), ("v6e:2x4", "lazy"), ("v5e:2x4", "exact")]
)
def test_rows_of_a_table(compiled: Callable[..., Program], topology: str, mode: str) -> None:
    """Rows are read and written where they are: nothing of the size of the table is made."""
    program = compiled(programs.rows_of_a_table, topology, mode)
    assert program.aliased == program.in_place
    assert program.temporary_bytes <= 2 * SCRATCH < programs.TABLE / 4
    assert program.largest_copy < programs.TABLE / 4


@every_generation
def test_the_recipe_of_the_readme(compiled: Callable[..., Program], topology: str) -> None:
    program = compiled(programs.readme, topology)
    assert program.aliased == program.in_place
    assert program.temporary_bytes <= 2 * programs.MATRIX + SCRATCH  # The gradients.
    assert program.collectives == ()


@every_generation
def test_zero1_on_eight_chips(compiled: Callable[..., Program], topology: str) -> None:
    """Gradients are added up into shares, new parameters gathered, and the rest are scalars."""
    program = compiled(programs.zero1, topology)
    assert program.aliased == program.in_place
    assert program.temporary_bytes <= 2 * programs.MATRIX + SCRATCH
    matrix, bias = programs.MATRIX, programs.MATRIX // programs.WIDTH
    moved: dict[str, list[int]] = {}
    for collective in program.collectives:
        moved.setdefault(collective.kind, []).append(collective.bytes)
    assert sorted(moved.pop("reduce-scatter")) == [matrix, matrix]
    assert sorted(moved.pop("all-gather")) == [bias, matrix, matrix]
    # The bias's gradient, and the loss and the norm together.
    assert max(moved.pop("all-reduce")) == bias
    assert not moved
