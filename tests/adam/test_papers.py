"""adamx follows the papers: float32 trajectories against independent float64 oracles.

Every member of the family takes 25 steps on a tree of awkward shapes, from the same gradients as a
NumPy transcription of its paper. The gradients cover what training produces at its extremes: zero,
1e-12 and 1e6 sized, and 18 orders of magnitude within one leaf. The bound is little more than what
25 float32 additions may lose, and below the error of computing 1 - beta**t naively in float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.oracles import family

from .cases import ADDED, LR, NAMES, SHARED
from .support import MASK, SHAPES, STEPS, TREEDEF, Case, data, distance, oracle, pairs, run

# Adding 25 updates to a parameter rounds 25 times, each by at most 2**-24 of its scale: 1.5e-6. The
# updates are a fraction of that scale and carry a dozen roundings of their own: 0.5e-6 for those.
TOLERANCE = 2e-6


@pairs([*SHARED, *ADDED])
def test_float32_trajectory_follows_the_float64_oracle(case: Case, regime: str) -> None:
    worst = distance(case, regime, run(adamx, case, regime), oracle(case, regime))
    assert worst.max() <= TOLERANCE, dict(zip(map(str, SHAPES), worst, strict=True))


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(lambda tree: jax.tree.unflatten(TREEDEF, MASK), id="callable"),
        pytest.param({"a": True, "b": [False, True], "c": {"d": False, "e": True}}, id="prefix"),
    ],
)
@pytest.mark.parametrize("name", ["adamw", "nadamw", "adamaxw", "lamb", "ademamix"])
def test_mask_may_be_a_callable_or_a_prefix(name: str, mask: object) -> None:
    """Both ways of writing the mask decay the same leaves as the full tree of booleans."""
    params = jax.tree.unflatten(TREEDEF, [jnp.asarray(leaf) for leaf in data("normal")[0]])
    full = jax.tree.unflatten(TREEDEF, MASK)
    updates = []
    for form in (full, mask):
        tx = getattr(adamx, name)(learning_rate=LR, weight_decay=0.3, mask=form)
        updates.append(jax.tree.leaves(tx.update(params, tx.init(params), params)[0]))
    for expected, actual in zip(*updates, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_schedule_free_evaluation_parameters() -> None:
    """The averaged sequence, recovered from the state, is the oracle's x."""
    hyper = {"learning_rate": LR, "warmup_steps": 8, "weight_decay": 0.3}
    leaves, gradients = data("normal")
    tx = adamx.schedule_free_adamw(**hyper)
    step = jax.jit(tx.update)
    params = [jnp.asarray(leaf) for leaf in leaves]
    state = tx.init(params)
    expected = family.schedule_free_adamw_eval_params(leaves, gradients, **hyper)
    for grads, exact in zip(gradients, expected, strict=True):
        updates, state = step([jnp.asarray(g) for g in grads], state, params)
        params = adamx.apply_updates(params, updates)
        averaged = adamx.schedule_free_eval_params(state, params)
        for a, e in zip(averaged, exact, strict=True):
            # x is a difference of y and z over b1, so it inherits their rounding twice
            np.testing.assert_allclose(a, e, rtol=0, atol=4e-6 * max(1.0, np.abs(e).max()))


@pytest.mark.parametrize("name", NAMES)
def test_complex_leaves_use_the_squared_modulus(name: str) -> None:
    rng = np.random.default_rng(7)

    def draw() -> np.ndarray:
        return np.complex64(rng.standard_normal(5) + 1j * rng.standard_normal(5))

    start, gradients = [draw()], [[draw()] for _ in range(STEPS)]
    tx = getattr(adamx, name)(learning_rate=LR)
    step = jax.jit(tx.update)
    params = [jnp.asarray(start[0])]
    state = tx.init(params)
    for grads, exact in zip(
        gradients, family.trajectory(name, start, gradients, learning_rate=LR), strict=True
    ):
        updates, state = step([jnp.asarray(grads[0])], state, params)
        params = adamx.apply_updates(params, updates)
        assert params[0].dtype == jnp.complex64
        np.testing.assert_allclose(params[0], exact[0], rtol=0, atol=2 * TOLERANCE)
