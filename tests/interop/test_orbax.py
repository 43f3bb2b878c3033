"""Orbax takes parameters and optimizer state as they are, and puts them on other devices."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
from jax.sharding import NamedSharding, PartitionSpec

import adamx


def test_a_state_cut_over_eight_devices_is_read_on_one(tmp_path: Path) -> None:
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(0.1), adamx.ema_params(0.9))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    params = {"w": jnp.arange(32.0).reshape(16, 2), "b": jnp.ones(3)}
    params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    where = adamx.sharding.zero1_sharding(tx, params, "data")
    state = adamx.sharding.init(tx, params, where)
    params, state = jax.jit(tx.step)(jax.tree.map(jnp.ones_like, params), state, params)

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), (params, state)
    )
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "saved", (params, state))
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "saved", like)
    assert jax.tree.structure(restored) == jax.tree.structure((params, state))
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves((params, state)), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        assert a.sharding == here
