"""Keras 3 on JAX: `stateless_apply`, donated as in the guide "Writing a training loop in JAX"."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import recipes
from benchmarks.peers.base import Unsupported
from benchmarks.peers.jax_peer import JaxPeer, Program
from benchmarks.recipes import EMA, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, Recipe

OPTIONS: dict[str, dict[str, Any]] = {
    recipes.ADAMW.name: {},
    recipes.CLIPPED.name: {"global_clipnorm": MAX_NORM},
    recipes.AVERAGED.name: {"global_clipnorm": MAX_NORM, "use_ema": True, "ema_momentum": EMA},
}


class Keras(JaxPeer):
    """Its trees are flat lists, its state the list of the optimizer's variables."""

    name = "keras"
    package = "keras"

    def program(self, recipe: Recipe) -> Program:
        if recipe.name not in OPTIONS:
            raise Unsupported(f"keras: no {recipe.name}")
        os.environ.setdefault("KERAS_BACKEND", "jax")
        import keras

        if keras.backend.backend() != "jax":
            raise Unsupported(f"keras: runs on {keras.backend.backend()}, not on JAX")
        optimizer = keras.optimizers.AdamW(
            LEARNING_RATE, weight_decay=WEIGHT_DECAY, epsilon=1e-8, **OPTIONS[recipe.name]
        )

        def init(params: Any) -> Any:
            optimizer.build([keras.Variable(p, trainable=True) for p in jax.tree.leaves(params)])
            return [jnp.array(v.value) for v in optimizer.variables]

        def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            leaves, structure = jax.tree.flatten(params)
            leaves, state = optimizer.stateless_apply(state, jax.tree.leaves(grads), leaves)
            return jax.tree.unflatten(structure, leaves), state

        return Program(init, step)

    def init(self, program: Program, params: Any) -> Any:
        # Not under `jit`: it makes variables. They must not share the buffers that get donated.
        return program.init(jax.tree.map(jnp.copy, params))

    def state_like(self, program: Program, leaves: Any) -> Any:
        state = program.init(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), leaves))
        return [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in state]
