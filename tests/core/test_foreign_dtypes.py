"""Links of optax keep in our chain what they have in optax's: dtypes, extra arguments, shapes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

LINKS = {
    "trace": lambda: optax.trace(0.9),
    "lion": lambda: optax.scale_by_lion(),
    "adam": lambda: optax.scale_by_adam(),
    "rss": lambda: optax.scale_by_rss(),
    "novograd": lambda: optax.scale_by_novograd(),
    "ema": lambda: optax.ema(0.9),
    "rms": lambda: optax.scale_by_rms(),
    "factored": lambda: optax.scale_by_factored_rms(),
    "amsgrad": lambda: optax.scale_by_amsgrad(),
    "clip": lambda: optax.adaptive_grad_clip(0.1),
    "momentum": lambda: optax.sgd(0.1, 0.9),
}
CHAINS: dict[str, Any] = {
    "first": lambda link: adamx.chain(link, adamx.scale(-0.1)),
    "last": lambda link: adamx.chain(adamx.clip(1.0), link),
    "nested": lambda link: adamx.chain(adamx.clip(1.0), adamx.chain(link), adamx.scale(0.5)),
    "guarded": lambda link: adamx.chain(adamx.clip(1.0), adamx.apply_if_finite(link)),
    "accumulated": lambda link: adamx.multi_steps(link, 2),
    "scaled": lambda link: adamx.dynamic_loss_scale(link),
}


def dtypes(tree: Any) -> list[Any]:
    return [jax.dtypes.result_type(x) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("name", LINKS)
def test_a_scan_in_16_bit_type_checks_as_in_optax(name: str, chain: str) -> None:
    params = {"w": jnp.ones((2, 3), jnp.bfloat16)}
    alone, tx = LINKS[name](), CHAINS[chain](LINKS[name]())

    def after(init: Any, step: Any) -> Any:
        state = jax.eval_shape(init, params)
        for _ in range(2):
            _, state = jax.eval_shape(step, params, state, params)
        return dtypes(state)

    wanted = after(alone.init, alone.update)
    before = after(tx.init, lambda updates, state, params: (updates, state))
    for step in (tx.update, tx.step):
        assert after(tx.init, step) == before
    if chain in ("first", "last", "nested"):
        assert before == dtypes(jax.eval_shape(alone.init, params)) == wanted


def takes(names: str) -> Any:
    """A transformation whose `update` has this signature, and multiplies by `value`."""
    scope: dict[str, Any] = {}
    exec(
        f"def update(updates, state, params=None, {names}):\n"
        "    return jax.tree.map(lambda u: u * value, updates), state",
        {"jax": jax},
        scope,
    )
    return optax.GradientTransformationExtraArgs(lambda params: (), scope["update"])


@pytest.mark.parametrize("names", ["*, value", "value=None", "value=None, **rest", "*, value=1.0"])
def test_extra_arguments_reach_every_signature(names: str) -> None:
    tx = adamx.chain(takes(names), adamx.scale(1.0))
    updates, _ = tx.update(jnp.ones(2), tx.init(None), value=3.0, other=4.0)
    np.testing.assert_array_equal(updates, [3.0, 3.0])


def test_extra_arguments_reach_one_that_takes_any_trees() -> None:
    def update(*trees: Any, value: Any) -> Any:
        updates, state, _ = trees
        return updates * value, state

    tx = adamx.chain(optax.GradientTransformationExtraArgs(lambda params: (), update))
    updates, _ = tx.update(jnp.ones(2), tx.init(None), value=3.0, other=4.0)
    np.testing.assert_array_equal(updates, [3.0, 3.0])


def test_a_link_may_change_shapes() -> None:
    total = optax.stateless(lambda updates, params: jax.tree.map(jnp.sum, updates))
    tx = adamx.chain(total, adamx.scale(2.0))
    updates, _ = tx.update({"w": jnp.ones(3, jnp.bfloat16)}, tx.init(None))
    assert updates == {"w": 6.0}
    assert updates["w"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"\['w'\] has shape \(\)"):
        tx.update({"w": jnp.ones(3)}, tx.init(None), {"w": jnp.ones(3)})
