"""State in the memory of the host, where the accelerator can reach it."""

from __future__ import annotations

from typing import Any

import jax

from adamx.core.checks import check_depth, describe
from adamx.core.transformation import State

HOST = "pinned_host"


def host_sharding(state: State) -> Any:
    """The same places, in the memory of the host next to each device.

    Leaves without dimensions (counts) stay on the device: moving them costs more than they weigh.
    The step of `make_step`, or any with `keep_placement`, fetches the state for each update and
    puts the new one back; in a step of your own write
    `state = jax.device_put(state, jax.memory.Space.Device)` in front of `tx.step`, and give these
    shardings as `out_shardings`.

    Args:
      state: a state that is on a mesh, or what `abstract_state` returned.

    Returns:
      A tree of shardings, for `init`.

    Raises:
      TypeError: something that is on no device.
      ValueError: a device that cannot reach the memory of its host.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> replicated = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec())
      >>> w, tx = jnp.ones(1024, device=replicated), adamx.scale_by_adam()
      >>> on_host = adamx.sharding.host_sharding(adamx.sharding.abstract_state(tx, w))
      >>> adamx.sharding.init(tx, w, on_host).mu.sharding.memory_kind
      'pinned_host'
    """
    check_depth("host_sharding", state)

    def on_host(path: tuple[Any, ...], leaf: Any) -> Any:
        name = jax.tree_util.keystr(path) or "<the whole state>"
        if not hasattr(leaf, "sharding"):
            raise TypeError(
                f"host_sharding: {name} is {describe(leaf)}, which is on no device; give a state, "
                "or what `abstract_state` returned"
            )
        if not leaf.ndim:
            return leaf.sharding
        for device in leaf.sharding.addressable_devices:
            kinds = [memory.kind for memory in device.addressable_memories()]
            if HOST not in kinds:
                raise ValueError(
                    f"host_sharding: {name} is on {device}, which has no {HOST!r} memory but "
                    f"{', '.join(kinds)} only; leave the state on the device"
                )
        return leaf.sharding.with_memory_kind(HOST)

    return jax.tree_util.tree_map_with_path(on_host, state)
