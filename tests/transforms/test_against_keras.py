"""Clipping and averaging beside Keras 3 on the JAX backend, run live."""

from __future__ import annotations

import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="Keras is a peer, not a dependency")

START = [np.linspace(-1.0, 1.0, 6, dtype=np.float32).reshape(2, 3), np.float32([0.5, -0.25])]
RNG = np.random.default_rng(0)
GRADS = [[RNG.normal(size=p.shape).astype(np.float32) for p in START] for _ in range(9)]


def keras_path(**options):
    """The parameters after every step of plain gradient descent at rate 1."""
    variables = [keras.Variable(p) for p in START]
    optimizer = keras.optimizers.SGD(learning_rate=1.0, **options)
    optimizer.build(variables)
    path = []
    for grads in GRADS:
        optimizer.apply([jnp.asarray(g) for g in grads], variables)
        path.append([np.asarray(v.value) for v in variables])
    optimizer.finalize_variable_values(variables)
    return path, [np.asarray(v.value) for v in variables]


def adamx_path(*links):
    tx = adamx.chain(*links)
    params = [jnp.asarray(p) for p in START]
    state = tx.init(params)
    step = jax.jit(lambda p, s, g: tx.step(g, s, p))
    path = []
    for grads in GRADS:
        params, state = step(params, state, grads)
        path.append(params)
    return path, state


@pytest.mark.parametrize(
    ("options", "clip"),
    [
        ({"clipvalue": 0.3}, adamx.clip(0.3)),
        ({"clipnorm": 0.7}, adamx.clip_by_norm(0.7)),
        ({"global_clipnorm": 1.1}, adamx.clip_by_global_norm(1.1)),
    ],
    ids=str,
)
def test_clipping(options, clip):
    ours, _ = adamx_path(clip, adamx.scale(-1.0))
    chex.assert_trees_all_close(ours, keras_path(**options)[0], rtol=2e-6, atol=2e-6)


def test_the_average_of_the_parameters():
    """Keras 3 starts the average at the parameters after the first step."""
    path, state = adamx_path(adamx.scale(-1.0), adamx.ema_params(0.8, start_step=1))
    theirs, final = keras_path(use_ema=True, ema_momentum=0.8)
    chex.assert_trees_all_close(path, theirs, rtol=2e-6, atol=2e-6)
    chex.assert_trees_all_close(adamx.eval_params(state, path[-1]), final, rtol=2e-6, atol=2e-6)


def test_overwriting_with_the_average():
    ours, _ = adamx_path(adamx.scale(-1.0), adamx.ema_params(0.8, start_step=1, overwrite_every=3))
    theirs, _ = keras_path(use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3)
    chex.assert_trees_all_close(ours, theirs, rtol=2e-6, atol=2e-6)
