"""Shared material of the Adam tests: cases, gradient regimes, runs and one measure of error."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import family

Leaves = list[np.ndarray]
Trajectory = list[Leaves]
Regime = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

STEPS = 25
SHAPES = ((), (1,), (3,), (7, 5), (2, 3, 1, 4))
# The second leaf starts from zero: LAMB must leave it, and relative errors show in it undamped.
PARAM_SCALES = (1.0, 0.0, 1e-3, 0.1, 1.0)
# A nest of every container, whose leaves come out in the order of SHAPES.
TREEDEF = jax.tree.structure({"a": 0, "b": [0, (0,)], "c": {"d": 0, "e": 0}})
MASK = [True, False, True, False, True]

REGIMES: dict[str, Regime] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "zero": lambda rng, shape: np.zeros(shape),
    "tiny": lambda rng, shape: 1e-12 * rng.standard_normal(shape),
    "huge": lambda rng, shape: 1e6 * rng.standard_normal(shape),
    "mixed": lambda rng, shape: rng.standard_normal(shape) * 10 ** rng.uniform(-12, 6, shape),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One optimizer with its hyper-parameters; ``mask`` is written as a list, one per leaf."""

    name: str
    label: str
    hyper: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.label}"


def schedule(start: float, stop: float) -> Callable[[Any], jax.Array]:
    """Linear table over the steps, rounded to float32 once so that every reader gets one value.

    Rounding matters: 1 - beta magnifies the rounding of a beta near 1 several hundred times, which
    is a property of the input and no error of the optimizer.
    """
    table = np.linspace(start, stop, STEPS + 1).astype(np.float32)
    return lambda count: jnp.asarray(table)[count]


def data(regime: str) -> tuple[Leaves, Trajectory]:
    """Initial parameters and the gradients of every step, as float32 leaves."""
    rng = np.random.default_rng(20141222)
    params = [
        np.float32(scale * rng.standard_normal(shape))
        for scale, shape in zip(PARAM_SCALES, SHAPES, strict=True)
    ]
    draw = REGIMES[regime]
    grads = [[np.float32(draw(rng, shape)) for shape in SHAPES] for _ in range(STEPS)]
    return params, grads


def pairs(cases: Sequence[Case], every: int = 1) -> pytest.MarkDecorator:
    """One case of so many with two of the regimes, and with the others where all tests run."""
    full = pytest.mark.full("every regime")
    return pytest.mark.parametrize(
        ("case", "regime"),
        [
            pytest.param(
                case, regime, marks=() if i % every == 0 and i % 5 in (n, (n + 2) % 5) else full
            )
            for i, case in enumerate(cases)
            for n, regime in enumerate(REGIMES)
        ],
        ids=str,
    )


def build(library: Any, case: Case) -> Any:
    """The optimizer of that name in ``adamx``, ``optax`` or ``optax.contrib``."""
    function = getattr(library, case.name, None) or getattr(library.contrib, case.name)
    hyper = dict(case.hyper)
    if "mask" in hyper:
        hyper["mask"] = jax.tree.unflatten(TREEDEF, hyper["mask"])
    return function(**hyper)


@functools.cache
def compiled(library: Any, case: Case) -> tuple[Any, Callable[..., Any]]:
    """An optimizer and its compiled step, shared by all the gradient regimes of a case."""
    tx = build(library, case)

    @jax.jit
    def step(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return library.apply_updates(params, updates), state

    return tx, step


@functools.cache
def run(library: Any, case: Case, regime: str, dtype: Any = np.float32) -> Trajectory:
    """Parameters after each step computed by ``library`` in that precision, as float64 leaves."""
    tx, step = compiled(library, case)
    initial, gradients = data(regime)
    params = jax.tree.unflatten(TREEDEF, [jnp.asarray(leaf, dtype) for leaf in initial])
    state = tx.init(params)
    trajectory = []
    for leaves in gradients:
        grads = jax.tree.unflatten(TREEDEF, [jnp.asarray(leaf, dtype) for leaf in leaves])
        params, state = step(grads, state, params)
        trajectory.append([np.float64(leaf) for leaf in jax.tree.leaves(params)])
    return trajectory


@functools.cache
def oracle(case: Case, regime: str) -> Trajectory:
    """The float64 trajectory of the same numbers."""
    params, gradients = data(regime)
    return family.trajectory(case.name, params, gradients, **case.hyper)


def distance(case: Case, regime: str, first: Trajectory, second: Trajectory) -> np.ndarray:
    """Largest relative difference of two trajectories over all steps, for each leaf.

    Every element is measured against its own scale: its initial size plus the path the float64
    oracle has travelled so far. That is the size of the numbers float32 has to round on the way;
    the current value alone would not do, since it may pass through zero. NaN counts as infinite.
    """
    position = [np.float64(leaf) for leaf in data(regime)[0]]
    scales = [np.abs(leaf) for leaf in position]
    worst = np.zeros(len(position))
    for exact, a, b in zip(oracle(case, regime), first, second, strict=True):
        scales = [s + np.abs(e - p) for s, e, p in zip(scales, exact, position, strict=True)]
        position = exact
        for i, scale in enumerate(scales):
            gap = np.abs(a[i] - b[i])
            # an element that must not have moved at all may not differ at all
            ratio = np.where(gap == 0, 0.0, np.inf)
            np.divide(gap, scale, out=ratio, where=scale > 0)
            worst[i] = max(worst[i], np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).max())
    return worst
