"""optax: `update` and `apply_updates`; the average of the parameters is taken beside them."""

from __future__ import annotations

from typing import Any

from benchmarks import recipes
from benchmarks.peers.base import Unsupported
from benchmarks.peers.jax_peer import JaxPeer, Program
from benchmarks.recipes import EMA, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, Recipe


def _transformation(recipe: Recipe) -> Any:
    import optax

    mu_dtype = "bfloat16" if recipe == recipes.MU_BFLOAT16 else None
    adamw = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY, mu_dtype=mu_dtype)
    if recipe in (recipes.ADAMW, recipes.MU_BFLOAT16):
        return adamw
    clipped = optax.chain(optax.clip_by_global_norm(MAX_NORM), adamw)
    if recipe in (recipes.CLIPPED, recipes.AVERAGED):
        return clipped
    if recipe == recipes.GUARDED:
        return optax.apply_if_finite(clipped, max_consecutive_errors=10)
    raise Unsupported(f"optax: no {recipe.name}")


class Optax(JaxPeer):
    """DeepMind's library."""

    name = "optax"
    package = "optax"

    def program(self, recipe: Recipe) -> Program:
        import optax

        tx = _transformation(recipe)

        def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        def init_averaged(params: Any) -> Any:
            import jax
            import jax.numpy as jnp

            return tx.init(params), jax.tree.map(jnp.copy, params)

        def step_averaged(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            params, inner = step(params, state[0], grads)
            return params, (inner, optax.incremental_update(params, state[1], 1.0 - EMA))

        if recipe in (recipes.AVERAGED, recipes.GUARDED):
            return Program(init_averaged, step_averaged)
        return Program(tx.init, step)
