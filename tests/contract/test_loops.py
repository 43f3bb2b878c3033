"""The step goes into `lax.scan` and `vmap`, and compiles once.

These are the loops that people write; a step that cannot enter one forces them to rewrite it.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from tests.contract.support import step, tree
from tests.contract.table import Case, cases

STEPS = 3


def stack(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def gradients() -> list[Any]:
    return [tree(seed=seed) for seed in range(1, STEPS + 1)]


def looped(case: Case, params: Any, grads: list[Any]) -> Any:
    """The parameters and the state after a plain Python loop over the compiled step."""
    carry = params, case.make().init(params)
    for g in grads:
        carry = step(case)(g, carry[1], carry[0])
    return carry


@cases("compiles a scan")
def test_scan_equals_the_loop(case: Case) -> None:
    tx, params = case.make(), tree()

    def body(carry: Any, g: Any) -> Any:
        return tx.step(g, carry[1], carry[0]), None

    carry, _ = jax.jit(lambda *carry: jax.lax.scan(body, carry, stack(*gradients())))(
        params, tx.init(params)
    )
    chex.assert_trees_all_close(carry, looped(case, params, gradients()), rtol=1e-5, atol=1e-7)


@cases("compiles a step")
def test_second_step_is_not_traced_again(case: Case) -> None:
    compiled, params = step(case), tree()
    state = case.make().init(params)
    params, state = compiled(tree(seed=1), state, params)
    traces = compiled.traces
    for seed in (2, 3):
        params, state = compiled(tree(seed=seed), state, params)
    assert compiled.traces == traces


@cases("compiles vmap of a step")
def test_vmap_over_models_equals_the_loop(case: Case) -> None:
    """Also where a transformation couples the leaves: each model has its own norms."""
    tx, models = case.make(), [tree(seed=seed) for seed in (4, 5)]
    grads = [tree(seed=seed) for seed in (6, 7)]
    params = stack(*models)

    def train(grads: Any, params: Any) -> Any:
        return tx.step(grads, tx.init(params), params)

    together = jax.jit(jax.vmap(train))(stack(*grads), params)
    apart = [looped(case, p, [g]) for p, g in zip(models, grads, strict=True)]
    chex.assert_trees_all_close(together, stack(*apart), rtol=1e-5, atol=1e-7)
