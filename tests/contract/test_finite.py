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
from tests.contract.table import Case, cases

STEPS = 4


def largest(dtype: Any, state: Any, bounded: bool) -> float:
    """The largest float that gradients of this dtype, and what a state stores of them, can hold."""
    stored = [x.dtype for x in jax.tree.leaves(state) if x.ndim and is_float(x)]
    limit = min(float(jnp.finfo(x).max) for x in (dtype, *stored))
    # An update as large as the gradient, or a little larger, must not overflow by itself.
    return limit if bounded else limit / 16


def gradients(param: jax.Array, most: float) -> list[jax.Array]:
    """For each step a batch: five models with gradients of one size, five that go through all."""
    info = jnp.finfo(param.dtype)
    sizes = np.array([0.0, 1e-12, min(1e6, most), most, info.smallest_subnormal], info.dtype)
    unit = np.sign(np.real(param)).astype(info.dtype)
    if jnp.iscomplexobj(param):
        unit = unit + 1j * np.sign(np.imag(param)).astype(info.dtype)
    n = len(sizes)
    order = [np.concatenate([np.arange(n), (np.arange(n) + 3 * t) % n]) for t in range(STEPS)]
    return [jnp.asarray(np.stack([unit * x for x in sizes[row]]), param.dtype) for row in order]


# Two leaves of different dtypes; 64 bits apart, where everything else is 64 bits too.
@pytest.mark.parametrize(
    "dtypes",
    [
        ("float32", "bfloat16"),
        ("float16", "complex64"),
        pytest.param(("float64", "float64"), marks=pytest.mark.full("compiles vmap of an update")),
    ],
)
@cases("compiles vmap of an update")
def test_finite(case: Case, dtypes: tuple[str, str]) -> None:
    if "float16" in dtypes and not case.narrow:
        pytest.skip("it refuses float16")
    tx = case.make()
    with precision(*dtypes):
        one = {name: tree(d)[name].at[0].set(0) for name, d in zip(("b", "w"), dtypes, strict=True)}
        state = tx.init(one)
        steps = {
            name: gradients(p, largest(p.dtype, state, case.bounded)) for name, p in one.items()
        }
        params, state = jax.tree.map(lambda x: np.stack([x] * 10), (one, state))

        @jax.jit
        @jax.vmap
        def step(grads: Any, state: Any, params: Any) -> Any:
            updates, state = tx.update(grads, state, params)
            return updates, state, adamx.apply_updates(params, updates)

        for t in range(STEPS):
            grads = {name: batches[t] for name, batches in steps.items()}
            updates, state, moved = step(grads, state, params)
            for leaf in jax.tree.leaves((updates, moved)):
                assert np.isfinite(leaf).all(), f"step {t}: {grads} gave {updates}"
            if case.bounded:
                params = moved


@cases("compiles an update", narrow=True)
def test_gradients_wider_than_the_parameters(case: Case) -> None:
    """Float32 gradients of 5e5, beyond float16, for float16 parameters: lr * 5e5 fits."""
    if case.passes_gradients:
        pytest.skip("an update that is the gradient itself does not fit into float16")
    tx = case.make()
    params = tree("float16")
    grads = jax.tree.map(lambda p: jnp.full(p.shape, 5e5), params)
    state, update = tx.init(params), jax.jit(tx.update)
    for t in range(STEPS):
        updates, state = update(grads, state, params)
        for leaf in jax.tree.leaves(updates):
            assert np.isfinite(leaf).all(), f"step {t}: {updates}"
