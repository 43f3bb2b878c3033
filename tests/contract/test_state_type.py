"""A step changes the numbers of a state, never its structure, shapes, dtypes or weak types.

Otherwise `lax.scan` refuses the step, `jit` compiles it twice and a donated state finds no place.
"""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.contract.support import DTYPES, abstract, precision, tree
from tests.contract.table import Case, every_case

dtypes = pytest.mark.parametrize(("param", "grad"), DTYPES, ids=lambda name: name)


def abstract_step(case: Case, param: Any, grad: Any) -> tuple[Any, Any, Any]:
    """The types of the updates and of the state before and after, computed from types alone."""
    tx = case.make()
    with precision(param, grad):
        params, grads = abstract(tree(param)), abstract(tree(grad))
        before = jax.eval_shape(tx.init, params)
        updates, after = jax.eval_shape(tx.update, grads, before, params)
    return updates, before, after


@dtypes
@every_case
def test_state_keeps_its_type(case: Case, param: str, grad: str) -> None:
    _, before, after = abstract_step(case, param, grad)
    assert before == after


@dtypes
@every_case
def test_updates_come_in_the_declared_dtype(case: Case, param: str, grad: str) -> None:
    updates, _, _ = abstract_step(case, param, grad)
    wider = jnp.promote_types(param, grad).name
    assert updates == tree_of_types(
        {"params": param, "grads": grad, "wider": wider}[case.updates_in]
    )


def tree_of_types(dtype: str) -> Any:
    with precision(dtype):
        return abstract(tree(dtype))
