"""The types of a training script, as mypy and pyright see them; it runs, too."""

import functools
from typing import assert_type

import jax
import jax.numpy as jnp
import optax

import adamx
import adamx.interop.optax

Params = dict[str, jax.Array]
Batch = tuple[jax.Array, jax.Array]


def loss_fn(params: Params, batch: Batch) -> jax.Array:
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


schedule = adamx.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)
tx = adamx.chain(
    adamx.clip_by_global_norm(1.0),
    adamx.adamw(schedule, weight_decay=0.1),
    adamx.ema_params(0.99),
)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(
    params: Params, state: adamx.OptState, batch: Batch
) -> tuple[Params, adamx.OptState, jax.Array]:
    value, grads = jax.value_and_grad(loss_fn)(params, batch)
    assert_type(adamx.global_norm(grads), jax.Array)
    params, state = assert_type(tx.step(grads, state, params), tuple[Params, adamx.OptState])
    return params, state, value


def test_a_script_keeps_the_type_of_its_parameters() -> None:
    params: Params = {"w": jnp.zeros((3, 1)), "b": jnp.zeros(1)}
    batch = (jnp.ones((8, 3)), jnp.ones((8, 1)))
    state = tx.init(params)
    state = train_step(jax.tree.map(jnp.copy, params), state, batch)[1]
    assert assert_type(adamx.eval_params(state, params), Params)["w"].shape == (3, 1)
    updates, state = tx.update(params, state, params)
    assert_type(adamx.apply_updates(params, updates), Params)

    guarded = adamx.apply_if_finite(adamx.adam(1e-3), 3)
    assert_type(guarded.step(params, guarded.init(params), params)[0], Params)


def test_optax_and_adamx_take_each_other() -> None:
    ours: optax.GradientTransformation = adamx.interop.optax.to_optax(adamx.adam(1e-3))
    mixed = optax.chain(optax.clip(1.0), adamx.adam(1e-3), ours)
    params, state = jnp.ones(3), mixed.init(jnp.ones(3))
    assert jax.tree.leaves(mixed.update(params, state, params)[0])[0].shape == (3,)
