"""Mode `exact` inside of every wrapper: the result of mode `dense`, or refused when it is made."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx.core.transformation import GradientTransformation, walk
from adamx.core.value import REGISTRY
from tests.selection import in_turn

V, D, STEPS = 12, 2, 30
Make = Callable[[adamx.GradientTransformation], adamx.GradientTransformation]


def even(count: Any) -> Any:
    return count % 2 == 0


WRAPPERS: dict[str, Make] = {
    "chain": lambda tx: adamx.chain(adamx.clip_by_global_norm(0.5), tx),
    "named_chain": lambda tx: adamx.named_chain(("clip", adamx.clip(0.5)), ("tx", tx)),
    "behind a chain": lambda tx: adamx.chain(tx, adamx.identity()),
    "observed": lambda tx: adamx.record_metrics(tx, "grad_norm"),
    "apply_if_finite": adamx.apply_if_finite,
    "skip_spikes": lambda tx: adamx.skip_spikes(tx, warmup_steps=5),
    "dynamic_loss_scale": lambda tx: adamx.dynamic_loss_scale(tx, initial_scale=1.0),
    "conditionally_mask": lambda tx: adamx.conditionally_mask(tx, even),
    "multi_steps": lambda tx: adamx.multi_steps(tx, 2),
    "masked": lambda tx: adamx.masked(tx, {"table": True, "b": False}),
    "multi_transform": lambda tx: adamx.multi_transform(
        {"a": tx, "b": adamx.scale(-0.1)}, {"table": "a", "b": "b"}
    ),
    "inject_hyperparams": adamx.inject_hyperparams,
    "sparse.ema_params": lambda tx: adamx.sparse.ema_params(tx, 0.9),
}
CHANGING: dict[str, Make] = {
    "cautious": lambda tx: adamx.cautious(tx, flip_sign=True),
    "schedule_free": lambda tx: adamx.schedule_free(tx, 0.1),
    "bfloat16_params": adamx.bfloat16_params,
    "conditionally_transform": lambda tx: adamx.conditionally_transform(tx, even),
    "a link behind": lambda tx: adamx.chain(tx, adamx.scale(0.5)),
    "another library's link behind": lambda tx: adamx.chain(tx, optax.scale(0.5)),
    "an average that overwrites": lambda tx: adamx.chain(
        tx, adamx.ema_params(0.9, overwrite_every=2)
    ),
    "inside a guard": lambda tx: adamx.cautious(adamx.apply_if_finite(tx), flip_sign=True),
    "inside a group": lambda tx: adamx.schedule_free(
        adamx.multi_transform({"a": tx, "b": adamx.scale(-0.1)}, {"table": "a", "b": "b"}), 0.1
    ),
}
OPTIMIZERS: dict[str, Callable[[Any], adamx.GradientTransformation]] = {
    "adamw": lambda mode: adamx.sparse.adamw(0.1, {"table": mode}, weight_decay=0.1),
    "amsgrad": lambda mode: adamx.sparse.amsgrad(0.1, {"table": mode}),
    "rows": lambda mode: adamx.sparse.rows(adamx.adam(0.1, nesterov=True), {"table": mode}),
}


def trained(tx: adamx.GradientTransformation) -> Any:
    """The parameters after steps of skewed rows, one of which is not a number."""
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.geometric(0.35, (STEPS, 3)) - 1, V - 1)
    values = rng.normal(size=(STEPS, 3, D))
    values[7] = np.nan
    params = {"b": jnp.ones(2), "table": jnp.asarray(rng.normal(size=(V, D)), jnp.float32)}

    def step(carry: Any, x: Any) -> Any:
        params, state = carry
        rows = adamx.SparseRows(x[0], x[1], V)
        return tx.step({"b": params["b"], "table": rows}, state, params), None

    batches = jnp.asarray(ids, jnp.int32), jnp.asarray(values, jnp.float32)
    start = params, tx.init(params)
    (params, state), _ = jax.jit(lambda *start: jax.lax.scan(step, start, batches))(*start)
    return adamx.sparse.flush(state, params)[0]


def test_every_wrapper_is_here() -> None:
    lazy = adamx.sparse.adam(0.1, {"table": "lazy"})
    made = [make(lazy) for make in (WRAPPERS | CHANGING).values()]
    here = {visit.transformation.public_name for tx in made for visit in walk(tx)}
    wrappers = {
        name
        for name, kind in REGISTRY.items()
        if issubclass(kind, GradientTransformation)
        and kind.children is not GradientTransformation.children
        and kind.__module__.startswith("adamx.")
        and ".interop." not in kind.__module__
    }
    assert wrappers - here == {"sparse.rows"}  # which holds links only


PAIRS = in_turn(WRAPPERS, OPTIMIZERS, "every optimizer in every wrapper")


@pytest.mark.parametrize(("name", "optimizer"), PAIRS)
def test_equals_dense_where_updates_are_kept(name: str, optimizer: str) -> None:
    guarded = adamx.apply_if_finite  # Without one a NaN stays in the table.
    make = OPTIMIZERS[optimizer]
    exact, dense = (guarded(WRAPPERS[name](make(mode))) for mode in ("exact", "dense"))
    got, expected = trained(exact), trained(dense)
    for key in expected:
        np.testing.assert_allclose(got[key], expected[key], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", CHANGING)
def test_refused_where_updates_are_changed(name: str, optimizer: str) -> None:
    CHANGING[name](OPTIMIZERS[optimizer]("lazy"))
    with pytest.raises(ValueError, match="changes the updates of") as caught:
        CHANGING[name](OPTIMIZERS[optimizer]("exact"))
    assert "foreign" not in str(caught.value)  # An internal word for another library's link.
