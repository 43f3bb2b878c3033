"""The other links: what each does to a gradient, by definition and as optax does it."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from tests.oracles import family, links
from tests.test_compiled import SCRATCH, compile_step
from tests.versions import in_place

SHAPES = ((), (5,), (4, 3), (2, 3, 2))
PARAMS = [np.zeros(shape, np.float32) for shape in SHAPES]
COMPLEX = np.complex64([3 + 4j, 0, -2j, 1e-30 + 1e-30j, 3e38 - 3e38j])


def leaves(seed: int, dtype: Any = np.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


GRADS = [leaves(seed) for seed in range(6)]


def updates(tx: Any, grads: Any = GRADS, params: Any = PARAMS) -> list[Any]:
    """What comes out in every step, the parameters staying where they are."""
    state, result = tx.init(params), []
    for g in grads:
        u, state = tx.update(g, state, params)
        result.append(u)
    return result


def assert_close(found: Any, exact: Any, rtol: float = 2e-6, atol: float = 5e-7) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


AS_OPTAX: dict[str, tuple[Any, Any]] = {
    "ema": (adamx.ema(0.9), optax.ema(0.9)),
    "ema-biased": (adamx.ema(0.5, False), optax.ema(0.5, False)),
    "ema-bfloat16": (adamx.ema(0.5, True, "bfloat16"), optax.ema(0.5, True, "bfloat16")),
    "trace": (adamx.trace(0.9), optax.trace(0.9)),
    "trace-nesterov": (adamx.trace(0.9, True), optax.trace(0.9, True)),
    "trace-float16": (
        adamx.trace(0.5, accumulator_dtype="float16"),
        optax.trace(0.5, accumulator_dtype="float16"),
    ),
    "centralize": (adamx.centralize(), optax.centralize()),
    "scale_by_sign": (adamx.scale_by_sign(), optax.scale_by_sign()),
    "set_to_zero": (adamx.set_to_zero(), optax.set_to_zero()),
    "zero_nans": (adamx.zero_nans(), optax.zero_nans()),
    "add_noise": (adamx.add_noise(0.3, 0.55, 7), optax.add_noise(0.3, 0.55, 7)),
    "add_noise-key": (
        adamx.add_noise(0.3, 0.55, jax.random.key(7)),
        optax.add_noise(0.3, 0.55, jax.random.key(7)),
    ),
    "keep_params_nonnegative": (
        adamx.keep_params_nonnegative(),
        optax.keep_params_nonnegative(),
    ),
}


@pytest.mark.parametrize("name", AS_OPTAX)
def test_is_what_optax_does(name: str) -> None:
    ours, theirs = AS_OPTAX[name]
    params = [np.abs(p) for p in leaves(9)]
    poisoned = [[u.copy() for u in g] for g in GRADS]
    if name in ("zero_nans", "set_to_zero"):
        poisoned[2][1][3] = np.nan
    grads = [[*map(jnp.asarray, g)] for g in poisoned]
    # optax computes in the accumulator's dtype: compare at its precision.
    rtol = 2e-2 if "16" in name else 2e-6
    assert_close(updates(ours, grads, params), updates(theirs, grads, params), rtol, rtol / 10)


ORACLES: dict[str, tuple[Any, Any]] = {
    "ema": (adamx.ema(0.9), links.ema(GRADS, 0.9, True)),
    "ema-0": (adamx.ema(0.0), links.ema(GRADS, 0.0, True)),
    "ema-biased": (adamx.ema(0.9, debias=False), links.ema(GRADS, 0.9, False)),
    "trace": (adamx.trace(0.9), links.trace(GRADS, 0.9, False)),
    "trace-nesterov": (adamx.trace(0.9, nesterov=True), links.trace(GRADS, 0.9, True)),
    "centralize": (adamx.centralize(), [links.centralize(g) for g in GRADS]),
    "scale_by_sign": (adamx.scale_by_sign(), [links.scale_by_sign(g) for g in GRADS]),
    "cautious": (
        adamx.cautious(adamx.trace(0.9)),
        [links.cautious(u, g) for u, g in zip(links.trace(GRADS, 0.9, False), GRADS, strict=True)],
    ),
    "cautious-flipped": (
        adamx.cautious(
            adamx.chain(adamx.trace(0.9), adamx.scale_by_learning_rate(0.5)), flip_sign=True
        ),
        [
            [-0.5 * u for u in links.cautious(t, g)]
            for t, g in zip(links.trace(GRADS, 0.9, False), GRADS, strict=True)
        ],
    ),
}


@pytest.mark.parametrize("name", ORACLES)
def test_is_what_the_definition_says(name: str) -> None:
    tx, exact = ORACLES[name]
    assert_close(updates(tx), exact)


@pytest.mark.parametrize("make", [adamx.ema, adamx.trace])
def test_averages_have_a_dtype_of_their_own(make: Any) -> None:
    """float32 for half precision unless asked otherwise, whatever the gradients come in."""
    params = {dtype: jnp.ones(2, dtype) for dtype in ("bfloat16", "float16", "float32")}
    for wanted in (None, "bfloat16"):
        tx = make(0.9, accumulator_dtype=wanted)
        state = tx.init(params)
        for grads in (params, jax.tree.map(jnp.float32, params)):
            u, after = tx.update(grads, state, params)
            chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
            assert {k: x.dtype for k, x in u.items()} == {k: x.dtype for k, x in grads.items()}
            state = after
        moments = jax.tree.leaves(state[-1])
        assert {x.dtype.name for x in moments} == {wanted or "float32"}


def test_average_may_forget_by_a_schedule() -> None:
    decays = [0.9, 0.5, 0.7]
    tx = adamx.ema(lambda count: jnp.asarray(decays)[count])
    average, found = 0.0, updates(tx, [[np.float32(x)] for x in (1.0, 2.0, 4.0)], [np.float32(0)])
    for t, (decay, g) in enumerate(zip(decays, (1.0, 2.0, 4.0), strict=True)):
        average = decay * average + (1 - decay) * g
        np.testing.assert_allclose(found[t], [average / (1 - decay ** (t + 1))], rtol=1e-6)


def test_sign_of_complex_numbers_is_their_direction() -> None:
    """Also where the absolute value overflows or its square underflows."""
    with np.errstate(over="ignore"):
        exact = links.scale_by_sign([COMPLEX])[0]
    found, _ = adamx.scale_by_sign().update(COMPLEX, adamx.EmptyState())
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert found.dtype == jnp.complex64


def test_means_of_large_numbers_are_finite() -> None:
    large = jnp.full((2, 100), 1e38)
    found, _ = adamx.centralize().update(large, adamx.EmptyState())
    assert jnp.isfinite(found).all()
    large = jnp.full((2, 100), 60000.0, jnp.float16)
    found, _ = adamx.centralize().update(large, adamx.EmptyState())
    assert (found == 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: adamx.trace(0.9),
        lambda: adamx.trace(0.9, nesterov=True),
        lambda: adamx.multi_steps(adamx.identity(), 2),
        lambda: adamx.multi_steps(adamx.identity(), 2, use_grad_mean=False),
        lambda: adamx.multi_steps(adamx.adam(0.1), 2),
    ],
)
def test_sums_of_large_numbers_are_finite(make: Any) -> None:
    """Of what is not finite they are not."""
    tx, large = make(), np.float32([3e38, -3e38, np.inf, np.nan])
    params = {"w": jnp.ones(4), "c": jnp.ones(4, jnp.complex64)}
    grads = {"w": jnp.asarray(large), "c": jnp.asarray(large + 3e38j)}
    state = tx.init(params)
    for _ in range(4):
        updates, state = tx.update(grads, state, params)
        for u in jax.tree.leaves(updates):
            assert jnp.isfinite(u[:2]).all()
    for moment in jax.tree.leaves(state):
        assert moment.ndim == 0 or not jnp.isnan(moment[:2]).any()


def test_ratios_of_infinite_norms_are_numbers() -> None:
    """The norm of numbers near the largest is larger than it."""
    tx, huge, one = adamx.scale_by_trust_ratio(), jnp.full(4, 3e38), jnp.ones(4)
    for u, p in ((huge, huge), (one, huge), (huge, one)):
        found, _ = tx.update(u, tx.init(p), p)
        assert jnp.isfinite(found).all()
    recorded = adamx.record_metrics(adamx.identity(), "update_ratio")
    _, state = recorded.update(huge, recorded.init(huge), huge)
    assert float(state.recorded["update_ratio"]) == 1.0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_means_of_half_precision_are_computed_in_float32(dtype: Any) -> None:
    u = jnp.asarray(leaves(1)[2] + 3.0, dtype)
    found, _ = adamx.centralize().update(u, adamx.EmptyState())
    exact = jnp.asarray(links.centralize([np.float32(u)])[0], dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.float32(found), np.float32(exact))


def test_cautious_never_goes_uphill_and_keeps_the_mean() -> None:
    """First step: nothing disagrees. Later: only what agrees moves, enlarged."""
    tx = adamx.cautious(adamx.scale_by_adam())
    plain = updates(adamx.scale_by_adam())
    found = updates(tx)
    assert_close(found[0], plain[0])
    for u, p, g in zip(found[1:], plain[1:], GRADS[1:], strict=True):
        for a, b, c in zip(u, p, g, strict=True):
            agree = b * c > 0
            assert (np.asarray(a * c) >= 0).all()
            np.testing.assert_array_equal(np.asarray(a) != 0, agree)
            if agree.any():
                np.testing.assert_allclose(a, np.where(agree, b, 0) / agree.mean(), rtol=1e-6)


def test_cautious_compares_signs_not_products() -> None:
    """1e-30 * 1e-30 is 0 in float32."""
    tiny = jnp.array([1e-30, -1e-30, 0.0])
    found, _ = adamx.cautious(adamx.identity()).update(tiny, adamx.EmptyState())
    np.testing.assert_allclose(found, 1.5 * tiny, rtol=1e-6)


def test_cautious_enlarges_a_thousandfold_at_most() -> None:
    u = jnp.full(5000, -1.0).at[0].set(1.0)
    tx = adamx.cautious(adamx.stateless(lambda g, p: u))
    found, _ = tx.update(jnp.ones(5000), adamx.EmptyState())
    np.testing.assert_allclose(found[:2], [1000.0, 0.0], rtol=1e-6)


def test_cautious_passes_a_nan_on_to_its_own_element() -> None:
    g = jnp.array([1.0, jnp.nan, -1.0, 1.0])
    tx = adamx.cautious(adamx.stateless(lambda g, p: g * jnp.array([1.0, 1.0, 1.0, -1.0])))
    found, _ = tx.update(g, adamx.EmptyState())
    np.testing.assert_allclose(found, [1.5, np.nan, -1.5, 0.0], rtol=1e-6)


def test_cautious_refuses_an_inner_that_flips_the_sign() -> None:
    message = "`inner` has a `scale_by_learning_rate` that flips the sign.*`flip_sign=True`"
    for inner in (adamx.adamw(0.1), adamx.chain(adamx.identity(), adamx.adam(0.1))):
        with pytest.raises(ValueError, match=message):
            adamx.cautious(inner)
        assert adamx.cautious(inner, flip_sign=True).flip_sign
    adamx.cautious(adamx.scale_by_learning_rate(0.1, flip_sign=False))


def test_cautious_adamw_decays_every_weight() -> None:
    """The recipe of the docstring: the mask is on Adam's direction, not on the decay."""
    tx = adamx.chain(
        adamx.cautious(adamx.scale_by_adam()),
        adamx.add_decayed_weights(0.1),
        adamx.scale_by_learning_rate(0.5),
    )
    params = leaves(50)
    state, step = tx.init(params), jax.jit(tx.step)
    exact, plain = [np.float64(p) for p in params], [np.zeros(shape) for shape in SHAPES]
    adam = family.trajectory("adam", plain, GRADS, learning_rate=1.0)
    for g, before, after in zip(GRADS, [plain, *adam], adam, strict=False):
        params, state = step(g, state, params)
        directions = [b - a for a, b in zip(after, before, strict=True)]
        exact = [
            p - 0.5 * (u + 0.1 * p)
            for p, u in zip(exact, links.cautious(directions, g), strict=True)
        ]
        assert_close(params, exact, rtol=1e-4, atol=1e-5)


def test_zero_nans_says_where() -> None:
    tx = adamx.zero_nans()
    params = {"a": jnp.ones(2), "b": jnp.ones((0, 2)), "c": 1, "d": None, "e": jnp.ones(1) + 0j}
    state = tx.init(params)
    assert jax.tree.leaves(state) == [False, False, False]
    nan = {**params, "a": jnp.array([jnp.inf, jnp.nan]), "e": jnp.array([complex(1, np.nan)])}
    found, after = tx.update(nan, state, params)
    np.testing.assert_array_equal(found["a"], [np.inf, 0.0])
    np.testing.assert_array_equal(found["e"], [0.0])
    assert {k: None if x is None else bool(x) for k, x in after.found_nan.items()} == {
        "a": True,
        "b": False,
        "c": None,
        "d": None,
        "e": True,
    }
    assert adamx.metrics(after)["zero_nans/leaves"] == 2
    _, later = tx.update({**params, "a": jnp.array([jnp.inf, -jnp.inf])}, after, params)
    assert jax.tree.leaves(later) == [False, False, False]
    # A leaf without a gradient in this step has no NaN in it, and the state keeps its structure.
    _, later = tx.update({**nan, "a": None}, after, params)
    assert later.found_nan["a"].dtype == bool
    assert not later.found_nan["a"]
    with pytest.raises(ValueError, match=r"missing in the updates: \['a'\]"):
        tx.update({"b": params["b"]}, state)
    with pytest.raises(TypeError, match=r"updates at \['c'\] is float32\[\], but this leaf is not"):
        tx.update({**params, "c": 1.0}, state)


@pytest.mark.parametrize("param", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("grad", [jnp.float32, jnp.bfloat16])
def test_parameters_stay_nonnegative_whatever_is_rounded(param: Any, grad: Any) -> None:
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.uniform(0, 3, 500), param)
    tx = adamx.keep_params_nonnegative()
    for scale in (0.1, 1.0, 5.0):
        u = jnp.asarray(scale * rng.standard_normal(500), grad)
        kept, _ = tx.update(u, adamx.EmptyState(), params)
        assert (adamx.apply_updates(params, kept) >= 0).all()
        free = np.asarray(u.astype(kept.dtype) + params >= 0.01)
        np.testing.assert_array_equal(kept[free], u.astype(kept.dtype)[free])
    negative, _ = tx.update(jnp.zeros(2), adamx.EmptyState(), jnp.array([-1.0, 1.0]))
    np.testing.assert_array_equal(negative, [1.0, 0.0])


def test_noise_has_the_variance_of_its_step() -> None:
    """Neelakantan et al.: eta / (1 + t)**gamma, here at t = 0 and 3, on 40 000 elements."""
    zeros = jnp.zeros((200, 200))
    found = updates(adamx.add_noise(2.0, 0.55, 0), [zeros] * 4, zeros)
    for t in (0, 3):
        np.testing.assert_allclose(jnp.var(found[t]), 2.0 / (1 + t) ** 0.55, rtol=0.03)
        assert abs(jnp.mean(found[t])) < 0.03
    assert abs(np.corrcoef(found[0].ravel(), found[3].ravel())[0, 1]) < 0.02
    complex_noise = updates(adamx.add_noise(2.0, 0.0, 0), [zeros + 0j], zeros + 0j)[0]
    np.testing.assert_allclose(jnp.mean(jnp.abs(complex_noise) ** 2), 2.0, rtol=0.03)


def test_noise_is_reproducible_and_its_key_moves_on() -> None:
    tx, zeros = adamx.add_noise(1.0, 0.0, 3), [np.zeros(4, np.float32)]
    first, second = updates(tx, [zeros, zeros], zeros)
    again, _ = updates(tx, [zeros, zeros], zeros)
    chex.assert_trees_all_equal(first, again)
    assert not np.array_equal(first[0], second[0])
    other = updates(adamx.add_noise(1.0, 0.0, 4), [zeros], zeros)[0]
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("partitionable", [False, True])
def test_noise_does_not_depend_on_what_is_not_trained(partitionable: bool) -> None:
    """Also where the keys of a split depend on how many there are."""
    tx, zeros = adamx.add_noise(1.0, 0.0, 3), [np.zeros(4, np.float32)]
    beside = [None, np.arange(2), np.zeros((0, 2), np.float32), *zeros]
    with jax.threefry_partitionable(partitionable):
        first = updates(tx, [zeros], zeros)[0]
        found = updates(tx, [beside], beside)[0]
    chex.assert_trees_all_equal(found[3], first[0])
    assert found[0] is None
    chex.assert_trees_all_equal(found[1], beside[1])


def test_noise_takes_a_seed_or_any_kind_of_key() -> None:
    zeros = np.zeros(4, np.float32)
    seeded = updates(adamx.add_noise(1.0, 0.0, 5), [zeros], zeros)
    for key in (jax.random.key(5), jax.random.PRNGKey(5), np.int64(5), jnp.asarray(5)):
        chex.assert_trees_all_equal(updates(adamx.add_noise(1.0, 0.0, key), [zeros], zeros), seeded)
    rbg = adamx.add_noise(1.0, 0.0, jax.random.key(5, impl="rbg"))
    assert rbg.impl == "rbg"
    assert not np.array_equal(updates(rbg, [zeros], zeros)[0], seeded[0])
    # Ten seeds are data: one trace, ten models.
    states = jax.vmap(lambda seed: adamx.add_noise(1.0, 0.0, seed).init(None))(jnp.arange(10))
    assert len({tuple(map(int, key)) for key in states.rng_key}) == 10
    assert adamx.from_config(adamx.get_config(rbg)) == rbg


def every_other(step: Any) -> Any:
    return step % 2 == 0


def small(step: Any, value: Any) -> Any:
    return value < 1.0


CONDITIONAL = [
    (adamx.conditionally_transform, optax.conditionally_transform),
    (adamx.conditionally_mask, optax.conditionally_mask),
]


@pytest.mark.parametrize(("ours", "theirs"), CONDITIONAL)
def test_conditions_are_those_of_optax(ours: Any, theirs: Any) -> None:
    for condition, forward in ((every_other, False), (small, True)):
        found, expected = (
            wrap(library.ema(0.9), condition, forward)
            for wrap, library in ((ours, adamx), (theirs, optax))
        )
        state, other = found.init(PARAMS), expected.init(PARAMS)
        step, theirs_step = jax.jit(found.update), jax.jit(expected.update)
        for i, g in enumerate(GRADS):
            a, state = step(g, state, PARAMS, value=jnp.float32(i % 3))
            b, other = theirs_step(g, other, PARAMS, value=jnp.float32(i % 3))
            assert_close(a, b)
        assert state._fields == other._fields
        assert int(state.step) == int(other.step) == len(GRADS)
        assert int(state.inner_state.count) == int(other.inner_state.count) < len(GRADS)


@pytest.mark.parametrize(("ours", "theirs"), CONDITIONAL)
def test_conditions_leave_odd_leaves_and_dtypes_alone(ours: Any, theirs: Any) -> None:
    """Gradients in another dtype than the parameters, `float0`, integers and `None`."""
    params = {"a": jnp.ones(2), "b": 3, "c": None, "d": jnp.ones(2)}
    grads = {
        "a": jnp.ones(2, jnp.bfloat16),
        "b": np.zeros((), jax.dtypes.float0),
        "c": None,
        "d": None,
    }
    tx = ours(adamx.adam(0.1), every_other)
    state = tx.init(params)
    for taken in (True, False):
        u, state = tx.update(grads, state, params)
        assert u["a"].dtype == jnp.float32
        skipped = 1.0 if ours is adamx.conditionally_transform else 0.0
        np.testing.assert_allclose(u["a"], -0.1 if taken else skipped, rtol=1e-4)
        assert all(u[k] is grads[k] for k in "bcd")
    moved, after = tx.step(grads, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert moved["b"] == 3


@pytest.mark.parametrize(("ours", "theirs"), CONDITIONAL)
@pytest.mark.parametrize(
    ("condition", "got"),
    [(lambda step: step, r"int32\[\]"), (lambda step: jnp.ones(2, bool), r"bool\[2\]")],
)
def test_a_condition_is_one_boolean(ours: Any, theirs: Any, condition: Any, got: str) -> None:
    tx = ours(adamx.identity(), condition)
    with pytest.raises(
        TypeError, match="`should_transform_fn` must return one boolean, got " + got
    ):
        tx.update(PARAMS, tx.init(PARAMS))


def test_a_masked_step_moves_nothing_not_even_a_nan() -> None:
    tx = adamx.conditionally_mask(adamx.adam(0.1), lambda step: step < 0)
    params = {"w": jnp.ones(2)}
    state = tx.init(params)
    after, later = tx.step({"w": jnp.full(2, jnp.nan)}, state, params)
    chex.assert_trees_all_equal(after, params)
    chex.assert_trees_all_equal(later.inner_state, state.inner_state)


FREE = {
    "ema": adamx.ema(0.9),
    "trace": adamx.trace(0.9, nesterov=True),
    "scale_by_sign": adamx.scale_by_sign(),
    "zero_nans": adamx.zero_nans(),
    "set_to_zero": adamx.set_to_zero(),
    "decay_to_initial": adamx.decay_to_initial(0.1),
    "keep_params_nonnegative": adamx.keep_params_nonnegative(),
    "conditionally_mask": adamx.conditionally_mask(adamx.adamw(0.1), every_other),
}


@in_place
@pytest.mark.parametrize("name", FREE)
def test_needs_no_temporary_of_the_size_of_the_gradient(name: str) -> None:
    shapes = {"vector": (1 << 20,), "matrix": (1024, 512), "bias": (512,)}
    params = {k: jax.ShapeDtypeStruct(shape, jnp.float32) for k, shape in shapes.items()}
    tx = FREE[name]
    if name != "conditionally_mask":
        tx = adamx.chain(tx, adamx.scale_by_learning_rate(0.1))
    assert compile_step(tx, params).memory_analysis().temp_size_in_bytes < 16 * SCRATCH


def test_cautious_stores_the_proposed_update_once() -> None:
    params = {"w": jax.ShapeDtypeStruct((1 << 20,), jnp.float32)}
    tx = adamx.chain(adamx.cautious(adamx.scale_by_adam()), adamx.scale_by_learning_rate(0.1))
    memory = compile_step(tx, params).memory_analysis()
    assert memory.temp_size_in_bytes < (4 << 20) + SCRATCH


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adamx.ema(1.0), ValueError, r"ema: `decay` must be in \[0, 1\), got 1.0"),
        (lambda: adamx.ema(0.9, debias=1), TypeError, "`debias` must be True or False"),
        (lambda: adamx.ema(0.9, True, int), ValueError, "`accumulator_dtype` must be a floating"),
        (lambda: adamx.trace(-0.1), ValueError, r"trace: `decay` must be in \[0, 1\), got -0.1"),
        (lambda: adamx.trace(0.9, "yes"), TypeError, "`nesterov` must be True or False"),
        (lambda: adamx.add_noise(-1.0, 0.5, 0), ValueError, r"`eta` must be in \[0, inf\)"),
        (lambda: adamx.add_noise(1.0, -0.5, 0), ValueError, r"`gamma` must be in \[0, inf\)"),
        (lambda: adamx.add_noise(1.0, 0.5, -1), ValueError, "`key` must be at least 0"),
        (lambda: adamx.add_noise(1.0, 0.5, "a"), TypeError, "`key` must be"),
        (lambda: adamx.add_noise(1.0, 0.5, jnp.ones(2)), TypeError, "`key` must be a seed or"),
        # JAX would take its lower half, which is the seed 0.
        (lambda: adamx.add_noise(1.0, 0.5, 2**40), ValueError, "a seed of at most 4294967295"),
        (
            lambda: adamx.add_noise(1.0, 0.5, jax.random.split(jax.random.key(0))),
            TypeError,
            "`key` must be a seed or one key",
        ),
        (
            lambda: adamx.add_noise(1.0, 0.5, np.zeros(3, np.uint32)),
            ValueError,
            r"the data of one key, of shape \(2,\), got \(3,\)",
        ),
        (lambda: adamx.cautious(3), TypeError, "`inner` must be a gradient transformation"),
        (lambda: adamx.conditionally_mask(adamx.identity(), 3), TypeError, "`should_transform_fn`"),
        (lambda: adamx.conditionally_transform(3, every_other), TypeError, "`inner` must be"),
    ],
)
def test_bad_arguments_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
