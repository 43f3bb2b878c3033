"""ZeRO-1: the state sharded over the data axis, along which the parameters are replicated."""

from __future__ import annotations

import math
from typing import Any

from jax.sharding import NamedSharding, PartitionSpec

from adamx.core.transformation import GradientTransformation, Params
from adamx.sharding.meshes import axes_of, described, entries
from adamx.sharding.placement import Place, places


def _sharded(place: Place, axis: str, beside: list[Place]) -> NamedSharding | None:
    """The leaf's sharding with one more dimension sharded, the largest possible, or None.

    A dimension that is sharded already stays as it is.  All that is `beside` the same parameter is
    sharded in the same one, so that a number per block is where its block is.
    """
    sharding = place.sharding
    if not (isinstance(sharding, NamedSharding) and place.like_parameter):
        return None
    spec = entries(sharding, place.leaf.ndim)
    if any(axis in axes_of(entry) for entry in spec):
        return None
    free = []
    for dimension, (own, entry) in enumerate(zip(place.leaf.shape, spec, strict=True)):
        sizes = [p.leaf.shape[dimension] for p in beside if dimension < p.leaf.ndim]
        even = all(size % sharding.mesh.shape[axis] == 0 for size in sizes if size != 1)
        if entry is None and own > 1 and even:
            free.append((max(sizes), -dimension))
    if not free:
        return None
    dimension = -max(free)[1]
    wanted = PartitionSpec(*spec[:dimension], axis, *spec[dimension + 1 :])
    return NamedSharding(sharding.mesh, wanted, memory_kind=sharding.memory_kind)


def zero1_sharding(tx: GradientTransformation, params: Params, axis: str) -> Any:
    """Where the state goes if every device along `axis` is to keep its shard only (ZeRO-1).

    Moments, averages, accumulated gradients: every leaf that is like a parameter is sharded
    along `axis` in its largest dimension that is divisible and not sharded yet (the first of
    several).  A leaf without such a dimension stays where `state_sharding` has it;
    `placement_table` lists those.  The parameters stay replicated.

    Nothing else changes.  A step whose results are pinned to these places (that of `make_step`, or
    any with `keep_placement`) adds up gradients into shards, updates each shard on one device of
    `axis`, and gathers the new parameters.

    Args:
      tx: any transformation.
      params: as in `state_sharding`, on a mesh that has `axis`.
      axis: the axis along which the batch is sharded and the parameters are replicated.

    Returns:
      A tree of shardings with the structure of `tx.init(params)`, for `init` and
      `abstract_state`.

    Raises:
      TypeError: a parameter that is nowhere.
      ValueError: as `state_sharding`; no such axis; or nothing that could be sharded.

    Reference:
      Rajbhandari et al., ZeRO, 2020, section 5.1 (P_os).

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> mesh = jax.make_mesh((8,), ("data",))
      >>> w = jnp.ones((16, 1024), device=NamedSharding(mesh, PartitionSpec()))
      >>> tx = adamx.scale_by_adam()
      >>> state = adamx.sharding.init(tx, w, adamx.sharding.zero1_sharding(tx, w, "data"))
      >>> tuple(state.mu.sharding.spec), state.mu.addressable_shards[0].data.shape
      ((None, 'data'), (16, 128))
    """
    owner = "zero1_sharding"
    found, structure = places(owner, tx, params)
    for place in found:
        mesh = place.sharding.mesh if isinstance(place.sharding, NamedSharding) else None
        if mesh is None:
            raise ValueError(
                f"{owner}: the parameters are on one device, which has no axis {axis!r}; place "
                "them on a mesh with `jax.device_put(params, jax.sharding.NamedSharding(mesh, "
                "jax.sharding.PartitionSpec()))`"
            )
        if axis not in mesh.shape:
            raise ValueError(
                f"{owner}: the mesh of the parameters has no axis {axis!r}; its axes are "
                f"{described(mesh)}"
            )
        if mesh.shape[axis] == 1:
            raise ValueError(f"{owner}: axis {axis!r} has size 1, so it would change nothing")
    beside: dict[int, list[Place]] = {}
    for place in found:
        beside.setdefault(place.number, []).append(place)
    changed = [_sharded(place, axis, beside[place.number]) for place in found]
    if not any(changed):
        raise ValueError(f"{owner}: it would change nothing: {_why(found, axis)}")
    return structure.unflatten(
        [other or place.sharding for other, place in zip(changed, found, strict=True)]
    )


def _why(found: list[Place], axis: str) -> str:
    """Why no leaf can be sharded."""
    moments = [place for place in found if place.like_parameter]
    if not moments:
        return "no leaf of the state is like a parameter"
    largest = max(moments, key=lambda place: math.prod(place.leaf.shape))
    spec = entries(largest.sharding, largest.leaf.ndim)
    shown = f"the largest leaf, {largest.name} of shape {largest.leaf.shape},"
    if any(axis in axes_of(entry) for entry in spec):
        return f"{shown} is sharded along {axis!r} already, as its parameter is"
    assert isinstance(largest.sharding, NamedSharding)
    return (
        f"{shown} has no unsharded dimension divisible by {largest.sharding.mesh.shape[axis]}, the "
        f"size of {axis!r}"
    )
