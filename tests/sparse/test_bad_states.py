"""States and parameters of a table that do not fit are refused where they would broadcast."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adamx

TABLE = jnp.ones((4, 2))
MODES = ["dense", "lazy", "exact", "rowwise", "counted"]
AVERAGED = [
    adamx.sparse.ema_params(adamx.sparse.adam(0.1, "lazy"), 0.5),
    adamx.sparse.ema_params(adamx.sparse.adam(0.1, "exact"), 0.5),
    adamx.ema_params(0.5),
    adamx.schedule_free_adamw(0.1),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("field", ["mu", "nu"])
def test_integer_moments_are_refused(mode: str, field: str) -> None:
    tx = adamx.sparse.adam(0.1, mode)
    state = tx.init(TABLE)
    bad = state._replace(**{field: getattr(state, field).astype(int)})
    with pytest.raises((TypeError, ValueError), match=r"int32|not that of its mode"):
        tx.step(TABLE, bad, TABLE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("params", [1.0, jnp.ones(2), jnp.ones((4, 1))], ids=jnp.shape)
def test_flush_does_not_broadcast(mode: str, params: Any) -> None:
    state = adamx.sparse.adam(0.1, mode).init(TABLE)
    for read in (adamx.sparse.flush, adamx.eval_params):
        with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
            read(state, params)


@pytest.mark.parametrize("tx", AVERAGED, ids=lambda tx: tx.public_name)
@pytest.mark.parametrize("params", [1.0, jnp.ones(2), jnp.ones((4, 1))], ids=jnp.shape)
def test_an_average_does_not_broadcast(tx: Any, params: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
        adamx.eval_params(tx.init(TABLE), params)


def test_an_average_made_for_integers_is_refused() -> None:
    """It would not be averaged any more, silently."""
    integers = {"w": jnp.ones(2, int), "v": jnp.ones(2)}
    params = jax.tree.map(lambda x: x.astype(float), integers)
    for tx in (adamx.ema_params(0.5), adamx.chain(adamx.scale(1.0), adamx.ema_params(0.5))):
        for call in (tx.update, tx.step):
            with pytest.raises(TypeError, match=r"\['w'\] is float32\[2\], but .* not trained"):
                call(params, tx.init(integers), params)
