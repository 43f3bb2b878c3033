"""16-bit parameters go where float32 ones go.

A step that is rounded away before it is added trains nothing, without any error.
"""

from typing import Any

import jax
import numpy as np

from tests.contract.support import tree
from tests.contract.table import Case, cases

STEPS = 3
# What rounding to nearest may change in all steps, as a share of the largest parameter; a step of
# most rows is more.
TOLERANCE = STEPS * 2.0**-8


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
        atol = TOLERANCE * np.abs(wide[name]).max()
        np.testing.assert_allclose(np.float32(narrow[name]), wide[name], atol=atol, rtol=0.01)
