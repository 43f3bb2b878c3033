"""A transformation that is passed to `jit` or `vmap` is data.

Ten learning rates share one compiled program, and a sweep trains as one batch.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.contract.support import Compiled, is_float, tree
from tests.contract.table import Case, cases

# In float32 from the beginning: 1 - b2 shows the last bit of a b2 that one side has rounded later.
FACTORS = np.linspace(0.9, 1.0, 10, dtype=np.float32)


def scaled(tx: Any, factor: Any) -> Any:
    """All numbers of `tx` times a factor; numbers of steps stay."""
    return jax.tree.map(lambda x: x * factor if is_float(x) else x, tx)


def train(tx: Any, params: Any, grads: Any) -> Any:
    """Two steps, from `init` on: a number may be used there too."""
    state = tx.init(params)
    for _ in range(2):
        params, state = tx.step(grads, state, params)
    return params, state


@cases("compiles vmap of two steps", data=True)
def test_ten_values_are_traced_once_and_vmapped_like_the_loop(case: Case) -> None:
    tx, params, grads = case.make(), tree(), tree(seed=1)
    compiled = Compiled(train)
    loop = [compiled(scaled(tx, factor), params, grads) for factor in FACTORS]
    assert compiled.traces == 1

    axes = jax.tree.map(lambda x: 0 if is_float(x) else None, tx)
    sweep = scaled(tx, jnp.asarray(FACTORS))
    together = jax.jit(jax.vmap(train, in_axes=(axes, None, None)))(sweep, params, grads)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    chex.assert_trees_all_close(together, stacked, rtol=2e-5, atol=1e-6)


@cases("compiles a step")
def test_a_static_argument_compiles_once_for_equal_values(case: Case) -> None:
    """Equal values are one compile-cache entry, also where there is no number to trace."""
    grads = tree()
    compiled = Compiled(lambda tx: tx.init(grads), static_argnums=0)
    tx = case.make()
    equal = tx.replace()
    assert equal is not tx
    chex.assert_trees_all_equal(compiled(tx), compiled(equal))
    assert compiled.traces == 1


@cases("traces a step for every number")
def test_an_array_of_numbers_is_refused_inside_a_step(case: Case) -> None:
    """It would broadcast against the parameters; `vmap` is what was meant."""
    leaves, structure = jax.tree.flatten(case.make())
    for i, leaf in enumerate(leaves):
        tx = structure.unflatten([*leaves[:i], jnp.full(10, leaf), *leaves[i + 1 :]])
        # An array in place of a seed is taken for the data of a key.
        message = r"must be a scalar.*, got shape \(10,\)|invalid PRNG key"
        with pytest.raises((ValueError, TypeError), match=message):
            jax.eval_shape(train, tx, tree(), tree(seed=1))
