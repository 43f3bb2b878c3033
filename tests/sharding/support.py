"""A small problem, and meshes of the eight devices that `conftest.py` makes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "model")
# Every dimension is a multiple of 8, but for those of `SMALL`.
SHAPES = {"b": (16,), "w": (8, 16)}


def mesh(data: int = 8, model: int = 1, kind: AxisType = AxisType.Auto) -> Mesh:
    return jax.make_mesh((data, model), AXES, axis_types=(kind, kind))


def on(where: Mesh, *spec: Any) -> NamedSharding:
    return NamedSharding(where, PartitionSpec(*spec))


def params(shapes: dict[str, tuple[int, ...]] = SHAPES, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}


def batch(seed: int = 1, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1.0, (size, 8)).astype(np.float32)


def loss(params: Any, x: jax.Array) -> jax.Array:
    """The mean over the batch; no gradient is near zero."""
    return jnp.mean(jnp.sum((x @ params["w"] + params["b"]) ** 2, axis=1)) / 16


def specs(tree: Any) -> Any:
    """The sharding of every leaf."""
    return jax.tree.map(lambda x: x.sharding, tree)
