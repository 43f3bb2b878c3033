"""What the tests of this folder are marked with."""

import pytest

from benchmarks.ahead_of_time import why_not

on_tpus = [
    pytest.mark.tpu,
    pytest.mark.skipif(why_not() is not None, reason=f"compiles for TPUs: {why_not()}"),
]
# A generation that is common, and a newer one.
every_generation = pytest.mark.parametrize("topology", ["v5e:2x4", "v6e:2x4"])
