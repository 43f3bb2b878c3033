"""`python -m benchmarks --suite topology`, with few parameters."""

from collections.abc import Callable

import pytest

from benchmarks.ahead_of_time import Program
from benchmarks.many_chips import PLACEMENTS, ZERO1, Sizes, row
from tests.tpu.support import on_tpus

pytestmark = on_tpus
SIZES = Sizes(layers=2, width=256, hidden=512, vocabulary=1024)
# Of what is sharded over the four chips of `model`, and of the norms.
SHARDED = 2 * (4 * 256**2 + 3 * 256 * 512) + 2 * 256 * 1024
NORMS = 5 * 256


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_bytes_and_collectives_per_chip(compiled: Callable[..., Program], placement: str) -> None:
    found = compiled(row, "v6e:2x4", placement, SIZES)
    assert (found.size, found.extra["of arguments updated in place"]) == (8, 1.0)
    params = 4 * (SHARDED // 4 + NORMS)
    # Two moments, in two shares in ZeRO-1; and a count.
    state = 2 * params // (2 if placement == ZERO1 else 1) + 4
    assert found.persistent_bytes == params + state
    assert found.extra["GB of state"] == state / 1e9
    gathered = found.extra.get("GB in all-gather", 0.0)
    assert gathered == pytest.approx(params / 1e9 if placement == ZERO1 else 0.0)
    assert ("GB in reduce-scatter" in found.extra) == (placement == ZERO1)
