"""What is read from a state outlives the donation of parameters and state to the next step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adamx

TRANSFORMATIONS = {
    "ema_params": adamx.ema_params(0.5, mask={"n": False, "table": True, "w": False}),
    "schedule_free": adamx.schedule_free_adamw(0.1),
    "dense": adamx.sparse.adam(0.1, "dense"),
    "lazy": adamx.sparse.adam(0.1, "lazy"),
    "exact": adamx.sparse.adam(0.1, {"table": "exact"}),
    "guard": adamx.dynamic_loss_scale(adamx.adam(0.1)),
    "multi_steps": adamx.multi_steps(adamx.adam(0.1), 2),
    "injected": adamx.inject_hyperparams(adamx.adam(0.1)),
    "sparse_average": adamx.sparse.ema_params(adamx.sparse.adam(0.1, "exact"), 0.5),
}
READ = {
    "eval_params": lambda state, params: adamx.eval_params(state, params),
    "flush": lambda state, params: adamx.sparse.flush(state, params),
    "schedule_free_eval_params": adamx.schedule_free_eval_params,
    "loss_scale": lambda state, params: adamx.loss_scale(state),
    "get_hyperparam": lambda state, params: adamx.get_hyperparam(state, "learning_rate"),
    "metrics": lambda state, params: adamx.metrics(state),
}


def pointers(tree: Any) -> set[int]:
    return {x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree)}


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_results_share_no_memory(name: str, read: str) -> None:
    params = {"n": jnp.arange(2), "table": jnp.ones((4, 2)), "w": jnp.ones(2)}
    state = TRANSFORMATIONS[name].init(params)
    try:
        result = READ[read](state, params)
    except (TypeError, ValueError):
        return  # There is nothing of the kind in this state.
    assert not pointers(result) & pointers((params, state))
    jax.jit(lambda *trees: trees, donate_argnums=(0, 1))(params, state)
    jax.block_until_ready(jax.tree.map(lambda x: x + 1, result))
