"""Conditional steps inside `shard_map`: both branches vary over the same axes, checked by JAX."""

from __future__ import annotations

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import adamx
from tests.selection import one_in

WRAPPED = {
    "multi_steps": adamx.multi_steps(adamx.adam(0.1), 2),
    "apply_if_finite": adamx.apply_if_finite(adamx.adam(0.1), axis_name="device"),
    "dynamic_loss_scale": adamx.dynamic_loss_scale(adamx.adam(0.1), axis_name="device"),
    "skip_spikes": adamx.skip_spikes(adamx.adam(0.1), axis_name="device"),
    "conditionally_transform": adamx.conditionally_transform(
        adamx.adam(0.1), lambda step: step % 2 == 0
    ),
}


@pytest.mark.parametrize(
    ("spec", "whole_step", "name"),
    one_in(
        2,  # There is an odd number of wrappers, so that each is tried in two ways.
        itertools.product([PartitionSpec("device"), PartitionSpec()], [True, False], WRAPPED),
        "every wrapper in every way",
    ),
    ids=str,
)
def test_shard_map_gives_what_jit_gives(name, whole_step, spec):
    mesh = Mesh(np.array(jax.devices()[:1]), ("device",))
    x = jnp.linspace(-1.0, 1.0, 8)

    def train(tx):
        def run(params, grads):
            state = tx.init(params)
            for _ in range(3):
                if whole_step:
                    params, state = tx.step(grads, state, params)
                else:
                    updates, state = tx.update(grads, state, params)
                    params = adamx.apply_updates(params, updates)
            return params

        return run

    mapped = jax.shard_map(train(WRAPPED[name]), mesh=mesh, in_specs=(spec, spec), out_specs=spec)
    expected = jax.jit(train(_without_axis(WRAPPED[name])))(x, x)
    chex.assert_trees_all_close(jax.jit(mapped)(x, x), expected, rtol=1e-6)


def _without_axis(tx):
    return tx.replace(axis_name=None) if "axis_name" in tx.field_values() else tx
