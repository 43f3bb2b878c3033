"""Bytes by what they are for: all of them, each once, and nothing is allocated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adamx

PARAMS = {"table": jnp.zeros((100, 50)), "bias": jnp.zeros(50), "step": jnp.zeros((), jnp.int32)}
SIZE, TABLE = 5050, 5000
LABELS = {"table": "a", "bias": "b", "step": "b"}
TREES: dict[str, tuple[Any, dict[str, int]]] = {
    "adamw": (adamx.adamw(1e-3), {"mu": 4 * SIZE, "nu": 4 * SIZE, "other": 4}),
    "pair": (
        adamx.adamw(1e-3, state_format="pair"),
        {"mu": 2 * TABLE + 200, "nu": 200, "other": 4},
    ),
    "bfloat16": (
        adamx.adamw(1e-3, state_format="bfloat16"),
        {"mu": 2 * SIZE, "nu": 2 * SIZE, "other": 4},
    ),
    "one average beside another": (
        adamx.chain(adamx.ema(0.9), adamx.adam(1e-3), adamx.ema_params(0.9)),
        {"ema": 8 * SIZE, "mu": 4 * SIZE, "nu": 4 * SIZE, "other": 16},
    ),
    "one group of two": (
        adamx.multi_transform({"a": adamx.adam(1e-3), "b": adamx.freeze()}, LABELS),
        {"mu": 4 * TABLE, "nu": 4 * TABLE, "other": 4},
    ),
    "rows": (
        adamx.sparse.adam(1e-3, {"table": "rowwise"}),
        {"mu": 4 * SIZE, "nu": 4 * (100 + 50), "memory": 0, "other": 4},
    ),
    "optax": (optax.adam(1e-3), {"other": 8 * SIZE + 4}),
}


@pytest.mark.parametrize("name", TREES)
def test_every_byte_has_its_kind(name: str) -> None:
    tx, wanted = TREES[name]
    params = {**PARAMS}
    if name == "optax":
        del params["step"]
    kept = adamx.kept_bytes(tx, params)
    own = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert {kind: size for kind, size in kept.items() if kind != "other"} == {
        "params": own,
        **{kind: size for kind, size in wanted.items() if kind != "other"},
    }
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(tx.init(params)))
    assert sum(kept.values()) == own + state


def test_shapes_are_enough() -> None:
    huge = jax.ShapeDtypeStruct((7_000_000, 1000), jnp.bfloat16)
    tx = adamx.bfloat16_params(adamx.adam(1e-3, state_format="pair"), 8)
    assert adamx.kept_bytes(tx, huge) == {
        "params": 14 * 10**9,
        "rest": 7 * 10**9,
        "mu": 14 * 10**9,
        "nu": 0,
        "other": 8,
    }


def test_what_is_no_transformation_is_refused() -> None:
    with pytest.raises(TypeError, match=r"kept_bytes: `?tx`? must be a gradient transformation"):
        adamx.kept_bytes(PARAMS, PARAMS)


def test_links_that_share_a_state_count_once() -> None:
    params = {"table": jax.ShapeDtypeStruct((100, 64), "float32")}
    tx = adamx.sparse.rows(adamx.adamw(1e-3, state_format="pair"), "lazy")
    kept = adamx.kept_bytes(tx, params)
    assert {name: kept[name] for name in ("params", "mu", "nu")} == {
        "params": 25600,
        "mu": 12800,
        "nu": 0,
    }


def test_parameters_that_are_no_arrays_are_named() -> None:
    with pytest.raises(
        TypeError, match=r"kept_bytes: in the parameters at \['w'\], expected arrays"
    ):
        adamx.kept_bytes(adamx.adam(0.1), {"w": "x"})
