"""`apply_updates` adds in the parameters' dtypes, and never broadcasts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

FLOAT0 = np.zeros(2, jax.dtypes.float0)


@pytest.mark.parametrize("param", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("update", ["float32", "bfloat16"])
def test_parameters_keep_their_dtype_and_are_rounded_once(param: str, update: str) -> None:
    p, u = jnp.asarray([1.0, 100.0], param), jnp.asarray([1 / 3, -1 / 3], update)
    result = adamx.apply_updates(p, u)
    exact = np.float64(p) + np.float64(u)
    assert result.dtype == p.dtype
    np.testing.assert_array_equal(result, jnp.asarray(exact.astype(np.float32)).astype(param))


@pytest.mark.parametrize("update", [None, FLOAT0, jnp.ones(2, int)], ids=["none", "float0", "int"])
def test_integers_never_move(update: Any) -> None:
    count = jnp.arange(2)
    assert adamx.apply_updates({"n": count}, {"n": update})["n"] is count


@pytest.mark.parametrize("update", [None, FLOAT0], ids=["none", "float0"])
def test_no_update_is_no_movement(update: Any) -> None:
    frozen = jnp.ones(2)
    result = adamx.apply_updates({"w": frozen, "none": None}, {"w": update, "none": None})
    assert result["w"] is frozen
    assert result["none"] is None


@pytest.mark.parametrize(
    ("update", "error", "message"),
    [
        ({"w": jnp.ones((2, 1))}, ValueError, r"updates at \['w'\] has shape \(2, 1\), .*\(2,\)"),
        ({"w": 1.0}, ValueError, r"\['w'\] has shape \(\)"),
        ({"w": jnp.ones(2, int)}, TypeError, r"updates at \['w'\] is int32\[2\], .*float32\[2\]"),
        ({"w": jnp.ones(2) * 1j}, TypeError, r"updates at \['w'\] is complex64\[2\]"),
        ({}, ValueError, r"missing in the updates: \['w'\]"),
        ([1.0], ValueError, r"unexpected in the updates: \[0\]"),
    ],
)
def test_a_mismatch_is_named_by_its_path(update: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        adamx.apply_updates({"w": jnp.ones(2)}, update)


def test_a_single_array_is_called_the_whole_tree() -> None:
    with pytest.raises(ValueError, match="at <the whole tree> has shape"):
        adamx.apply_updates(jnp.ones(2), jnp.ones(3))


def test_containers_of_the_same_leaves_differ() -> None:
    with pytest.raises(ValueError, match="do not have the structure of the parameters"):
        adamx.apply_updates((1.0, 2.0), [1.0, 2.0])


def test_a_long_list_of_leaves_is_cut() -> None:
    with pytest.raises(ValueError, match=r"missing in the updates: .* and 7 more"):
        adamx.apply_updates([1.0] * 12, [])


def test_agrees_with_optax() -> None:
    params, updates = {"w": jnp.ones(3), "b": jnp.zeros(())}, {"w": jnp.arange(3.0), "b": 0.5}
    ours, theirs = adamx.apply_updates(params, updates), optax.apply_updates(params, updates)
    assert jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))
