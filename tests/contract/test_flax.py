"""flax takes our transformations: `TrainState` as a static field, `nnx.Optimizer` as they are.

Both give what a plain loop gives.
"""

from typing import Any

import chex
import flax
import jax
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import adamx
from tests.contract.support import Compiled, step, tree
from tests.contract.table import Case, cases, every_case

SEEDS = (1, 2)
# The newest of it that jax 0.6 has is 0.11.
nnx_state = pytest.mark.skipif(
    tuple(map(int, flax.__version__.split(".")[:2])) < (0, 12),
    reason=f"before 0.12 nnx keeps the state of an optimizer in another form ({flax.__version__})",
)


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


READ = adamx.dynamic_loss_scale(
    adamx.inject_hyperparams(adamx.chain(adamx.adam(0.1), adamx.ema_params(0.9)))
)
EXACT = adamx.sparse.adam(0.1, {"w": "exact"})
READERS: dict[str, Any] = {
    "eval_params": adamx.eval_params,
    "metrics": lambda state, params: adamx.metrics(state),
    "get_hyperparam": lambda state, params: adamx.get_hyperparam(state, "learning_rate"),
    "get_learning_rate": lambda state, params: adamx.get_learning_rate(state, READ),
    "loss_scale": lambda state, params: adamx.loss_scale(state),
    "set_hyperparams": lambda state, params: adamx.set_hyperparams(state, learning_rate=0.2),
}


def arrays(tree: Any) -> Any:
    def is_variable(x: Any) -> bool:
        return isinstance(x, nnx.Variable)

    return jax.tree.map(lambda x: x.get_value() if is_variable(x) else x, tree, is_leaf=is_variable)


@nnx_state
@pytest.mark.parametrize("name", READERS)
def test_readers_of_a_state_take_that_of_nnx(name: str) -> None:
    """Its variables are of another class than the parameters'; results are in the given ones."""
    model = Model()
    optimizer = nnx.Optimizer(model, READ, wrt=nnx.Param)
    optimizer.update(model, nnx.state(model, nnx.Param))
    params, state = nnx.state(model, nnx.Param), optimizer.opt_state
    result = READERS[name](state, params)
    chex.assert_trees_all_equal(arrays(result), READERS[name](arrays(state), arrays(params)))
    like = {"eval_params": params, "set_hyperparams": state}.get(name, arrays(result))
    assert jax.tree.structure(result) == jax.tree.structure(like)


@nnx_state
def test_tables_in_mode_exact_under_nnx() -> None:
    """What it takes apart at a step is refused, and never read as if there were nothing."""
    model = Model()
    optimizer = nnx.Optimizer(model, EXACT, wrt=nnx.Param)
    params, state = nnx.state(model, nnx.Param), optimizer.opt_state
    flushed = adamx.sparse.flush(state, params)
    assert jax.tree.structure(flushed) == jax.tree.structure((params, state))
    optimizer.update(model, params)
    for read in (adamx.sparse.flush, adamx.eval_params):
        with pytest.raises(TypeError, match=r"must be the StaleRows .*step with `make_step`"):
            read(optimizer.opt_state, nnx.state(model, nnx.Param))
    with pytest.raises(TypeError, match=r"must be the StaleRows .*step with `make_step`"):
        optimizer.update(model, params)
