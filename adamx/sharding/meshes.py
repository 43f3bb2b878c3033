"""Questions about a leaf and its mesh; every answer that is wrong names both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, Sharding, SingleDeviceSharding

AnyMesh: TypeAlias = Mesh | AbstractMesh


def described(mesh: AnyMesh) -> str:
    """The axes and sizes of a mesh, such as `('data': 2, 'model': 4)`."""
    return f"({', '.join(f'{name!r}: {size}' for name, size in mesh.shape.items())})"


def sharding_at(owner: str, name: str, leaf: Any) -> NamedSharding | SingleDeviceSharding:
    """Where an array is, or is to be.

    Raises:
      TypeError: it is nowhere (a NumPy array, a tracer, a `ShapeDtypeStruct` without a sharding),
        or its sharding has no mesh.
    """
    sharding = None if isinstance(leaf, jax.core.Tracer) else getattr(leaf, "sharding", None)
    if isinstance(sharding, (NamedSharding, SingleDeviceSharding)):
        return sharding
    got = type(leaf).__name__ if sharding is None else f"a {type(sharding).__name__}"
    raise TypeError(
        f"{owner}: {name} must be a `jax.Array` or a `jax.ShapeDtypeStruct` with a "
        f"`jax.sharding.NamedSharding`, got {got}; place it with `jax.device_put(x, sharding)`"
    )


def common_mesh(owner: str, placed: Iterable[tuple[str, Sharding]]) -> AnyMesh | None:
    """The one mesh that everything is on, None if everything is on one and the same device.

    Args:
      placed: names, as they are to appear in an error, and shardings.

    Raises:
      ValueError: two leaves are on different meshes.
    """
    first: tuple[str, Sharding] | None = None
    for name, sharding in placed:
        first = first or (name, sharding)
        if _mesh(sharding) != _mesh(first[1]):
            raise ValueError(
                f"{owner}: {name} is on {_where(sharding)}, but {first[0]} is on "
                f"{_where(first[1])}; place both on the same mesh with `jax.device_put`"
            )
    return first[1].mesh if first and isinstance(first[1], NamedSharding) else None


def _mesh(sharding: Sharding) -> Any:
    return sharding.mesh if isinstance(sharding, NamedSharding) else sharding.device_set


def _where(sharding: Sharding) -> str:
    if isinstance(sharding, NamedSharding):
        return f"the mesh {described(sharding.mesh)} of devices {_numbers(sharding)}"
    return f"the device {_numbers(sharding)[0]}"


def _numbers(sharding: Sharding) -> list[int]:
    devices: Any = sharding.device_set
    return sorted(device.id for device in devices)


def entries(sharding: Sharding, ndim: int) -> tuple[Any, ...]:
    """The axes along which each dimension is sharded: a name, a tuple of names, or None."""
    spec = tuple(sharding.spec) if isinstance(sharding, NamedSharding) else ()
    return spec + (None,) * (ndim - len(spec))


def axes_of(entry: Any) -> tuple[str, ...]:
    """The names in one entry of a specification."""
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def check_even(owner: str, name: str, shape: tuple[int, ...], sharding: Sharding) -> None:
    """Raises unless all shards of an array have one shape.

    Raises:
      ValueError: a dimension that cannot be sharded evenly.
    """
    if not isinstance(sharding, NamedSharding):
        return
    for dimension, (size, entry) in enumerate(zip(shape, sharding.spec, strict=False)):
        axes = axes_of(entry)
        shards = 1
        for axis in axes:
            shards *= sharding.mesh.shape[axis]
        if size % shards:
            named = " x ".join(f"{axis!r}" for axis in axes)
            raise ValueError(
                f"{owner}: {name} has shape {shape}: dimension {dimension} of size {size} cannot "
                f"be sharded evenly over {named} of size {shards}; pad it or leave it replicated"
            )
