"""Small trees, 64-bit mode and compiled steps shared by the contract tests."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adamx import SparseRows
from tests.contract.table import Case
from tests.versions import enable_x64

SHAPES = {"b": (3,), "w": (2, 2)}
# A parameter's dtype, and the dtype its gradients come in.
DTYPES = [
    ("float32", "float32"),
    ("float32", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("bfloat16", "float32"),
    ("float16", "float16"),
    ("float16", "float32"),
    ("float64", "float64"),
    ("float64", "float32"),
    ("complex64", "complex64"),
    ("complex128", "complex64"),
]


def precision(*dtypes: Any) -> Any:
    """A context in which these dtypes exist: 64-bit mode if any of them needs it."""
    return enable_x64(any(name in ("float64", "complex128") for name in dtypes))


def tree(dtype: Any = "float32", seed: int = 0) -> dict[str, jax.Array]:
    """Numbers of both signs between 0.5 and 2 in size, the same for the same seed."""
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)

    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    leaves = {
        name: draw(shape) + (1j * draw(shape) if is_complex else 0.0)
        for name, shape in SHAPES.items()
    }
    return {name: jnp.asarray(leaf, dtype) for name, leaf in leaves.items()}


def abstract(like: Any) -> Any:
    """Shapes and dtypes in place of arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), like)


def is_float(leaf: Any) -> bool:
    """True for the numbers of a transformation, False for its whole numbers of steps."""
    return bool(jnp.issubdtype(jnp.result_type(leaf), np.floating))


# Parameters for gradients of rows.
PARAMS = {"b": jnp.array([0.5, -1.0, 1.5]), "w": jnp.array([[1.0, -0.5], [0.5, 2.0]])}


def sparse(seed: int) -> dict[str, SparseRows]:
    """Gradients with duplicates, padding and ids past the end; row 0 of "w" has none."""
    values = np.random.default_rng(seed).uniform(-2.0, 2.0, (4, 2)).astype(np.float32)
    return {
        "b": SparseRows(jnp.array([2, 2, -1, 0]), values[:, 0], 3),
        "w": SparseRows(jnp.array([1, -1, 1, 2]), values, 2),
    }


def dense(updates: Any) -> Any:
    return {
        name: leaf.to_dense() if isinstance(leaf, SparseRows) else leaf
        for name, leaf in updates.items()
    }


class Compiled:
    """A jitted function that counts how often it is traced."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.traces = 0

        def counted(*args: Any) -> Any:
            self.traces += 1
            return function(*args)

        self.call = jax.jit(counted, **options)

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)


@functools.cache
def step(case: Case) -> Compiled:
    """`(grads, state, params) -> (params, state)`, the transformation closed over."""
    return Compiled(case.make().step)
