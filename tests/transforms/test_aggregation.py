"""Gradients of eight devices put together: where they differ, and where they are the same."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import adamx
from adamx import SparseRows
from adamx.core.compat import vary

pytestmark = pytest.mark.eight_devices

REPLICATED, SHARDED = PartitionSpec(), PartitionSpec("data")
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def loss(w: jax.Array, x: jax.Array) -> jax.Array:
    """Its gradient is the mean of the rows of x."""
    return jnp.mean(x @ w)


def mapped(f: Any, how: str, in_specs: Any = SHARDED, out_specs: Any = REPLICATED) -> Any:
    """f on every device's rows, whose result is the same on all of them."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    return jax.jit(
        jax.shard_map(
            f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=how == "tracked"
        )
    )


HOW = pytest.mark.parametrize("how", ["tracked", "untracked"])
LINKS = pytest.mark.parametrize(
    ("link", "oracle"),
    [
        (adamx.psum("data"), X.sum(0)),
        (adamx.pmean("data"), X.mean(0)),
        (adamx.aggregate(jax.lax.pmax, "data"), X.max(0)),
        (adamx.psum(("data",)), X.sum(0)),
    ],
    ids=["psum", "pmean", "pmax", "tuple"],
)


@HOW
@LINKS
def test_shard_map(link: Any, oracle: np.ndarray, how: str) -> None:
    def aggregated(x: jax.Array) -> Any:
        return link.update({"w": x[0], "none": None}, ())[0]

    got = mapped(aggregated, how)(X)
    chex.assert_trees_all_close(got, {"w": oracle, "none": None}, rtol=1e-6)


@LINKS
def test_pmap_and_vmap(link: Any, oracle: np.ndarray) -> None:
    for transform in (jax.pmap, jax.vmap):
        got = transform(lambda g: link.update(g, ())[0], axis_name="data")(X)
        chex.assert_trees_all_close(got, np.stack([oracle] * 8), rtol=1e-6)


def test_several_axes() -> None:
    mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    for link, oracle in (
        (adamx.psum(("a", "b")), X.sum(0)),
        (adamx.pmean(("a", "b")), X.mean(0)),
    ):
        got = jax.shard_map(
            lambda x, link=link: link.update(x[0], ())[0],
            mesh=mesh,
            in_specs=PartitionSpec(("a", "b")),
            out_specs=REPLICATED,
        )(X)
        chex.assert_trees_all_close(got, oracle, rtol=1e-6)


@HOW
@pytest.mark.parametrize("link", [adamx.psum("data"), adamx.pmean("data")], ids=str)
def test_sparse_rows_stay_sparse(link: Any, how: str) -> None:
    ids = np.array([[1, 2], [1, -1], [0, 0], [5, 1], [2, 2], [3, 4], [4, -1], [1, 5]])
    values = np.random.default_rng(1).normal(size=(8, 2, 3)).astype(np.float32)

    def aggregated(ids: jax.Array, values: jax.Array) -> SparseRows:
        rows = link.update(SparseRows(ids[0], values[0], 6), ())[0]
        assert isinstance(rows, SparseRows)
        return rows.to_dense()

    oracle = np.zeros((6, 3))
    np.add.at(oracle, ids[ids >= 0], values[ids >= 0])
    oracle /= 8 if link.public_name == "pmean" else 1
    got = mapped(aggregated, how, (SHARDED, SHARDED))(ids, values)
    chex.assert_trees_all_close(got, oracle, rtol=1e-6, atol=1e-6)
    by_pmap = jax.pmap(
        lambda i, v: link.update(SparseRows(i, v, 6), ())[0].to_dense(), axis_name="data"
    )(ids, values)
    chex.assert_trees_all_close(by_pmap[5], oracle, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("link", [adamx.psum("data"), adamx.pmean("data")], ids=str)
def test_a_gradient_that_jax_has_summed_already_is_refused(link: Any) -> None:
    """Inside `shard_map`, `jax.grad` of replicated parameters is a sum over devices."""

    def step(w: jax.Array, x: jax.Array) -> Any:
        return link.update({"w": jax.grad(loss)(w, x)}, ())[0]

    message = (
        r"gradient at \['w'\] is the same on all devices of axis 'data' already.*pcast.*"
        "with `make_step`, give it `axis_name=`"
    )
    with pytest.raises(ValueError, match=message):
        mapped(step, "tracked", (REPLICATED, SHARDED))(jnp.ones(4), X)

    def varying_copies(w: jax.Array, x: jax.Array) -> Any:
        return step(vary(w, ("data",)), x)

    oracle = X.sum(0) if link.public_name == "psum" else X.mean(0)
    for how, f in (("tracked", varying_copies), ("untracked", step)):
        got = mapped(f, how, (REPLICATED, SHARDED))(jnp.ones(4), X)
        chex.assert_trees_all_close(got["w"], oracle, rtol=1e-6)


@HOW
def test_make_step_averages_and_is_not_fooled(how: str) -> None:
    tx = adamx.scale(-1.0)
    step = adamx.make_step(loss, tx, axis_name="data")
    got = mapped(step, how, (REPLICATED, REPLICATED, SHARDED))(jnp.zeros(4), tx.init(None), X)
    chex.assert_trees_all_close(got[0], -X.mean(0), rtol=1e-6)


def test_make_step_refuses_a_loss_that_is_averaged_already() -> None:
    tx = adamx.scale(-1.0)
    step = adamx.make_step(lambda w, x: jax.lax.pmean(loss(w, x), "data"), tx, axis_name="data")
    with pytest.raises(ValueError, match="the loss is the same on all devices of axis 'data'"):
        mapped(step, "tracked", (REPLICATED, REPLICATED, SHARDED))(jnp.zeros(4), tx.init(None), X)
    # Without the name the gradient is right as it comes.
    plain = adamx.make_step(lambda w, x: jax.lax.pmean(loss(w, x), "data"), tx)
    got = mapped(plain, "tracked", (REPLICATED, REPLICATED, SHARDED))(
        jnp.zeros(4), tx.init(None), X
    )
    chex.assert_trees_all_close(got[0], -X.mean(0), rtol=1e-6)


def test_over_no_axis_nothing_happens() -> None:
    assert adamx.psum(()).update({"w": X}, ())[0]["w"] is X


@pytest.mark.parametrize("make", [adamx.psum, adamx.pmean])
def test_bad_axes(make: Any) -> None:
    for bad in (None, 3, ("data", None)):
        with pytest.raises(
            TypeError, match=f"{make.public_name}: `axis_name` must be an axis name"
        ):
            make(bad)
    with pytest.raises(ValueError, match="axis_name='batch' names no axis here"):
        make("batch").update(X, ())
    with pytest.raises(ValueError, match="axis_name='batch' names no axis here"):
        mapped(lambda x: make("batch").update(x, ())[0], "tracked")(X)
