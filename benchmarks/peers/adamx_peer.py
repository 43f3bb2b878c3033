"""adamx: the recipe is a chain, the step is `tx.step`."""

from __future__ import annotations

from collections.abc import Callable

import adamx
from benchmarks import recipes
from benchmarks.peers.jax_peer import JaxPeer, Program
from benchmarks.recipes import EMA, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, Recipe


def _adamw(
    mu_dtype: str | None = None, nu_dtype: str | None = None
) -> adamx.GradientTransformation:
    return adamx.adamw(
        LEARNING_RATE, weight_decay=WEIGHT_DECAY, mu_dtype=mu_dtype, nu_dtype=nu_dtype
    )


def _clipped() -> adamx.GradientTransformation:
    return adamx.chain(adamx.clip_by_global_norm(MAX_NORM), _adamw())


def _averaged() -> adamx.GradientTransformation:
    return adamx.chain(adamx.clip_by_global_norm(MAX_NORM), _adamw(), adamx.ema_params(EMA))


RECIPES: dict[str, Callable[[], adamx.GradientTransformation]] = {
    recipes.ADAMW.name: _adamw,
    recipes.CLIPPED.name: _clipped,
    recipes.AVERAGED.name: _averaged,
    recipes.GUARDED.name: lambda: adamx.apply_if_finite(_averaged()),
    recipes.MU_BFLOAT16.name: lambda: _adamw(mu_dtype="bfloat16"),
    recipes.BOTH_BFLOAT16.name: lambda: _adamw(mu_dtype="bfloat16", nu_dtype="bfloat16"),
    recipes.BFLOAT16_PARAMETERS.name: _adamw,
}


class Adamx(JaxPeer):
    """This library."""

    name = "adamx"
    package = "adamx"

    def program(self, recipe: Recipe) -> Program:
        tx = RECIPES[recipe.name]()
        return Program(tx.init, lambda params, state, grads: tx.step(grads, state, params))
