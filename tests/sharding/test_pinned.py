"""Steps whose results stay where their arguments are."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import adamx
from adamx.sharding import host_sharding, init, keep_placement, state_sharding, zero1_sharding
from tests.sharding.support import batch, loss, mesh, on, params, specs
from tests.versions import host_memory

pytestmark = pytest.mark.eight_devices

TX = adamx.chain(adamx.clip_by_global_norm(0.5), adamx.adamw(0.1), adamx.ema_params(0.9))


def replicated() -> Any:
    return jax.device_put(params(), on(mesh()))


def test_without_it_parameters_drift_and_the_second_step_compiles_again() -> None:
    """What `keep_placement` is for; if JAX ever does this by itself, it can go."""
    w = replicated()
    state = init(TX, w, zero1_sharding(TX, w, "data"))
    step = jax.jit(TX.step)
    grads = jax.tree.map(jnp.ones_like, w)
    new, new_state = step(grads, state, w)
    assert specs(new) != specs(w)
    step(grads, new_state, new)
    assert step._cache_size() == 2


def test_a_state_made_by_init_alone_is_put_on_the_mesh() -> None:
    """`tx.init` leaves counts on one device; the step is still compiled once."""
    w, traces = replicated(), []

    def counted(*args: Any) -> jax.Array:
        traces.append(None)
        return loss(*args)

    step = adamx.make_step(counted, TX)
    state = TX.init(w)
    for _ in range(3):
        w, state, _ = step(w, state, batch())
        assert specs(state) == state_sharding(TX, w)
    assert len(traces) == 1


def test_it_is_compiled_once_for_every_placement() -> None:
    traces = []

    def counted(*args: Any) -> jax.Array:
        traces.append(None)
        return loss(*args)

    step = adamx.make_step(counted, TX, donate=False)
    results = []
    for where in (mesh(8, 1), mesh(2, 4)):
        w = jax.device_put(params(), {"b": on(where, "model"), "w": on(where, None, "model")})
        for _ in range(2):
            results.append(jax.device_get(step(w, init(TX, w), batch())))
    assert len(traces) == 2
    for result in results[1:]:
        chex.assert_trees_all_close(result, results[0], rtol=1e-6, atol=1e-6)


def test_it_updates_in_place() -> None:
    w = replicated()
    state = init(TX, w)
    adamx.make_step(loss, TX)(w, state, batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((w, state)))


def test_inside_a_loop_of_your_own() -> None:
    """Under `jit` and `scan` it is a plain step; the loop says where its results go."""
    w = replicated()
    state = init(TX, w, zero1_sharding(TX, w, "data"))
    step = adamx.make_step(loss, TX)

    def loop(w: Any, state: Any) -> Any:
        def body(carry: Any, _: None) -> Any:
            w, state, value = step(*carry, batch())
            return (w, state), value

        return jax.lax.scan(body, (w, state), length=3)

    (new, new_state), _ = jax.jit(loop, out_shardings=((specs(w), specs(state)), None))(w, state)
    for _ in range(3):
        w, state, _ = step(w, state, batch())
    chex.assert_trees_all_close(
        jax.device_get((new, new_state)), jax.device_get((w, state)), rtol=1e-6
    )


def test_a_state_for_another_mesh_is_refused() -> None:
    w = replicated()
    elsewhere = jax.device_put(params(), on(mesh(2, 4)))
    with pytest.raises(
        ValueError,
        match=r"step: state\[1\]\[0\].count is on the mesh \('data': 2, 'model': 4\) .* but "
        r"params\['b'\] is on the mesh \('data': 8, 'model': 1\)",
    ):
        adamx.make_step(loss, TX)(w, init(TX, elsewhere), batch())


def test_a_state_that_was_put_on_one_device_is_refused() -> None:
    w = replicated()
    state = jax.device_put(TX.init(params()), jax.devices()[2])
    with pytest.raises(ValueError, match=r"state\[1\]\[0\].count is on the device 2, but params"):
        adamx.make_step(loss, TX)(w, state, batch())


def test_it_takes_functions_only() -> None:
    with pytest.raises(TypeError, match="keep_placement: `step` must be a function, got 3"):
        keep_placement(3)


@host_memory
@pytest.mark.parametrize("zero", [False, True])
def test_a_state_in_the_memory_of_the_host(zero: bool) -> None:
    w = replicated()
    shardings = zero1_sharding(TX, w, "data") if zero else None
    abstract = adamx.sharding.abstract_state(TX, w, shardings)
    on_host = host_sharding(abstract)
    state = init(TX, w, on_host)
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.memory_kind == ("pinned_host" if leaf.ndim else "device")
    expected, expected_state = w, init(TX, w, shardings)
    step = adamx.make_step(loss, TX, donate=False)
    for _ in range(2):
        w, state, _ = step(w, state, batch())
        expected, expected_state, _ = step(expected, expected_state, batch())
        assert specs(state) == on_host
        assert specs(w) == specs(expected)
    chex.assert_trees_all_close(
        jax.device_get((w, state)), jax.device_get((expected, expected_state)), rtol=1e-6
    )


def test_a_device_that_cannot_reach_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamx.sharding.memory.HOST", "unheard_of")
    abstract = adamx.sharding.abstract_state(TX, replicated())
    with pytest.raises(
        ValueError, match=r"\[1\]\[0\].mu\['b'\] is on .*, which has no 'unheard_of' memory but"
    ):
        host_sharding(abstract)
