"""Which parameter steps in which mode, and how the optimizers fit in with everything else."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx import SparseRows

RNG = np.random.default_rng(0)
PARAMS = {
    "users": jnp.asarray(RNG.normal(size=(8, 3)), jnp.float32),
    "items": jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32),
    "w": jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32),
    "temperature": jnp.float32(1.0),
}


def sparse(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "users": SparseRows(jnp.array([7, 0, 7, -1]), rng.normal(size=(4, 3)), 8),
        "items": SparseRows(jnp.array([1, 6, 1]), rng.normal(size=(3, 2)), 6),
        "w": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32),
        "temperature": jnp.float32(rng.normal()),
    }


def dense(grads: dict[str, Any]) -> dict[str, Any]:
    return {k: g.to_dense() if isinstance(g, SparseRows) else g for k, g in grads.items()}


def train(tx: Any, gradients: list[Any]) -> tuple[Any, Any]:
    params, state = PARAMS, tx.init(PARAMS)
    step = jax.jit(tx.step)
    for grads in gradients:
        params, state = step(grads, state, params)
    return params, state


GRADIENTS = [sparse(t) for t in range(3)]
DENSE = [dense(g) for g in GRADIENTS]
SCHEDULE = adamx.cosine_decay_schedule(0.1, 5)


@pytest.mark.parametrize("raw", [False, True])
def test_amsgrad_of_all_rows_is_that_of_the_array(raw: bool) -> None:
    """Of either maximum; they differ where gradients shrink."""
    gradients = [jax.tree.map(lambda p, t=t: jnp.cos(p) / (t + 1) ** 3, PARAMS) for t in range(3)]

    def as_rows(g: Any) -> Any:
        return SparseRows(jnp.arange(len(g)), g, len(g)) if jnp.ndim(g) else g

    tx = adamx.sparse.amsgrad(0.1, "lazy", raw_maximum=raw)
    found, _ = train(tx, [jax.tree.map(as_rows, grads) for grads in gradients])
    wanted, other = (train(adamx.amsgrad(0.1, raw_maximum=x), gradients)[0] for x in (raw, not raw))
    chex.assert_trees_all_close(found, wanted, rtol=1e-6)
    assert float(jnp.abs(found["users"] - other["users"]).max()) > 1e-2


def test_every_parameter_steps_in_the_mode_of_its_path() -> None:
    tx = adamx.sparse.adam(SCHEDULE, {"user": "rowwise", "s$": "lazy"})
    params, state = train(tx, GRADIENTS)
    assert {name: x.shape for name, x in state.nu.items()} == {
        "users": (8,),
        "items": (6, 2),
        "w": (3, 2),
        "temperature": (),
    }
    for name, mode in (("users", "rowwise"), ("items", "lazy"), ("w", "dense")):
        alone = adamx.sparse.adam(SCHEDULE, mode)
        p, s = PARAMS[name], alone.init(PARAMS[name])
        for grads in GRADIENTS:
            p, s = jax.jit(alone.step)(grads[name], s, p)
        np.testing.assert_allclose(params[name], p, rtol=1e-6)


@pytest.mark.parametrize(
    ("ours", "ordinary"),
    [
        (adamx.sparse.adam(SCHEDULE, "dense", eps_hat=True), adamx.adam(SCHEDULE, eps_hat=True)),
        (
            adamx.sparse.adamw(0.1, "dense", b1=0.8, weight_decay=SCHEDULE),
            adamx.adamw(0.1, b1=0.8, weight_decay=SCHEDULE),
        ),
        (adamx.sparse.amsgrad(0.1, "dense", b2=0.9), adamx.amsgrad(0.1, b2=0.9)),
        (
            adamx.sparse.adamw(0.1, {"w": "dense"}, mask=adamx.mask_by_path("w"), eps_root=1e-4),
            adamx.adamw(0.1, mask=adamx.mask_by_path("w"), eps_root=1e-4),
        ),
    ],
    ids=["adam", "adamw", "amsgrad", "mask"],
)
def test_mode_dense_is_the_ordinary_optimizer(ours: Any, ordinary: Any) -> None:
    params, state = train(ours, GRADIENTS)
    wanted, _ = train(ordinary, DENSE)
    chex.assert_trees_all_close(params, wanted, rtol=2e-6, atol=1e-7)
    assert state.count == 3


@pytest.mark.parametrize("mode", ["lazy", "exact"])
def test_a_gradient_that_is_an_array_touches_every_row(mode: str) -> None:
    params, _ = train(adamx.sparse.adamw(0.1, mode), DENSE)
    wanted, _ = train(adamx.adamw(0.1), DENSE)
    chex.assert_trees_all_close(params, wanted, rtol=2e-6, atol=1e-7)


def test_rows_decay_when_they_step() -> None:
    tx = adamx.sparse.adamw(0.1, "lazy", weight_decay=0.5)
    nothing = SparseRows(jnp.array([1]), jnp.zeros((1, 3)), 8)
    after, _ = tx.step(nothing, tx.init(PARAMS["users"]), PARAMS["users"])
    wanted = PARAMS["users"].at[1].mul(1 - 0.1 * 0.5)
    np.testing.assert_allclose(after, wanted, rtol=1e-6)


def test_its_learning_rate_is_found() -> None:
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.sparse.adam(SCHEDULE, "lazy"))
    state = train(tx, GRADIENTS)[1]
    np.testing.assert_allclose(adamx.get_learning_rate(state, tx), SCHEDULE(3), rtol=1e-6)
    recorded = adamx.record_metrics(tx, "learning_rate", "grad_norm", "update_norm")
    _, state = train(recorded, GRADIENTS)
    measured = adamx.metrics(state)
    norm = adamx.global_norm(DENSE[-1])
    np.testing.assert_allclose(measured["grad_norm"], norm, rtol=1e-6)
    np.testing.assert_allclose(measured["learning_rate"], SCHEDULE(2), rtol=1e-6)
    with pytest.raises(ValueError, match="flips the sign"):
        adamx.cautious(adamx.sparse.adam(0.1))


def test_its_numbers_can_be_set_between_steps() -> None:
    tx = adamx.inject_hyperparams(adamx.sparse.adamw(0.1, {"users": "lazy", "items": "exact"}))
    state = adamx.set_hyperparams(tx.init(PARAMS), learning_rate=0.0)
    params, _ = jax.jit(tx.step)(GRADIENTS[0], state, PARAMS)
    chex.assert_trees_all_equal(params, PARAMS)


def test_groups_may_have_a_table_each() -> None:
    groups = adamx.multi_transform(
        {"tables": adamx.sparse.adam(0.1, {"users|items": "lazy"}), "rest": adamx.adam(0.1)},
        adamx.label_by_path(("users|items", "tables"), default="rest"),
    )
    together = adamx.sparse.adam(0.1, {"users|items": "lazy"})
    chex.assert_trees_all_close(
        train(groups, GRADIENTS)[0], train(together, GRADIENTS)[0], rtol=1e-6
    )


def test_accumulated_rows_become_an_array() -> None:
    """As documented: of a total of the size of the table every row counts as touched."""
    params, _ = train(adamx.multi_steps(adamx.sparse.adam(0.1, "lazy"), 3), GRADIENTS)
    mean = jax.tree.map(lambda *g: sum(g) / 3, *DENSE)
    wanted, _ = train(adamx.adam(0.1), [mean])
    chex.assert_trees_all_close(params, wanted, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("made_with", "used_with"),
    [
        (adamx.sparse.adam(0.1, {"users": "lazy"}), adamx.sparse.adam(0.1, {"users": "rowwise"})),
        (adamx.sparse.adam(0.1, {"users": "lazy"}), adamx.sparse.adam(0.1, {"users": "exact"})),
        (adamx.sparse.adam(0.1, {"users": "exact"}), adamx.sparse.adam(0.1, {"users": "lazy"})),
        (adamx.sparse.adam(0.1), adamx.sparse.amsgrad(0.1)),
    ],
)
def test_the_state_of_another_mode_is_refused(made_with: Any, used_with: Any) -> None:
    with pytest.raises(ValueError, match=r"the parameter '\w+' is not that of its mode"):
        used_with.update(GRADIENTS[0], made_with.init(PARAMS), PARAMS)


@pytest.mark.parametrize(
    ("modes", "error", "message"),
    [
        ("eager", ValueError, "unknown mode 'eager'; .*known are 'dense', 'lazy'"),
        ({"users": "lasy"}, ValueError, "unknown mode 'lasy'; did you mean 'lazy'"),
        ({"(": "lazy"}, ValueError, "regular expression"),
        ({}, ValueError, "at least one regular expression"),
        ({"users": 1}, TypeError, "name of a mode"),
        (None, TypeError, "a dict from patterns"),
    ],
    ids=["name", "value", "pattern", "empty", "number", "none"],
)
def test_what_is_no_mode_is_refused(modes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adamx.sparse.adam(0.1, modes)


def test_a_pattern_that_is_found_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="'user/' is found in none of the 4 paths"):
        adamx.sparse.adam(0.1, {"user/": "lazy"}).init(PARAMS)


def test_it_prints_what_it_was_made_of() -> None:
    tx = adamx.sparse.adamw(0.1, {"users": "exact", "items": "lazy"}, weight_decay=0.0)
    assert "modes={'users': 'exact', 'items': 'lazy'}" in repr(tx)
    assert tx == adamx.from_config(adamx.get_config(tx))
