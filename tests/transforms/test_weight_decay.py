"""Weight decay: which one, toward what, and of which leaves."""

import functools
import json
import pickle
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from tests.oracles import family

WD = 0.1
MASK = {"b": False, "w": True}


def tree(seed: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"b": dtype(rng.standard_normal(3)), "w": dtype(rng.standard_normal((2, 3)))}


PARAMS = tree(0)


def run(tx: Any, params: Any, grads: list[Any]) -> tuple[list[Any], Any]:
    state, trajectory = tx.init(params), []
    step = jax.jit(tx.step)
    for g in grads:
        params, state = step(g, state, params)
        trajectory.append(params)
    return trajectory, state


def test_after_the_core_it_is_decoupled_and_before_it_l2() -> None:
    """Loshchilov & Hutter, Algorithm 2: line 12 and line 6."""
    grads = [tree(seed) for seed in range(1, 11)]
    lr = 0.05
    decoupled = adamx.chain(
        adamx.scale_by_adam(), adamx.add_decayed_weights(WD), adamx.scale_by_learning_rate(lr)
    )
    coupled = adamx.chain(adamx.add_decayed_weights(WD), adamx.adam(lr))
    flat = [[*g.values()] for g in grads]
    exact = family.trajectory("adamw", [*PARAMS.values()], flat, learning_rate=lr, weight_decay=WD)
    for found, expected in zip(run(decoupled, PARAMS, grads)[0], exact, strict=True):
        for p, e in zip(found.values(), expected, strict=True):
            np.testing.assert_allclose(p, e, rtol=1e-5, atol=1e-6)
    # L2 is Adam on the gradient of the penalized loss.
    found, _ = run(coupled, PARAMS, grads)
    params = [np.float64(p) for p in PARAMS.values()]
    penalized: list[Any] = []
    for g, after in zip(flat, found, strict=True):
        penalized.append([np.float64(x) + WD * p for x, p in zip(g, params, strict=True)])
        exact = family.trajectory("adam", [*PARAMS.values()], penalized, learning_rate=lr)[-1]
        for p, e in zip(after.values(), exact, strict=True):
            np.testing.assert_allclose(p, e, rtol=1e-5, atol=1e-5)
        params = exact


@pytest.mark.parametrize("mask", [None, MASK, lambda params: {"b": True, "w": False}])
@pytest.mark.parametrize("rate", [0.0, 0.3, lambda count: 0.1 * (count + 1)])
def test_add_decayed_weights_is_optax_s(rate: Any, mask: Any) -> None:
    ours, theirs = adamx.add_decayed_weights(rate, mask), optax.add_decayed_weights(rate, mask)
    state, other = ours.init(PARAMS), theirs.init(PARAMS)
    for seed in range(3):
        found, state = ours.update(tree(seed), state, PARAMS)
        expected, other = theirs.update(tree(seed), other, PARAMS)
        chex.assert_trees_all_close(found, expected, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.3, lambda count: 0.1 * (count + 1)])
def test_decay_to_initial_is_what_the_definition_says(rate: Any) -> None:
    tx = adamx.decay_to_initial(rate, mask=MASK)
    state = tx.init(PARAMS)
    assert state.initial["b"] is None
    for count in range(3):
        params, updates = tree(count + 10), tree(count + 20)
        found, after = tx.update(updates, state, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        state = after
        wd = 0.3 if isinstance(rate, float) else 0.1 * (count + 1)
        expected = updates["w"] + wd * (np.float64(params["w"]) - PARAMS["w"])
        np.testing.assert_allclose(found["w"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["b"], updates["b"])
        np.testing.assert_array_equal(state.initial["w"], PARAMS["w"])
    assert state.count == 3


def test_decay_to_initial_pulls_back_without_a_gradient() -> None:
    tx = adamx.chain(adamx.decay_to_initial(0.5), adamx.scale(-1.0))
    start = {"w": jnp.ones(2)}
    state = tx.init(start)
    params = {"w": jnp.array([5.0, -3.0])}
    for expected in ([3.0, -1.0], [2.0, 0.0], [1.5, 0.5]):
        params, state = tx.step({"w": jnp.zeros(2)}, state, params)
        np.testing.assert_array_equal(params["w"], expected)


def test_the_initial_parameters_are_a_copy_that_survives_donation() -> None:
    """`init` in a compiled function and outside of one, parameters donated afterwards."""
    tx = adamx.chain(adamx.decay_to_initial(0.5), adamx.scale(-0.1))
    for init in (tx.init, jax.jit(tx.init)):
        params = jax.tree.map(jnp.asarray, PARAMS)
        state = init(params)
        step = jax.jit(lambda p, s: tx.step(p, s, p), donate_argnums=(0, 1))
        for _ in range(3):
            donated = params
            params, state = step(params, state)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated))
        chex.assert_trees_all_equal(state[0].initial, PARAMS)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_keeps_its_dtype_and_decays_in_float32(dtype: Any) -> None:
    """What is left after the update has cancelled nearly all of it, rounded once."""
    start, now = jnp.asarray([1.0, 0.125], dtype), jnp.asarray([100.0, 1000.0], dtype)
    tx = adamx.decay_to_initial(0.5)
    state = tx.init(start)
    assert state.initial.dtype == dtype
    update = jnp.asarray([-49.0, -500.0], dtype)
    found, state = tx.update(update, state, now)
    assert found.dtype == state.initial.dtype == dtype
    exact = np.float64(update) + 0.5 * (np.float64(now) - np.float64(start))
    np.testing.assert_allclose(np.float64(found), exact, rtol=float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("make", [adamx.add_decayed_weights, adamx.decay_to_initial])
def test_leaves_without_a_gradient_do_not_decay(make: Any) -> None:
    tx = make(0.5)
    params = {"frozen": jnp.ones(2), "none": None, "steps": 3, "w": jnp.ones(2)}
    grads = {
        "frozen": np.zeros(2, jax.dtypes.float0),
        "none": None,
        "steps": None,
        "w": jnp.ones(2),
    }
    found, _ = tx.update(grads, tx.init(params), params)
    for name in ("frozen", "none", "steps"):
        assert found[name] is grads[name]


def test_decay_to_initial_refuses_other_parameters() -> None:
    tx = adamx.decay_to_initial(0.5)
    state = tx.init(PARAMS)
    other = {**PARAMS, "b": np.ones(4, np.float32)}
    with pytest.raises(ValueError, match=r"at \['b'\] has shape \(4,\), but the optim"):
        tx.update(other, state, other)
    with pytest.raises(ValueError, match=r"unexpected in the (parameters|gradients): \['x'\]"):
        tx.update({**PARAMS, "x": 1.0}, state, {**PARAMS, "x": 1.0})
    with pytest.raises(ValueError, match=r"decay_to_initial reads the parameters"):
        tx.update(PARAMS, state)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adamx.decay_to_initial(-0.1), ValueError, r"`weight_decay` must be in \[0, inf\)"),
        (lambda: adamx.decay_to_initial("a"), TypeError, "`weight_decay` must be a number"),
        (lambda: adamx.decay_to_initial(0.1, {"w": 2}), TypeError, r"True or False at \['w'\]"),
        (lambda: adamx.mask_by_path(), ValueError, "`patterns` must be at least one regular expr"),
        (lambda: adamx.mask_by_path("(w"), ValueError, r"a regular expression .*, got '\(w'"),
        (lambda: adamx.mask_by_path(3), TypeError, r"regular expressions \(strings\), got 3"),
        (lambda: adamx.mask_by_path("w", exclude=1), TypeError, "`exclude` must be True or False"),
    ],
)
def test_bad_arguments_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["scale", "moments"], meta_fields=[]
)
class Norm:
    """A container whose paths are attribute names."""

    def __init__(self, scale: Any, moments: Any) -> None:
        self.scale, self.moments = scale, moments


MODEL = {
    "layers": [{"bias": 1.0, "kernel": 2.0}, {"bias": 3.0, "kernel": None}],
    "norm": Norm(4.0, (5.0, 6)),
    "embedding": {1: 7.0},
}


def test_paths_are_keys_indices_and_attributes_joined_by_slashes() -> None:
    assert adamx.leaf_paths(MODEL) == [
        "embedding/1",
        "layers/0/bias",
        "layers/0/kernel",
        "layers/1/bias",
        "layers/1/kernel",
        "norm/scale",
        "norm/moments/0",
        "norm/moments/1",
    ]
    assert adamx.leaf_paths(1.0) == [""]
    assert adamx.leaf_paths({}) == []


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        (["bias$"], [1, 3]),
        (["b"], [0, 1, 3]),
        ([r"(^|/)b"], [1, 3]),
        (["^layers/0", "norm/.*/1"], [1, 2, 7]),
        ([""], range(8)),
    ],
)
def test_mask_by_path_searches_regular_expressions(patterns: Any, selected: Any) -> None:
    expected = [i in selected for i in range(8)]
    for exclude in (False, True):
        mask = adamx.mask_by_path(*patterns, exclude=exclude)
        found = mask(MODEL)
        flat = jax.tree.leaves(found)
        assert flat == [x != exclude for x in expected]
        assert jax.tree.structure(found) == jax.tree.structure(
            jax.tree.map(lambda x: 0, MODEL, is_leaf=lambda x: x is None)
        )


def test_mask_by_path_decides_what_decays() -> None:
    tx = adamx.add_decayed_weights(1.0, mask=adamx.mask_by_path(r"(^|/)b$", exclude=True))
    params = {"b": jnp.ones(2), "emb": jnp.ones(2), "w": [jnp.ones(2)]}
    zeros = jax.tree.map(jnp.zeros_like, params)
    found, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
    chex.assert_trees_all_equal(found, {**params, "b": zeros["b"]})


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("baises", r"'baises' is found in none of the 8 paths .*; did you mean '.*bias'"),
        (r"^norm/scales$", r"did you mean 'norm/scale'"),
        (r"layers/\d+/kernle", r"did you mean .*'layers/0/kernel'"),
        ("qqqq", r"there are 'embedding/1', 'layers/0/bias', .*, 'layers/1/kernel'$"),
    ],
)
def test_a_pattern_without_a_leaf_lists_near_misses(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"mask_by_path: the pattern .*" + message):
        adamx.mask_by_path("bias", pattern)(MODEL)


def test_mask_by_path_is_a_value() -> None:
    mask = adamx.mask_by_path("bias$", "scale", exclude=True)
    assert repr(mask) == "mask_by_path('bias$', 'scale', exclude=True)"
    for same in (
        adamx.mask_by_path("bias$", "scale", exclude=True),
        pickle.loads(pickle.dumps(mask)),
        adamx.from_config(json.loads(json.dumps(adamx.get_config(mask)))),
    ):
        assert same == mask
        assert hash(same) == hash(mask)
    assert mask != adamx.mask_by_path("bias$", "scale")
    tx = adamx.adamw(1e-3, mask=mask)
    assert adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))) == tx
    assert eval(repr(tx), dict(vars(adamx))) == tx
