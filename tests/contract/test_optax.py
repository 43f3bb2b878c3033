"""optax takes our transformations, and our chain takes optax's.

Every wrapper gives what the bare transformation gives, so a training loop can change one piece
at a time.
"""

import functools
from typing import Any

import chex
import jax
import optax
import pytest

import adamx
from adamx.core.ownership import NOBODY, owners
from tests.contract.support import SHAPES, abstract, tree
from tests.contract.table import Case, cases, every_case


def times_value() -> optax.GradientTransformation:
    """An optax transformation that insists on an extra argument."""

    def update(updates: Any, state: Any, params: Any = None, *, value: Any, **_: Any) -> Any:
        return jax.tree.map(lambda u: value * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


# How to wrap, and what a step of the wrapper takes instead of one gradient of the bare one.
WRAPPERS: dict[str, Any] = {
    "chain": (lambda tx: optax.chain(optax.scale(2.0), tx), lambda g: [times(g, 0.5)]),
    "masked": (lambda tx: optax.masked(tx, {"b": True, "w": True}), lambda g: [g]),
    "multi_transform": (
        lambda tx: optax.multi_transform(
            {"ours": tx, "unused": optax.set_to_zero()}, {"b": "ours", "w": "ours"}
        ),
        lambda g: [g],
    ),
    "apply_if_finite": (
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda g: [times(g, float("inf")), g],
    ),
    "multi_steps": (
        lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
        lambda g: [times(g, 1.5), times(g, 0.5)],
    ),
    "our_chain": (
        lambda tx: adamx.chain(optax.scale(2.0), times_value(), tx, *behind(tx)),
        lambda g: [times(g, 0.125)],
    ),
}


def behind(tx: Any) -> list[Any]:
    """A link of optax after ours; none where nothing may change the updates."""
    return [] if tx.why_final() else [optax.identity()]


def times(tree: Any, factor: float) -> Any:
    return jax.tree.map(lambda x: factor * x, tree)


def train(tx: Any, gradients: list[Any], **extra: Any) -> Any:
    params = tree()
    state = tx.init(params)
    for grads in gradients:
        updates, state = tx.update(grads, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params


GRADIENTS = (1, 2)


@functools.cache
def bare(case: Case) -> Any:
    return train(case.make(), [tree(seed=seed) for seed in GRADIENTS])


@pytest.mark.parametrize("wrapper", WRAPPERS)
@cases("every wrapper around every transformation")
def test_wrapped_equals_bare(case: Case, wrapper: str) -> None:
    wrap, split = WRAPPERS[wrapper]
    tx = wrap(case.make())
    with jax.disable_jit():  # A conditional then runs its branch instead of compiling both.
        params = train(tx, [g for seed in GRADIENTS for g in split(tree(seed=seed))], value=4.0)
    chex.assert_trees_all_close(params, bare(case), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@cases("every wrapper around every transformation", narrow=True)
def test_wrapped_step_keeps_the_type_of_its_state(case: Case, wrapper: str) -> None:
    """Also inside the branches of a conditional, which must agree."""
    tx = WRAPPERS[wrapper][0](case.make())
    params = abstract(tree("bfloat16"))
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(
        lambda *args: tx.update(*args, value=4.0), params, state, params
    )
    assert (updates, after) == (params, state)


@every_case
def test_tree_map_params(case: Case) -> None:
    """optax finds the arrays that the transformation declares a parameter's own, and no count."""
    tx, params = case.make(), tree()
    state = tx.init(params)
    owned = [owner != NOBODY for owner in jax.tree.leaves(owners(tx, state, params))]
    found = optax.tree_utils.tree_map_params(
        tx, lambda _: True, state, transform_non_params=lambda _: False
    )
    flat, _ = jax.tree_util.tree_flatten_with_path(found)
    for (path, is_found), is_owned in zip(flat, owned, strict=True):
        beside_one = any(getattr(key, "key", None) in SHAPES for key in path)
        assert is_found == (is_owned or beside_one), jax.tree_util.keystr(path)
