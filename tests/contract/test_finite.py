"""Finite gradients never give a non-finite update or parameter, whatever the dtype.

One NaN ends a training run, and gradients of 0, of the largest float and of the smallest all
happen: dead units, spikes before clipping, float16 underflow.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.contract.support import is_float, precision, tree
from tests.contract.table import Case, every_case

STEPS = 4


def largest(case: Case, dtype: str) -> float:
    """The largest float that the gradients and whatever the state stores of them can hold."""
    state = jax.eval_shape(case.make().init, tree(dtype))
    stored = [x.dtype for x in jax.tree.leaves(state) if x.ndim and is_float(x)]
    limit = min(float(jnp.finfo(x).max) for x in (dtype, *stored))
    # An update as large as the gradient, or a little larger, must not overflow by itself.
    return limit if case.bounded else limit / 16


def gradients(case: Case, dtype: str) -> list[Any]:
    """For each step a batch: five models with gradients of one size, five that go through all."""
    info, most = jnp.finfo(dtype), largest(case, dtype)
    sizes = jnp.asarray([0.0, 1e-12, min(1e6, most), most, info.smallest_subnormal], info.dtype)
    n = len(sizes)

    def batch(t: int) -> Any:
        models = sizes[np.concatenate([np.arange(n), (np.arange(n) + 3 * t) % n])]
        return jax.tree.map(lambda x: jnp.stack([sign(x) * size for size in models]), tree(dtype))

    return [batch(t) for t in range(STEPS)]


def sign(x: jax.Array) -> jax.Array:
    return jnp.sign(x.real) + 1j * jnp.sign(x.imag) if jnp.iscomplexobj(x) else jnp.sign(x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64", "complex64"])
@every_case
def test_finite(case: Case, dtype: str) -> None:
    tx = case.make()
    with precision(dtype):
        batches = gradients(case, dtype)
        params = jax.tree.map(lambda x: jnp.stack([x.at[0].set(0)] * 10), tree(dtype))
        state = jax.vmap(tx.init)(params)
        for t, grads in enumerate(batches):
            updates, state = jax.vmap(tx.update)(grads, state, params)
            moved = adamx.apply_updates(params, updates)
            for leaf in jax.tree.leaves((updates, moved)):
                assert np.isfinite(leaf).all(), f"step {t}: {grads} gave {updates}"
            if case.bounded:
                params = moved
