"""A step changes the numbers of a state, never its structure, shapes, dtypes or weak types.

Otherwise `lax.scan` refuses the step, `jit` compiles it twice and a donated state finds no place.
"""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.contract.support import DTYPES, abstract, precision, tree
from tests.contract.table import ARCHETYPES, CASES, Case, marks_of

# Wider gradients are where a state or an update most easily changes its dtype.
WIDER = ("bfloat16", "float32")
# And here an update in the wider dtype is another than one in the gradient's.
NARROWER = ("float32", "bfloat16")


def dtypes_of(case: Case) -> Any:
    """All pairs for the archetypes, and those that can tell something apart for the others."""
    if case.id in ARCHETYPES:
        return DTYPES
    return [WIDER, NARROWER] if case.updates_in == "wider" else [WIDER]


ROWS = [
    pytest.param(case, *dtypes, id=f"{case}-{dtypes[0]}-{dtypes[1]}", marks=marks_of(case))
    for case in CASES
    for dtypes in dtypes_of(case)
]


@pytest.mark.parametrize(("case", "param", "grad"), ROWS)
def test_state_keeps_its_type_and_updates_have_the_declared_one(
    case: Case, param: str, grad: str
) -> None:
    """Computed from types alone."""
    tx = case.make()
    with precision(param, grad):
        params, grads = abstract(tree(param)), abstract(tree(grad))
        before = jax.eval_shape(tx.init, params)
        updates, after = jax.eval_shape(tx.update, grads, before, params)
    assert before == after
    wider = jnp.promote_types(param, grad).name
    assert updates == tree_of_types(
        {"params": param, "grads": grad, "wider": wider}[case.updates_in]
    )


def tree_of_types(dtype: str) -> Any:
    with precision(dtype):
        return abstract(tree(dtype))
