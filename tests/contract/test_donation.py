"""A donated step reuses every buffer of the parameters and of the state.

Training then holds one copy of both instead of two.  A buffer that appears twice in a state, or
that a state shares with the parameters, cannot be donated.
"""

import jax

from tests.contract.support import tree
from tests.contract.table import Case, every_case


@every_case
def test_every_donated_buffer_is_reused(case: Case) -> None:
    tx = case.make()
    # What a step only writes, a metric of the last one, is donated too.
    jitted = jax.jit(tx.step, donate_argnums=(1, 2), keep_unused=True)
    step = jitted.lower(tree(), tx.init(tree()), tree()).compile()
    for init in (tx.init, jax.jit(tx.init)):
        params = tree()
        state = init(params)
        donated = jax.tree.leaves((state, params))
        reused = step.memory_analysis().alias_size_in_bytes
        assert reused == sum(leaf.nbytes for leaf in donated)
        step(tree(seed=1), state, params)
        assert all(leaf.is_deleted() for leaf in donated)
