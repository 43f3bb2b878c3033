"""Every wrapper of ours around every transformation: nothing changes, for arrays and for rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import pytest

import adamx
from adamx import GradientTransformation, SparseRows
from tests.contract.support import PARAMS, dense, sparse
from tests.contract.table import Case, rows


def times(grads: Any, factor: float) -> Any:
    """Of rows, their values only."""
    return jax.tree.map(lambda x: factor * x if jnp.issubdtype(x.dtype, jnp.floating) else x, grads)


def always(count: Any) -> Any:
    return count >= 0


def alone(grads: Any) -> list[Any]:
    return [grads]


class Around(NamedTuple):
    """How to wrap so that nothing changes."""

    wrap: Callable[[GradientTransformation], GradientTransformation]
    split: Callable[[Any], list[Any]] = alone  # the gradients that make one step of the inside
    seen: Callable[[Any], Any] = lambda grads: grads  # the gradient that the inside gets
    refused: str | None = None  # what is said of transformations that it cannot be around


WRAPPERS = {
    "chain": Around(lambda tx: adamx.chain(adamx.identity(), tx)),
    "named_chain": Around(
        lambda tx: adamx.named_chain(("a", adamx.scale(2.0)), ("b", tx)), lambda g: [times(g, 0.5)]
    ),
    "masked": Around(lambda tx: adamx.masked(tx, {"b": True, "w": True})),
    "multi_transform": Around(
        lambda tx: adamx.multi_transform({"a": tx, "none": adamx.freeze()}, {"b": "a", "w": "a"})
    ),
    "apply_if_finite": Around(adamx.apply_if_finite, lambda g: [times(g, float("inf")), g]),
    "skip_spikes": Around(
        lambda tx: adamx.skip_spikes(tx, warmup_steps=9), lambda g: [times(g, float("nan")), g]
    ),
    "dynamic_loss_scale": Around(
        lambda tx: adamx.dynamic_loss_scale(tx, initial_scale=8.0), lambda g: [times(g, 8.0)]
    ),
    # It adds rows up in an array, in which all of them are touched.
    "multi_steps": Around(
        lambda tx: adamx.multi_steps(tx, 2), lambda g: [times(g, 1.5), times(g, 0.5)], dense
    ),
    "conditionally_mask": Around(lambda tx: adamx.conditionally_mask(tx, always)),
    "conditionally_transform": Around(
        lambda tx: adamx.conditionally_transform(tx, always), refused="changes the updates of"
    ),
    "inject_hyperparams": Around(adamx.inject_hyperparams, refused="has no hyperparameters"),
    "record_metrics": Around(lambda tx: adamx.record_metrics(tx, "grad_norm")),
}


def trained(tx: GradientTransformation, gradients: list[Any]) -> Any:
    params, state = PARAMS, tx.init(PARAMS)
    with jax.disable_jit():  # A conditional then runs its branch instead of compiling both.
        for grads in gradients:
            params, state = tx.step(grads, state, params, value=1.0)
    return adamx.sparse.flush(state, params)[0] if "`exact`" in tx.why_final() else params


def wrapped(around: Around, tx: GradientTransformation) -> GradientTransformation | None:
    """None where it is refused when it is made, with the reason."""
    try:
        return around.wrap(tx)
    except ValueError as refusal:
        if around.refused and around.refused in str(refusal):
            return None
        raise


def pairs() -> list[Any]:
    """Half of the archetypes by default, each in two wrappers; every row in every one else."""
    reason = "every wrapper around every transformation"
    full = pytest.mark.full(reason)
    found = []
    for i, row in enumerate(rows(reason, smooth=True)):
        for j, name in enumerate(WRAPPERS):
            marks = [*row.marks, *([full] if (i + j) % 6 else [])]
            found.append(pytest.param(name, *row.values, marks=marks))
    return found


@pytest.mark.parametrize("kind", ["dense", "rows"])
@pytest.mark.parametrize(("name", "case"), pairs(), ids=str)
def test_nothing_changes(name: str, case: Case, kind: str) -> None:
    around, bare = WRAPPERS[name], case.make()
    tx = wrapped(around, bare)
    if tx is None:
        return
    gradients = [sparse(seed) if kind == "rows" else dense(sparse(seed)) for seed in (1, 2)]
    assert isinstance(gradients[0]["w"], SparseRows) == (kind == "rows")
    got = trained(tx, [g for grads in gradients for g in around.split(grads)])
    expected = trained(bare, [around.seen(grads) for grads in gradients])
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-6)
