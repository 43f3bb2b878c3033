"""The leaves that are stepped over: shapes only, no values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Model(NamedTuple):
    """Leaves by name; any pytree of `jax.ShapeDtypeStruct`."""

    name: str
    leaves: Any

    @property
    def shape(self) -> str:
        """The leaves in words."""
        count = len(jax.tree.leaves(self.leaves))
        return self.name if count == 1 else f"{self.name}, {count:,} leaves"

    @property
    def parameters(self) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.leaves))


def _structs(shapes: Any, dtype: str = "float32") -> Any:
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def one_leaf(size: int, dtype: str = "float32") -> Model:
    """A single vector."""
    return Model("one leaf", _structs([(size,)], dtype))


def small_leaves(count: int, size: int = 2_000) -> Model:
    """Many vectors of a few thousand elements, as in a model of many small layers."""
    return Model(f"{size:,} parameters each", _structs([(size,)] * count))


def gpt2(width: int = 768) -> Model:
    """GPT-2: 12 layers, 148 leaves; GPT-2 small is 768 wide and has 124 million parameters."""
    layer = {
        "ln_1": {"scale": (width,), "bias": (width,)},
        "qkv": {"kernel": (width, 3 * width), "bias": (3 * width,)},
        "proj": {"kernel": (width, width), "bias": (width,)},
        "ln_2": {"scale": (width,), "bias": (width,)},
        "up": {"kernel": (width, 4 * width), "bias": (4 * width,)},
        "down": {"kernel": (4 * width, width), "bias": (width,)},
    }
    shapes = {
        "wte": (50257, width),
        "wpe": (1024, width),
        "layers": [layer] * 12,
        "ln_f": {"scale": (width,), "bias": (width,)},
    }
    name = "GPT-2 small" if width == 768 else f"GPT-2 at width {width}"
    return Model(name, _structs(shapes))


def resnet50(width: int = 64) -> Model:
    """ResNet-50: kernels, batch norms' scales and biases, and the classifier, 161 leaves."""

    def conv(size: int, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        return {"kernel": (size, size, inputs, outputs), "scale": (outputs,), "bias": (outputs,)}

    blocks, inputs = [], width
    for stage, repeats in enumerate((3, 4, 6, 3)):
        inner, outputs = width * 2**stage, 4 * width * 2**stage
        for repeat in range(repeats):
            block = [conv(1, inputs, inner), conv(3, inner, inner), conv(1, inner, outputs)]
            if repeat == 0:
                block.append(conv(1, inputs, outputs))
            blocks.append(block)
            inputs = outputs
    head = {"kernel": (inputs, 1000), "bias": (1000,)}
    name = "ResNet-50" if width == 64 else f"ResNet-50 at width {width}"
    return Model(name, _structs({"stem": conv(7, 3, width), "blocks": blocks, "head": head}))
