"""Links of somebody else's package are as good as ours, with no file of ours touched."""

import json
import pickle
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import adamx
from tests.contract.support import tree
from tests.extension.package import FixedPoint, Halved, Largest, ScaleBySignMomentum
from tests.sharding.support import mesh, on

LION = adamx.chain(ScaleBySignMomentum(), adamx.scale_by_learning_rate(0.1))
CASES = {
    "core": LION,
    "format": adamx.chain(ScaleBySignMomentum(fixed_point=True), adamx.scale(-0.1)),
    "wrapper": Halved(LION),
    "observer": adamx.chain(LION, Largest()),
    "all": adamx.apply_if_finite(adamx.chain(Halved(LION), adamx.ema_params(0.9), Largest())),
}
every = pytest.mark.parametrize("tx", CASES.values(), ids=CASES)


@every
def test_steps_like_update_and_apply(tx: adamx.GradientTransformation) -> None:
    params, grads = tree(), tree(seed=1)
    state = tx.init(params)
    updates, after = tx.update(grads, state, params)
    expected = adamx.apply_updates(params, updates), after
    stepped = jax.jit(lambda g, s, p: tx.step(g, s, p))(grads, state, params)
    chex.assert_trees_all_close(stepped, expected, rtol=1e-6)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@every
def test_is_a_value(tx: adamx.GradientTransformation) -> None:
    assert adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))) == tx
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert len({tx, jax.tree.map(lambda x: x, tx)}) == 1


def test_equals_the_peer() -> None:
    peer, params = optax.scale_by_lion(0.9, 0.99), tree()
    state, expected = LION.init(params), peer.init(params)
    for seed in range(3):
        grads = tree(seed=seed)
        updates, state = LION.update(grads, state, params)
        direction, expected = peer.update(grads, expected)
        chex.assert_trees_all_close(updates, jax.tree.map(lambda u: -0.1 * u, direction))


def test_the_format_stores_what_it_says() -> None:
    tx = ScaleBySignMomentum(fixed_point=True)
    _, state = tx.update(jnp.array([64.0, -0.5]), tx.init(jnp.zeros(2)))
    assert state.mu.dtype == jnp.int16
    np.testing.assert_allclose(FixedPoint().load(state.mu), [0.64, -0.005], atol=2.0**-9)


def test_the_format_is_one_of_the_moments_of_adam() -> None:
    form = FixedPoint(14)
    tx, wide = adamx.adam(0.1, state_format=form), adamx.adam(0.1)
    params, grads = jnp.ones((4, 2)), jnp.linspace(-1.0, 1.0, 8).reshape(4, 2)
    _, state = tx.step(grads, tx.init(params), params)
    np.testing.assert_allclose(form.load(state[0].mu), 0.1 * grads, atol=2.0**-14)
    rows = adamx.sparse.rows(tx, "lazy")
    _, of_rows = rows.step(grads, rows.init(params), params)
    np.testing.assert_array_equal(of_rows.mu, state[0].mu)
    _, converted = adamx.convert_state(tx, wide, params, state)
    np.testing.assert_array_equal(converted[0].mu, form.load(state[0].mu))
    with pytest.raises(TypeError, match="keeps `mu` in words of its own"):
        adamx.convert_state(rows, adamx.sparse.rows(wide, "lazy"), params, of_rows)


@every
def test_is_placed_like_the_parameters(tx: adamx.GradientTransformation) -> None:
    params = {"w": jnp.ones((8, 16), device=on(mesh(2, 4), "data", "model"))}
    placed = adamx.sharding.state_sharding(tx, params)
    state = adamx.sharding.init(tx, params)
    for leaf, sharding in zip(*map(jax.tree.leaves, (state, placed)), strict=True):
        wanted = P("data", "model") if leaf.ndim else P()
        assert sharding.spec == leaf.sharding.spec == wanted


@pytest.mark.parametrize("fixed_point", [False, True])
def test_steps_rows(fixed_point: bool) -> None:
    core = ScaleBySignMomentum(fixed_point=fixed_point)
    tx = adamx.sparse.rows(adamx.chain(core, adamx.scale_by_learning_rate(0.5)), "lazy")
    table = jnp.zeros((4, 2))
    rows = adamx.SparseRows(jnp.array([2, 2]), jnp.array([[1.0, -1.0]] * 2), 4)
    table, _ = tx.step(rows, tx.init(table), table)
    np.testing.assert_array_equal(table, [[0, 0], [0, 0], [-0.5, 0.5], [0, 0]])
    with pytest.raises(ValueError, match="`exact` knows what a row misses under Adam"):
        adamx.sparse.rows(adamx.chain(core, adamx.scale_by_learning_rate(0.5)), "exact")


def test_a_wrapper_that_changes_updates_is_refused_around_exact() -> None:
    class Louder(Halved):
        def keeps_updates(self) -> bool:
            return False

    exact: Any = adamx.sparse.adam(0.1, "exact")
    assert "later and by themselves" in Halved(exact).why_final()
    with pytest.raises(ValueError, match=r"changes the updates of sparse\.adam"):
        Louder(exact)


def test_the_observer_sees_what_was_written() -> None:
    params = {"w": jnp.array([3.0, -5.0])}
    tx = CASES["observer"]
    params, state = tx.step({"w": jnp.array([1.0, 1.0])}, tx.init(params), params)
    assert adamx.metrics(state)["largest"] == jnp.max(jnp.abs(params["w"]))
