"""flax takes our transformations: `TrainState` as a static field, `nnx.Optimizer` as they are.

Both give what a plain loop gives.
"""

from typing import Any

import chex
import jax
import optax
from flax import nnx
from flax.training.train_state import TrainState

from tests.contract.support import Compiled, step, tree
from tests.contract.table import Case, cases, every_case

SEEDS = (1, 2)


def looped(case: Case) -> Any:
    params = tree()
    state = case.make().init(params)
    for seed in SEEDS:
        params, state = step(case)(tree(seed=seed), state, params)
    return params


@cases("three loops of flax")
def test_train_state(case: Case) -> None:
    state = TrainState.create(apply_fn=None, params=tree(), tx=case.make())
    for seed in SEEDS:
        state = state.apply_gradients(grads=tree(seed=seed))
    chex.assert_trees_all_close(state.params, looped(case), rtol=1e-5, atol=1e-6)


@every_case
def test_equal_train_states_share_one_trace(case: Case) -> None:
    """`tx` is part of the type of a `TrainState`: `jit` compares it."""
    compiled = Compiled(lambda state, grads: state.apply_gradients(grads=grads))
    tx = case.make()
    for same in (tx, tx.replace()):
        state = TrainState.create(apply_fn=None, params=tree(), tx=same)
        compiled.call.trace(state, tree(seed=1))
    assert compiled.traces == 1


class Model(nnx.Module):
    def __init__(self) -> None:
        self.b = nnx.Param(tree()["b"])
        self.w = nnx.Param(tree()["w"])


@cases("three loops of flax", any_container=True)
def test_nnx_optimizer(case: Case) -> None:
    """nnx wants no arrays in `tx`; one that holds any goes in as the pair of its functions."""
    tx: Any = case.make()
    if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tx)):
        tx = optax.GradientTransformation(*tx)
    model = Model()
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for seed in SEEDS:
        grads = nnx.state(model, nnx.Param)
        nnx.replace_by_pure_dict(grads, tree(seed=seed))
        optimizer.update(model, grads)
    trained = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    chex.assert_trees_all_close(trained, looped(case), rtol=1e-5, atol=1e-6)
