"""Every public transformation compiles for TPUs, and its step takes the place of its arguments."""

from collections.abc import Callable

from benchmarks.ahead_of_time import Program
from tests.contract.table import Case, every_case
from tests.tpu import programs
from tests.tpu.support import on_tpus

pytestmark = on_tpus


@every_case
def test_a_step_in_place(compiled: Callable[..., Program], case: Case) -> None:
    program = compiled(programs.contract_case, "v5e:2x4", case.id)
    assert program.aliased == program.in_place
