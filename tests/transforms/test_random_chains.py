"""Any chain of any links keeps the contract; order matters only where the mathematics says so."""

from __future__ import annotations

import json

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

ATOMS = {
    "clip": lambda: adamx.clip(0.5),
    "clip_by_norm": lambda: adamx.clip_by_norm(0.7),
    "clip_by_global_norm": lambda: adamx.clip_by_global_norm(1.0),
    "clip_by_block_rms": lambda: adamx.clip_by_block_rms(0.5),
    "adaptive_grad_clip": lambda: adamx.adaptive_grad_clip(0.1),
    "clip_spikes": lambda: adamx.clip_spikes(3.0, warmup_steps=2),
    "scale": lambda: adamx.scale(0.5),
    "learning_rate": lambda: adamx.scale_by_learning_rate(adamx.cosine_decay_schedule(0.1, 9)),
    "adam": lambda: adamx.scale_by_adam(b1=0.8),
    "amsgrad": lambda: adamx.scale_by_amsgrad(),
    "belief": lambda: adamx.scale_by_belief(),
    "decay": lambda: adamx.add_decayed_weights(0.1),
    "decay_to_initial": lambda: adamx.decay_to_initial(0.1),
    "trust_ratio": lambda: adamx.scale_by_trust_ratio(),
    "ema": lambda: adamx.ema(0.9),
    "trace": lambda: adamx.trace(0.9),
    "centralize": lambda: adamx.centralize(),
    "sign": lambda: adamx.scale_by_sign(),
    "zero_nans": lambda: adamx.zero_nans(),
    "ema_params": lambda: adamx.ema_params(0.9),
}
WRAPPERS = {
    "finite": lambda inner: adamx.apply_if_finite(inner),
    "multi_steps": lambda inner: adamx.multi_steps(inner, 2),
    "masked": lambda inner: adamx.masked(inner, lambda p: jax.tree.map(lambda x: x.ndim > 0, p)),
    # Together with a number, as it refuses to inject where there is none.
    "inject": lambda inner: adamx.inject_hyperparams(adamx.chain(inner, adamx.scale(0.5))),
    "metrics": lambda inner: adamx.record_metrics(inner, "grad_norm", "update_norm"),
}

links = st.recursive(
    st.sampled_from(sorted(ATOMS)).map(lambda name: ATOMS[name]()),
    lambda inner: st.one_of(
        st.lists(inner, min_size=0, max_size=3).map(lambda parts: adamx.chain(*parts)),
        st.tuples(st.sampled_from(sorted(WRAPPERS)), inner).map(lambda x: WRAPPERS[x[0]](x[1])),
    ),
    max_leaves=5,
)
dtypes = st.sampled_from(["float32", "bfloat16", "float16"])
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
leaves = st.one_of(st.none(), st.tuples(shapes, dtypes))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=5,
).map(lambda tree: {"model": tree})  # None alone would mean "no parameters given"


def is_spec(x):
    return isinstance(x, tuple)


def arrays(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda spec: jnp.asarray(rng.normal(size=spec[0]), spec[1]), tree, is_leaf=is_spec
    )


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(link=links, tree=trees)
def test_any_chain_over_any_tree_keeps_the_contract(link, tree):
    params, grads = arrays(tree, 0), arrays(tree, 1)
    before = jax.eval_shape(link.init, params)
    updates, after = jax.eval_shape(link.update, grads, before, params)
    assert after == before
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    chex.assert_trees_all_equal_shapes(updates, params)
    stepped, stepped_state = jax.eval_shape(link.step, grads, before, params)
    assert stepped == jax.eval_shape(lambda: params)
    assert stepped_state == before


@hypothesis.settings(max_examples=8, deadline=None, derandomize=True)
@hypothesis.given(parts=st.lists(st.sampled_from(sorted(ATOMS)), min_size=1, max_size=4))
def test_a_chain_is_its_links_one_after_the_other(parts):
    made = [ATOMS[name]() for name in parts]
    params = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(2)}
    grads = jax.tree.map(lambda p: jnp.cos(3.0 * p), params)
    whole = adamx.chain(*made)
    updates, state = jax.jit(whole.update)(grads, whole.init(params), params)

    @jax.jit
    def by_hand(u):
        states = []
        for link in made:
            u, link_state = link.update(u, link.init(params), params)
            states.append(link_state)
        return u, tuple(states)

    expected, expected_state = by_hand(grads)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6, atol=1e-7)
    chex.assert_trees_all_close(state, expected_state, rtol=1e-6, atol=1e-7)


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(link=links)
def test_any_chain_is_a_value(link):
    assert hash(link) == hash(link.replace())
    if "masked" not in repr(link):  # its mask here is a function
        config = json.loads(json.dumps(adamx.get_config(link)))
        assert adamx.from_config(config) == link
        assert eval(repr(link), dict(vars(adamx))) == link


COMMUTING = [
    ("scale", "learning_rate"),
    ("scale", "ema"),
    ("scale", "trace"),
    ("centralize", "ema"),
]
NOT_COMMUTING = [("clip_by_global_norm", "adam"), ("decay", "learning_rate"), ("clip", "scale")]


def moved(first, second):
    tx = adamx.chain(ATOMS[first](), ATOMS[second]())
    params = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)}
    state = tx.init(params)

    @jax.jit
    def step(params, state, x):
        return tx.step({"w": 3.0 * jnp.cos(x * params["w"])}, state, params)

    for x in (1.0, 2.0, 3.0):
        params, state = step(params, state, x)
    return params["w"]


@pytest.mark.parametrize(("first", "second"), COMMUTING)
def test_linear_links_commute(first, second):
    np.testing.assert_allclose(moved(first, second), moved(second, first), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("first", "second"), NOT_COMMUTING)
def test_others_do_not(first, second):
    assert float(jnp.max(jnp.abs(moved(first, second) - moved(second, first)))) > 1e-3
