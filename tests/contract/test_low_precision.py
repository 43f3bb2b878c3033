"""16-bit parameters go where float32 ones go.

A step that is rounded away before it is added trains nothing, without any error.
"""

from typing import Any

import jax
import numpy as np

from tests.contract.support import tree
from tests.contract.table import Case, cases

STEPS = 3
# A few roundings of numbers up to 4; a step of most rows is 0.05 or more.
TOLERANCE = 0.02


@cases("compiles a step twice")
def test_bfloat16_parameters_move_as_float32_ones(case: Case) -> None:
    tx = case.make()
    step = jax.jit(tx.step)

    def train(dtype: str) -> Any:
        params = tree("bfloat16")
        params = jax.tree.map(lambda p: p.astype(dtype), params)
        state = tx.init(params)
        for seed in range(STEPS):
            params, state = step(tree(dtype, seed), state, params)
        return params

    wide, narrow = train("float32"), train("bfloat16")
    for name in wide:
        np.testing.assert_allclose(np.float32(narrow[name]), wide[name], atol=TOLERANCE, rtol=0.01)
