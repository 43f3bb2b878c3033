"""adamx is a drop-in replacement for optax: same names, same arguments, same trajectories.

The trajectories may differ by rounding only, and where they do adamx has to be at least as close
to the float64 oracle as optax is: no difference from optax is excused unless it is optax's error.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx

from .cases import LR, NAMES, SHARED
from .support import TREEDEF, Case, build, data, distance, oracle, pairs, run

TOLERANCE = 2e-6
# Two correctly rounded float32 runs that associate one product differently end a couple of units
# in the last place apart, each on its own side of the exact result; which of the two is nearer is
# then chance. Relative to the parameter's scale, an ulp is at most 2**-23.
FLOOR = 2 * 2.0**-23


def counterpart(name: str) -> Callable[..., Any]:
    """optax's function of that name, wherever optax keeps it."""
    return getattr(optax, name, None) or getattr(optax.contrib, name)


@pairs(SHARED, every=2)
def test_same_trajectory(case: Case, regime: str) -> None:
    ours, theirs = run(adamx, case, regime), run(optax, case, regime)
    optax_error = distance(case, regime, theirs, oracle(case, regime))
    gap = distance(case, regime, ours, theirs)
    # our own rounding may point away from optax's error: a few ulps on top of it
    assert (gap <= np.maximum(TOLERANCE, optax_error + 2 * FLOOR)).all(), (gap, optax_error)


@pairs(SHARED, every=2)
def test_never_further_from_the_oracle_than_optax(case: Case, regime: str) -> None:
    exact = oracle(case, regime)
    ours = distance(case, regime, run(adamx, case, regime), exact)
    theirs = distance(case, regime, run(optax, case, regime), exact)
    assert (ours <= theirs + FLOOR).all(), (ours, theirs)


def positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Parameters that may be passed by position, in order."""
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind is not p.KEYWORD_ONLY]


def keyword_only(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Keyword-only parameters by name."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def default(parameter: inspect.Parameter) -> Any:
    """A default in comparable form: a function stands for its values at a few steps."""
    value = parameter.default
    required = value is inspect.Parameter.empty
    return [value(x) for x in (1.0, 16.0)] if callable(value) and not required else value


@pytest.mark.parametrize("name", NAMES)
def test_signature_extends_that_of_optax(name: str) -> None:
    ours, theirs = getattr(adamx, name), counterpart(name)
    expected = [(p.name, default(p)) for p in positional(theirs)]
    assert [(p.name, default(p)) for p in positional(ours)] == expected
    added = keyword_only(ours)
    for parameter in keyword_only(theirs).values():
        assert default(added.pop(parameter.name)) == default(parameter), parameter.name
    assert all(p.default is not inspect.Parameter.empty for p in added.values()), added


ADAM_FIELDS = ("count", "mu", "nu")
FIELDS = {
    **dict.fromkeys(NAMES, ADAM_FIELDS),
    "amsgrad": (*ADAM_FIELDS, "nu_max"),
    "ademamix": ("count", "m1", "m2", "nu"),
    "schedule_free_adamw": ("count", "nu", "z", "weight_sum", "step_count", "max_lr", "b1"),
}


@functools.cache
def states(name: str) -> list[Any]:
    """Ours and optax's after two steps.

    With b2 = 0.9, since at 0.999 optax's float32 ``1 - b2**t`` is off in the fifth digit.
    """
    initial, gradients = data("normal")
    params, grads = (
        jax.tree.unflatten(TREEDEF, [jnp.asarray(leaf) for leaf in leaves])
        for leaves in (initial, gradients[0])
    )
    found = []
    for library in (adamx, optax):
        tx = build(library, Case(name, "state", {"learning_rate": LR, "b2": 0.9}))
        state = tx.init(params)
        for _ in range(2):
            _, state = tx.update(grads, state, params)
        found.append(state)
    return found


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, fields in FIELDS.items() for field in fields]
)
def test_state_field_is_found_under_optax_s_name(name: str, field: str) -> None:
    """``optax.tree_utils.tree_get`` reads the same moments out of both states."""
    found = [optax.tree_utils.tree_get(state, field) for state in states(name)]
    ours, theirs = map(jax.tree.structure, found)
    assert ours == theirs
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        assert (jnp.shape(a), jnp.asarray(a).dtype) == (jnp.shape(b), jnp.asarray(b).dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
