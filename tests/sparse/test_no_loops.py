"""A step over rows, lowered for an accelerator, has no loop: a GPU waits for its every round."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adamx

# More elements than are in one chunk on CPU.
V, D, N = 20_000, 16, 16_384


def lowered(mode: str, platform: str) -> str:
    """The text of a whole step: gradient of the rows, clip, step, rows written."""

    def loss(params: Any, ids: jax.Array) -> jax.Array:
        return jnp.sum(jnp.tanh(adamx.sparse.lookup(params["table"], ids)) ** 2)

    tx = adamx.chain(
        adamx.clip_by_global_norm(1.0), adamx.sparse.adamw(1e-3, {"table": mode}, weight_decay=0.1)
    )
    grad_fn = adamx.sparse.value_and_grad(loss, {"table": lambda ids: ids})

    def step(params: Any, state: Any, ids: jax.Array) -> Any:
        _, grads = grad_fn(params, ids, state=state)
        return tx.step(grads, state, params)

    params = {"table": jax.ShapeDtypeStruct((V, D), jnp.float32)}
    ids = jax.ShapeDtypeStruct((N,), jnp.int32)
    traced = jax.jit(step).trace(params, jax.eval_shape(tx.init, params), ids)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("mode", ["lazy", "rowwise", "exact", "counted"])
def test_no_loop_on_a_gpu(mode: str) -> None:
    assert "stablehlo.while" not in lowered(mode, "cuda")


def test_on_a_cpu_rows_are_searched_and_moved_in_chunks() -> None:
    assert lowered("lazy", "cpu").count("stablehlo.while") == 2
