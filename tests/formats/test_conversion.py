"""A running state in another format: exact where it can be, nearest where not, and it goes on."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import adamx
from adamx.family.adam import ScaleByAdam
from adamx.family.words import pack, unpack
from tests.selection import full

P = {
    "kernel": jnp.asarray(np.random.default_rng(0).standard_normal((64, 64)), jnp.float32),
    "bias": jnp.linspace(-1.0, 1.0, 64),
    "steps": jnp.arange(3),
}
FORMATS: dict[str, Any] = {
    "float32": None,
    "bfloat16": "bfloat16",
    "pair": "pair",
    "blocks": adamx.pair_format(16),
    "by path": {"kernel": "pair", "": "bfloat16"},
}


def recipe(moments: str, **changed: Any) -> adamx.GradientTransformation:
    adamw = adamx.adamw(1e-2, state_format=FORMATS[moments], **changed)
    return adamx.chain(adamx.clip_by_global_norm(1.0), adamw, adamx.ema_params(0.9))


RECIPES = {
    **{name: recipe(name) for name in FORMATS},
    **{
        f"{name}+{bits}": adamx.bfloat16_params(recipe(name), bits)
        for name in ("float32", "pair")
        for bits in (0, 8, 16, 32)
    },
}


def as_stored(name: str) -> Any:
    if "+" not in name:
        return P
    narrow = {key: P[key].astype(jnp.bfloat16) for key in ("kernel", "bias")}
    return {**P, **narrow}


def gradient(params: Any) -> Any:
    return jax.tree.map(lambda p: jnp.sin(3.0 * p) if p.dtype != jnp.int32 else p, params)


def trained(tx: Any, params: Any, state: Any = None, steps: int = 3) -> tuple[Any, Any]:
    state = tx.init(params) if state is None else state
    step = jax.jit(tx.step)
    for _ in range(steps):
        params, state = step(gradient(params), state, params)
    return params, state


RUNS: dict[str, tuple[Any, Any]] = {}


def run(name: str) -> tuple[Any, Any]:
    """Parameters and state after three steps."""
    if name not in RUNS:
        RUNS[name] = trained(RECIPES[name], as_stored(name))
    return RUNS[name]


def same(a: Any, b: Any) -> bool:
    def bits(x: Any) -> Any:
        return x.dtype, np.asarray(x).tobytes()

    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(lambda a, b: bits(a) == bits(b), a, b)
    )


def moments(tx: Any, state: Any) -> Any:
    """Both moments in float64, as the recipe reads them."""
    link = tx.inner if isinstance(tx, adamx.bfloat16_params) else tx
    inner = state.inner_state if isinstance(tx, adamx.bfloat16_params) else state
    core, (own, *_) = link.links[1].links[0], inner[1]

    def wide(m: Any, v: Any) -> Any:
        if m is None:
            return None
        pair = unpack(core, own.count, m, v) if m.dtype == jnp.uint16 else (m, v)
        return [np.asarray(x.astype(jnp.float32), np.float64) for x in pair]

    return jax.tree.map(wide, own.mu, own.nu, is_leaf=lambda x: x is None)


@pytest.mark.parametrize("name", RECIPES)
def test_to_the_same_recipe_it_is_the_same_state(name: str) -> None:
    params, state = run(name)
    assert same(adamx.convert_state(RECIPES[name], RECIPES[name], params, state), (params, state))


# Beside the largest of each leaf, as small moments are below the steps of a direction.
NEAREST = {"float32": 0.0, "bfloat16": 2.0**-8, "pair": 0.13, "blocks": 0.07, "by path": 0.13}


FEW = [
    ("float32", "bfloat16"),
    ("float32", "pair"),
    ("pair", "float32"),
    ("float32", "pair+0"),
    ("pair+16", "bfloat16"),
    ("pair", "blocks"),
    ("blocks", "float32"),
    ("float32", "by path"),
    ("float32+8", "pair+32"),
]
OTHERS = [both for both in itertools.permutations(RECIPES, 2) if both not in FEW]


@pytest.mark.parametrize(
    ("source", "target"),
    [*FEW, *full(OTHERS, "every pair")],
)
def test_every_format_becomes_the_nearest_of_every_other(source: str, target: str) -> None:
    params, state = run(source)
    after, converted = adamx.convert_state(RECIPES[source], RECIPES[target], params, state)
    wanted = jax.eval_shape(RECIPES[target].init, as_stored(target))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), converted) == jax.tree.map(
        lambda x: (x.shape, x.dtype), wanted
    )
    given, got = (moments(RECIPES[n], s) for n, s in ((source, state), (target, converted)))
    far = NEAREST[target.partition("+")[0]]
    for name in ("kernel", "bias"):
        for a, b in zip(given[name], got[name], strict=True):
            assert np.max(np.abs(a - b)) <= far * np.max(np.abs(a))
    # What has no format is what it was.
    inner = [s.inner_state if hasattr(s, "inner_state") else s for s in (state, converted)]
    assert same(inner[0][2], inner[1][2])
    assert int(inner[1][1][0].count) == 3
    # And it goes on.
    on, _ = trained(RECIPES[target], after, converted, 1)
    there, _ = trained(RECIPES[source], params, state, 1)
    for name in ("kernel", "bias"):
        a, b = (np.asarray(x[name], np.float32) for x in (on, there))
        assert np.max(np.abs(a - b)) < 0.03


def test_moments_in_bfloat16_are_the_nearest() -> None:
    params, state = run("float32")
    _, converted = adamx.convert_state(RECIPES["float32"], RECIPES["bfloat16"], params, state)
    for field in ("mu", "nu"):
        for name in ("kernel", "bias"):
            wide, narrow = (np.asarray(getattr(s[1][0], field)[name]) for s in (state, converted))
            assert np.array_equal(narrow, wide.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("count", [0, 1, 1000])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_every_word_comes_back(count: int, eps: float) -> None:
    core = ScaleByAdam(eps=eps, state_format="pair")
    words = jnp.arange(2**16, dtype=jnp.uint32).astype(jnp.uint16).reshape(256, 256)
    steps = jnp.asarray(count, jnp.int32)
    m, v = unpack(core, steps, words, None)
    assert np.array_equal(pack(core, steps, m, v, None)[0], words)


def test_numbers_of_blocks_come_back() -> None:
    core, steps = ScaleByAdam(state_format=adamx.pair_format(16)), jnp.asarray(5, jnp.int32)
    rng = np.random.default_rng(3)
    v = jnp.asarray(np.exp(rng.uniform(-10, 0, (64, 64))), jnp.float32)
    m = jnp.asarray(rng.uniform(-2, 2, (64, 64)) * np.sqrt(v), jnp.float32)
    like = jax.ShapeDtypeStruct((64, 4), jnp.int16)
    words, base = pack(core, steps, m, v, like)
    first = unpack(core, steps, words, base)
    again = unpack(core, steps, *pack(core, steps, *first, like))
    assert np.max(np.abs(np.asarray(first[1] - v)) / v) <= 1 / 16
    jax.tree.map(np.testing.assert_array_equal, again, first)


def test_words_are_the_nearest_of_all() -> None:
    core, steps = ScaleByAdam(state_format="pair"), jnp.asarray(7, jnp.int32)
    rng = np.random.default_rng(1)
    v = jnp.asarray(np.exp(rng.uniform(-20, 0, 5000)), jnp.float32)
    m = jnp.asarray(rng.uniform(-2, 2, 5000) * np.sqrt(v), jnp.float32)
    got_m, got_v = (
        np.asarray(x, np.float64) for x in unpack(core, steps, *pack(core, steps, m, v, None))
    )
    # Four numbers to an octave: at most half of the gap above the lowest of them.
    assert np.max(np.abs(got_v - v) / v) <= 0.125 + 1e-6
    r, got_r = (np.asarray(x, np.float64) / np.sqrt(got_v) for x in (m, got_m))
    gap = 8 * (2 * np.sqrt(np.abs(r) / 8) * 63 + 1) / 63**2
    assert np.max(np.abs(r - got_r) / gap) <= 0.51


@pytest.mark.parametrize("bits", [16, 32])
def test_parameters_with_all_their_bits_come_back_exactly(bits: int) -> None:
    params, state = run("float32")
    tx = adamx.bfloat16_params(RECIPES["float32"], bits)
    narrow, converted = adamx.convert_state(RECIPES["float32"], tx, params, state)
    assert narrow["kernel"].dtype == narrow["bias"].dtype == jnp.bfloat16
    assert narrow["steps"].dtype == jnp.int32
    back = adamx.convert_state(tx, RECIPES["float32"], narrow, converted)
    assert same(back, (params, state))
    # On the same gradients the two go on as one.
    grads = gradient(P)
    on, converted = tx.step(grads, converted, narrow)
    wide, _ = RECIPES["float32"].step(grads, state, params)
    assert same(converted.float32_params(on), wide)


def test_eight_bits_keep_seventeen_of_a_parameter() -> None:
    params, state = run("float32")
    tx = adamx.bfloat16_params(RECIPES["float32"], 8)
    narrow, converted = adamx.convert_state(RECIPES["float32"], tx, params, state)
    kept = converted.float32_params(narrow)
    for name in ("kernel", "bias"):
        assert np.max(np.abs(kept[name] / params[name] - 1)) <= 2.0**-16


def test_what_was_left_in_float32_stays() -> None:
    mixed = {**P, "kernel": P["kernel"].astype(jnp.bfloat16)}
    old, new = (adamx.bfloat16_params(recipe("float32"), bits) for bits in (8, 16))
    params, state = trained(old, mixed)
    after, converted = adamx.convert_state(old, new, params, state)
    assert after["bias"].dtype == jnp.float32
    assert converted.rest["bias"] is None
    assert converted.rest["kernel"].dtype == jnp.uint16
    assert int(converted.count) == 3


def test_another_eps_keeps_the_moments() -> None:
    params, state = run("pair")
    other = recipe("pair", eps=1e-2)
    _, converted = adamx.convert_state(RECIPES["pair"], other, params, state)
    given, got = moments(RECIPES["pair"], state), moments(other, converted)
    m, again = given["kernel"][0], got["kernel"][0]
    assert np.max(np.abs(m - again)) <= 0.13 * np.max(np.abs(m))
    assert abs(np.vdot(m, again) / np.vdot(m, m) - 1) < 0.01


def nested(moments: str) -> Any:
    inner = adamx.inject_hyperparams(adamx.adamw(1e-2, state_format=FORMATS[moments]))
    return adamx.apply_if_finite(
        adamx.chain(
            adamx.add_noise(0.1, 0.5, key=jax.random.key(1)),
            adamx.multi_steps(
                adamx.multi_transform(
                    {"learns": inner, "stays": adamx.freeze()},
                    {"kernel": "learns", "bias": "stays"},
                ),
                2,
            ),
            optax.scale(1.0),
        )
    )


def test_the_walk_goes_through_wrappers_groups_and_other_libraries() -> None:
    old, new = nested("float32"), nested("pair")
    params, state = trained(old, {"kernel": P["kernel"], "bias": P["bias"]}, steps=4)
    # The numbers in the state are those that words are made with.
    state = adamx.set_hyperparams(state, eps=1e-2)
    after, converted = adamx.convert_state(old, new, params, state)
    assert same(after, params)
    assert "uint16" in {str(x.dtype) for x in jax.tree.leaves(converted)}
    step = jax.jit(new.step)
    wide, narrow = (params, state), (after, converted)
    for _ in range(4):
        wide = jax.jit(old.step)(gradient(wide[0]), wide[1], wide[0])
        narrow = step(gradient(narrow[0]), narrow[1], narrow[0])
    moved, also = (np.asarray(x[0]["kernel"] - params["kernel"]) for x in (wide, narrow))
    assert np.vdot(moved, also) / np.vdot(moved, moved) == pytest.approx(1.0, abs=0.05)
    _, back = adamx.convert_state(new, old, after, converted)
    assert jax.tree.structure(back) == jax.tree.structure(state)


def test_in_jit_and_in_shapes_alone() -> None:
    params, state = run("float32")
    made = jax.jit(lambda p, s: adamx.convert_state(RECIPES["float32"], RECIPES["pair"], p, s))
    eager = adamx.convert_state(RECIPES["float32"], RECIPES["pair"], params, state)
    assert same(made(params, state), eager)


@pytest.mark.eight_devices
def test_arrays_stay_where_they_are() -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    params = {"kernel": jax.device_put(P["kernel"], rows)}
    old, new = adamx.adam(1e-2), adamx.bfloat16_params(adamx.adam(1e-2, state_format="pair"), 8)
    params, state = trained(old, params)
    for leaf in jax.tree.leaves(adamx.convert_state(old, new, params, state)):
        assert leaf.ndim == 0 or leaf.sharding.is_equivalent_to(rows, 2)


def test_every_member_that_offers_them() -> None:
    for make in (adamx.nadam, adamx.radam, adamx.lamb, adamx.amsgrad, adamx.ademamix, adamx.yogi):
        old, new = make(1e-2), make(1e-2, state_format="bfloat16")
        params, state = trained(old, P)
        params, state = adamx.convert_state(old, new, params, state)
        trained(new, params, state, 1)


REFUSED: list[tuple[Any, Any, str]] = [
    (
        adamx.sparse.rows(adamx.adam(0.1), "lazy"),
        adamx.sparse.rows(adamx.adam(0.1, state_format=adamx.pair_format(min_size=0)), "lazy"),
        "keeps `mu` in words of its own",
    ),
    (adamx.adam(0.1), adamx.amsgrad(0.1), "at 0 scale_by_adam would become scale_by_amsgrad"),
    (adamx.adam(0.1), adamx.scale_by_adam(), "chain would become scale_by_adam"),
    (adamx.adam(0.1), adamx.adamw(0.1), "chain would become chain"),
    (
        adamx.adamw(0.1),
        adamx.masked(adamx.adamw(0.1), {"kernel": True, "bias": False, "steps": False}),
        "chain would become masked",
    ),
    (
        adamx.ema_params(0.9),
        adamx.ema_params(0.9, mask={"kernel": True, "bias": False, "steps": False}),
        "in more than formats: `ema` of the states are different trees",
    ),
    (
        adamx.chain(adamx.bfloat16_params(adamx.adam(0.1), 8)),
        adamx.chain(adamx.bfloat16_params(adamx.adam(0.1), 16)),
        "keeps `rest` in words of its own",
    ),
    (adamx.adam(0.1), optax.adam(0.1), "chain would become"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_other_recipes_are_refused_with_the_place(old: Any, new: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        adamx.convert_state(old, new, P, old.init(P))


def test_another_state_is_refused_with_the_place() -> None:
    params, state = run("pair")
    message = r"not that of `tx_from` for these parameters: at \[1\]\[0\]\.mu\['kernel'\] it has "
    with pytest.raises(ValueError, match=message + r"uint16\[64, 64\], not float32\[64, 64\]"):
        adamx.convert_state(RECIPES["float32"], RECIPES["pair"], params, state)
    with pytest.raises(ValueError, match=r"it has nothing, not"):
        adamx.convert_state(RECIPES["pair"], RECIPES["pair"], params, state[:1])
    with pytest.raises(TypeError, match="convert_state: `tx_to` must be a gradient transformation"):
        adamx.convert_state(RECIPES["pair"], 3, params, state)


MASKED = adamx.masked(adamx.adam(0.1), {"kernel": True, "bias": False, "steps": False})
BY_PATH = adamx.adam(0.1, state_format={"kernel": "pair", "bias": "bfloat16"})


@pytest.mark.parametrize(
    ("tx", "params"),
    [
        (RECIPES["float32"], P),
        (RECIPES["pair+16"], as_stored("pair+16")),
        # Already `init` has something to say about a state in the place of parameters.
        (MASKED, P),
        (BY_PATH, P),
        (adamx.adam(0.1), jnp.ones(3)),
        (optax.adam(0.1), P),
    ],
)
def test_arguments_in_the_wrong_order_are_told_by_their_names(tx: Any, params: Any) -> None:
    message = (
        r"convert_state: `params` and `state` seem to be swapped: .* write "
        r"`adamx\.convert_state\(tx_from, tx_to, params, state\)`"
    )
    with pytest.raises(ValueError, match=message):
        adamx.convert_state(tx, tx, tx.init(params), params)


@pytest.mark.parametrize("wrong", [None, 3, "state", jnp.ones, (), {"kernel": object()}])
def test_what_is_no_state_either_way_round_keeps_its_own_message(wrong: Any) -> None:
    with pytest.raises(ValueError, match="the state is not that of `tx_from`"):
        adamx.convert_state(RECIPES["pair"], RECIPES["pair"], P, wrong)
