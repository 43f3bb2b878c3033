"""State kept in containers, one for each parameter, lies where its parameter does: in bytes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from tests.sharding.support import mesh, on

V, D = 4096, 4
pytestmark = pytest.mark.eight_devices
TX: dict[str, Callable[[], adamx.GradientTransformation]] = {
    "exact": lambda: adamx.sparse.adam(0.1, "exact"),
    "exact amsgrad": lambda: adamx.sparse.amsgrad(0.1, "exact"),
    "lazy amsgrad": lambda: adamx.sparse.amsgrad(0.1, "lazy"),
    "rowwise": lambda: adamx.sparse.adam(0.1, "rowwise"),
    "counted": lambda: adamx.sparse.adam(0.1, "counted"),
    "averaged": lambda: adamx.sparse.ema_params(adamx.sparse.adam(0.1, "lazy"), 0.9),
    "exact, averaged": lambda: adamx.sparse.ema_params(adamx.sparse.adam(0.1, "exact"), 0.9),
    "in a group": lambda: adamx.multi_transform(
        {"a": adamx.chain(adamx.sparse.amsgrad(0.1, "exact")), "b": adamx.freeze()},
        adamx.label_by_path(("table", "a"), default="b"),
    ),
    "guarded, accumulated": lambda: adamx.apply_if_finite(
        adamx.multi_steps(adamx.sparse.amsgrad(0.1, "exact"), 2)
    ),
    "of another library": lambda: adamx.chain(adamx.adam(0.1), optax.trace(0.9)),
}


@pytest.mark.parametrize("name", TX)
def test_every_array_with_a_row_for_each_row_is_sharded(name: str) -> None:
    params = {
        "table": jnp.ones((V, D), device=on(mesh(8, 1), "data")),
        "b": jnp.ones(3, device=on(mesh(8, 1))),
    }
    state = adamx.sharding.init(TX[name](), params)
    large = [x for x in jax.tree.leaves(state) if x.ndim and len(x) == V]
    assert len(large) >= 2
    for x in large:
        assert x.addressable_shards[0].data.nbytes == x.nbytes // 8
    # What is beside the tables: the sums of mode `exact`, counts, the bias.
    rest = sum(x.nbytes for x in jax.tree.leaves(state)) - sum(x.nbytes for x in large)
    here = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))
    assert here == sum(x.nbytes for x in large) // 8 + rest


def test_a_table_as_long_as_the_sums_of_exact_is_not_mixed_up_with_them() -> None:
    tx, rows = adamx.sparse.adam(0.1, "exact"), 512
    table = jnp.ones((rows, D), device=on(mesh(8, 1), "data"))
    memory = adamx.sharding.init(tx, table).memory
    assert len(memory.ages.unit) == rows
    assert memory.ages.unit.sharding.is_fully_replicated
    assert np.shape(memory.last.addressable_shards[0].data) == (rows // 8,)
