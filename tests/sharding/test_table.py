"""The table says what a parameter costs, and which leaves a format has left as they are."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

import adamx
from adamx.sharding import abstract_state, init, placement_table
from tests.sharding.support import mesh, on

pytestmark = pytest.mark.eight_devices

P = PartitionSpec
SIZE = 64 * 128 + 128 + 1


def params(dtype: str = "float32") -> dict[str, Any]:
    where = mesh(2, 4)
    return {
        "kernel": jnp.ones((64, 128), dtype, device=on(where, "data", "model")),
        "bias": jnp.ones(128, dtype, device=on(where)),
        "scale": jnp.ones((), dtype, device=on(where)),
        "steps": jnp.zeros((), jnp.int32, device=on(where)),
    }


@pytest.mark.parametrize("make", [init, abstract_state])
def test_what_a_parameter_costs_and_what_is_small(make: Any) -> None:
    p = params("bfloat16")
    tx = adamx.bfloat16_params(
        adamx.chain(adamx.adamw(1e-3, state_format="pair"), adamx.ema_params(0.9)), 16
    )
    *_, each, small = placement_table(make(tx, p), tx, p).splitlines()
    assert each == (
        f"bytes per parameter, {(10 * SIZE + 6 * 129 + 20) / SIZE:.3g}: "
        f"params 2, rest 2, mu {2 + 2 * 129 / SIZE:.3g}, nu {4 * 129 / SIZE:.3g}, "
        f"ema 4, other {16 / SIZE:.3g}"
    )
    assert small.startswith("left in float32, as they are small: ")
    assert small.count(".mu['") == small.count(".nu['") == 2
    assert "kernel" not in small


def test_nothing_is_left_where_all_is_floats_or_all_is_words() -> None:
    p = {"kernel": params()["kernel"]}
    for tx in (adamx.adamw(1e-3), adamx.adamw(1e-3, state_format="pair")):
        assert "bytes per parameter" in placement_table(init(tx, p), tx, p).splitlines()[-1]


def test_many_small_leaves_stay_one_short_line() -> None:
    p = {f"bias{i}": jnp.ones(8, device=on(mesh(2, 4))) for i in range(20)}
    tx = adamx.adamw(1e-3, state_format="pair")
    last = placement_table(init(tx, p), tx, p).splitlines()[-1]
    assert last.endswith(" and 34 more")
    assert last.count("[") == 6 * 2


def test_both_or_neither() -> None:
    p, tx = params(), adamx.adam(1e-3)
    state = init(tx, p)
    for given in ({"tx": tx}, {"params": p}):
        with pytest.raises(TypeError, match="give `tx` and `params` together, or neither"):
            placement_table(state, **given)
    assert "bytes per parameter" not in placement_table(state)
