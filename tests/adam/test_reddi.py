"""AMSGrad converges where Adam does not: the synthetic problem of Reddi, Kale & Kumar (2018).

Section 5 (Synthetic Experiments), online setting: f_t(x) = 1010 x when t mod 101 == 1 and -10 x
otherwise, on [-1, 1]. The mean slope is positive, so the best fixed point is -1, yet Adam forgets
the rare large gradients and drifts to +1. In float64, Adam ends at +0.993 and AMSGrad (with the
bias-corrected maximum) at -0.944.
"""

import jax
import jax.numpy as jnp
import pytest

import adamx

STEPS = 100_000


def final_point(name: str) -> float:
    """Where projected descent ends, with step size 0.5 / sqrt(t)."""
    tx = getattr(adamx, name)(
        learning_rate=lambda count: 0.5 / jnp.sqrt(count + 1.0), b1=0.9, b2=0.99
    )

    def step(carry: tuple[jax.Array, object], t: jax.Array) -> tuple[tuple, None]:
        x, state = carry
        slope = jnp.where(t % 101 == 1, 1010.0, -10.0)
        updates, state = tx.update(slope, state, x)
        x = jnp.clip(adamx.apply_updates(x, updates), -1.0, 1.0)
        return (x, state), None

    start = jnp.float32(0.0)
    run = jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), jnp.arange(1, STEPS + 1)))
    (x, _), _ = run()
    return float(x)


@pytest.mark.parametrize(("name", "low", "high"), [("adam", 0.9, 1.0), ("amsgrad", -1.0, -0.9)])
def test_final_point(name: str, low: float, high: float) -> None:
    assert low <= final_point(name) <= high
