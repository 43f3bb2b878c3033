"""A donated step reuses every buffer of the parameters and of the state.

Training then holds one copy of both instead of two.  A buffer that appears twice in a state, or
that a state shares with the parameters, cannot be donated.
"""

from typing import Any

import jax

from tests.contract.support import tree
from tests.contract.table import Case, cases


def donating(tx: Any) -> Any:
    """What a step only writes, a metric of the last one, is donated too."""
    return jax.jit(tx.step, donate_argnums=(1, 2), keep_unused=True)


@cases("compiles a step")
def test_every_buffer_can_be_donated(case: Case) -> None:
    """One that cannot be used makes a warning, which is an error in tests."""
    tx = case.make()
    step = donating(tx)
    for init in (tx.init, jax.jit(tx.init)):
        params = tree()
        state = init(params)
        step(tree(seed=1), state, params)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state, params)))


@cases("compiles a step as for users")
def test_every_donated_buffer_is_reused(case: Case) -> None:
    tx, params = case.make(), tree()
    state = tx.init(params)
    memory = donating(tx).lower(params, state, params).compile().memory_analysis()
    donated = jax.tree.leaves((state, params))
    assert memory.alias_size_in_bytes == sum(leaf.nbytes for leaf in donated)
