"""One word for both moments: what it keeps, what it loses, and that nothing is thrown far."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import adamx
from adamx.formats.bits import random_bits
from adamx.formats.pair import (
    BLOCK,
    FIXED,
    LARGEST_DIRECTION,
    Denominator,
    block_base,
    decode,
    encode,
)
from tests.versions import in_place

WORDS = jnp.arange(1 << 16, dtype=jnp.uint32).astype(jnp.uint16)
PLAIN = Denominator(np.float32(1e-8), 0.0)
NAN, ZERO_V = (WORDS & 127) == 64, (WORDS >> 7) == 0
# Without random bits v is cut off, and k is rounded up always.
NO_BITS = jnp.uint32(0)


def bits(count: int, shape: tuple[int, ...]) -> jax.Array:
    return random_bits(jnp.uint32(count * 7919 + 1), shape)


@pytest.mark.parametrize("base", [0, 600, 1000, 1700])
def test_every_word_of_a_block_comes_back(base: int) -> None:
    denominator = Denominator(np.float32(0.0), 0.0)
    kind = BLOCK, jnp.int32(base)
    m, v = decode(WORDS, denominator, *kind)
    again = encode(m, v, denominator, jnp.full(WORDS.shape, BLOCK.nearest), *kind)
    nan = (WORDS & 255) == 128
    expected = np.where(nan, np.uint16(128) | (WORDS & 0xFF00), WORDS)
    kept = ((WORDS >> 8) > 0) & (v > 1e-37)  # Without v there is no m; denormals are none.
    np.testing.assert_array_equal(np.asarray(again)[kept], np.asarray(expected)[kept])


def test_a_block_with_an_infinite_v_keeps_finite_ones() -> None:
    tx = adamx.scale_by_adam(state_format=adamx.pair_format(4, 0))
    got = directions(tx, np.full((5, 8), 3e38, np.float32) * np.float32([1, 0, 1e-30, -1] * 2))
    assert np.all(np.isfinite(got))


@pytest.mark.parametrize("v", [0.0, 1e-44, 1e-30, 1.0, 3e38])
def test_no_v_of_a_block_exceeds_what_its_base_can_hold(v: float) -> None:
    exact = jnp.float32(v) * jnp.linspace(0.0, 1.0, 256)
    base = block_base(exact.max())
    for random in (0, 0xFFFFFFFF):
        word = encode(0.0 * exact, exact, PLAIN, jnp.uint32(random), BLOCK, base)
        _, got = decode(word, PLAIN, BLOCK, base)
        np.testing.assert_allclose(got, exact, rtol=1 / 8, atol=v * 2.0**-31 + 1e-38)


@pytest.mark.parametrize("eps", [0.0, 1e-8, 1e-3])
def test_every_word_comes_back(eps: float) -> None:
    denominator = Denominator(np.float32(eps), 0.0)
    m, v = decode(WORDS, denominator)
    again = encode(m, v, denominator, jnp.full(WORDS.shape, FIXED.nearest))
    m_again, _ = decode(again, denominator)
    expected = np.where(NAN, np.uint16(64) | (WORDS & 0xFF80), WORDS)
    # Without any v and eps there is no m: all directions are zero.
    lost = (np.asarray(ZERO_V) & ~np.asarray(NAN)) if eps == 0.0 else np.zeros(1 << 16, bool)
    np.testing.assert_array_equal(np.asarray(again)[~lost], np.asarray(expected)[~lost])
    assert not np.asarray(m_again)[lost].any()


def test_v_is_monotone_and_covers_its_range() -> None:
    _, v = decode(WORDS[::128], PLAIN)
    v = np.float64(v)
    assert v[0] == 0.0
    assert np.all(np.diff(v) > 0)
    np.testing.assert_allclose(np.sqrt(v[[1, -1]]), [2.3e-13, 3.5e6], rtol=0.1)
    assert np.max(v[2:] / v[1:-1]) <= 1.25


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_none(bad: float) -> None:
    """A healthy-looking zero in its place would train on."""
    m, _ = decode(encode(jnp.float32(bad), jnp.float32(1.0), PLAIN, NO_BITS), PLAIN)
    assert np.isnan(m)
    m, _ = decode(encode(jnp.float32(0.1), jnp.float32(np.nan), PLAIN, NO_BITS), PLAIN)
    assert np.isnan(m)


@pytest.mark.parametrize("v", [0.0, 1e-45, 1e-30, 1e-12, 1.0, 1e12, 3e38, np.inf])
@pytest.mark.parametrize("eps", [0.0, 1e-8])
def test_zero_huge_and_denormal_moments_stay_finite(v: float, eps: float) -> None:
    denominator = Denominator(np.float32(eps), 0.0)
    for m in (0.0, 1e-45, -1e-20, 1.0, -3e38):
        for random in (0, 0xFFFFFFFF):
            word = encode(jnp.float32(m), jnp.float32(v), denominator, jnp.uint32(random))
            got_m, got_v = decode(word, denominator)
            assert np.isfinite(got_m)
            assert np.isfinite(got_v)
            assert got_m == 0.0 or np.sign(got_m) == np.sign(m)
            # No v is lost, or a later step would divide by nothing but eps.
            assert (got_v > 0.0) == (v > 1e-38)
            if m == 0.0 and v == 0.0:
                assert int(word) == 0


def test_both_moments_are_exact_in_the_mean_and_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    size, draws = 256, 4096
    v = (10.0 ** rng.uniform(-20, 10, size)).astype(np.float32)
    r = rng.uniform(-7.0, 7.0, size)
    m = (r * (np.sqrt(np.float64(v)) + 1e-8)).astype(np.float32)
    shape = (draws, size)
    word = encode(jnp.broadcast_to(m, shape), jnp.broadcast_to(v, shape), PLAIN, bits(0, shape))
    got_m, got_v = (np.float64(x) for x in decode(word, PLAIN))
    width = v * 0.25
    assert np.all(np.abs(got_v - v) <= width * 1.0001)
    assert np.abs((got_v - v).mean(axis=0) / width).max() < 5 * 0.5 / np.sqrt(draws)
    # |r| = 8 (k / 63)**2: the distance to a neighbour is at most 2 sqrt(8 |r|) / 63 + 8 / 63**2,
    # on the scale of the stored v.
    below = np.sqrt(got_v) + 1e-8
    gap = 2 * np.sqrt(LARGEST_DIRECTION * np.abs(m) / below) / 63 + 8 / 63**2
    error = (got_m - m) / below
    assert np.all(np.abs(error) <= 1.001 * gap)
    z = error.mean(axis=0) / (0.5 * gap.mean(axis=0) / np.sqrt(draws))
    assert np.abs(z).max() < 5


def reference(grads: np.ndarray, eps: float) -> np.ndarray:
    """Directions of Adam in float64."""
    m = v = np.zeros(grads.shape[1])
    found = []
    for t, g in enumerate(np.float64(grads), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        found.append(m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + eps))
    return np.array(found)


def directions(tx: adamx.GradientTransformation, grads: np.ndarray) -> np.ndarray:
    def step(state: Any, g: jax.Array) -> Any:
        u, state = tx.update(g, state)
        return state, u

    start = tx.init(jnp.zeros(grads.shape[1]))
    return np.asarray(jax.jit(lambda g: jax.lax.scan(step, start, g)[1])(jnp.asarray(grads)))


def noise(seed: int = 0, shape: tuple[int, int] = (400, 256)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def once(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[200] *= 1e4
    return x


HARD: dict[str, tuple[Callable[[], np.ndarray], float]] = {
    "one outlier": (lambda: noise() * np.where(np.arange(256) == 7, 1e3, 1.0), 1e-8),
    "five decades": (lambda: noise() * np.logspace(-5, 0, 256), 1e-8),
    "one step of 1e4": (lambda: once(noise()), 1e-8),
    "tiny": (lambda: noise() * 1e-9, 1e-15),
    "huge": (lambda: noise() * 1e6, 1e-8),
    "zeros": (lambda: noise() * 0.0, 1e-8),
    "rare": (lambda: noise() * (np.arange(400) % 100 == 3)[:, None], 1e-8),
}


@pytest.mark.parametrize(("block", "bound"), [(None, 0.3), (128, 0.2)])
@pytest.mark.parametrize("case", HARD)
def test_no_direction_is_far_from_the_exact_one(case: str, block: int | None, bound: float) -> None:
    make, eps = HARD[case]
    grads = make().astype(np.float32)
    exact = reference(grads, eps)
    tx = adamx.scale_by_adam(eps=eps, state_format=adamx.pair_format(block, min_size=0))
    got = directions(tx, grads)
    assert np.isfinite(got).all()
    assert np.abs(got - exact).max() <= 2.0
    late = np.abs(got - exact)[100:].sum() / max(np.abs(exact)[100:].sum(), 1e-30)
    assert late < bound


def test_a_second_moment_does_not_stall() -> None:
    size = 4096
    grads = np.ones((4000, 1), np.float32) * np.ones(size, np.float32)
    grads[1000:, ::2] = 0.1
    tx = adamx.scale_by_adam(state_format="pair")

    def step(state: Any, g: jax.Array) -> Any:
        return tx.update(g, state)[1], None

    start = tx.init(jnp.zeros(size))
    assert start.mu.dtype == jnp.uint16
    state, _ = jax.jit(lambda g: jax.lax.scan(step, start, g))(grads)
    _, v = decode(state.mu, PLAIN)
    assert abs(float(jnp.sqrt(v)[::2].mean()) / 0.2023 - 1) < 0.05


MEMBERS: dict[str, Callable[..., adamx.GradientTransformation]] = {
    "adam": functools.partial(adamx.adam, 1e-3),
    "adam-eps_root": functools.partial(adamx.adam, 1e-3, eps_root=1e-8),
    "adam-eps": functools.partial(adamx.adam, 1e-3, eps=3.0),
    "adam-eps_hat": functools.partial(adamx.adam, 1e-3, eps_hat=True),
    "adamw": functools.partial(adamx.adamw, 1e-3),
    "nadam": functools.partial(adamx.nadam, 1e-3),
    "nadamw": functools.partial(adamx.nadamw, 1e-3),
    "scale_by_nadam": adamx.scale_by_nadam,
    "radam": functools.partial(adamx.radam, 1e-3, b2=0.99),
    "lamb": functools.partial(adamx.lamb, 1e-3),
}


@pytest.mark.parametrize("block", [None, pytest.param(256, marks=pytest.mark.full("the same"))])
@pytest.mark.parametrize("name", MEMBERS)
def test_members_follow_their_float32_selves(name: str, block: int | None) -> None:
    """On a mean over many elements: the rounding is exact in the mean."""
    grads = noise(1, (40, 4096)) + 0.5
    make = MEMBERS[name]

    def sums(tx: adamx.GradientTransformation) -> np.ndarray:
        params = jnp.ones(4096)

        def step(state: Any, g: jax.Array) -> Any:
            u, state = tx.update(g, state, params)
            return state, u.mean()

        return np.asarray(jax.jit(lambda g: jax.lax.scan(step, tx.init(params), g)[1])(grads))

    wide, narrow = sums(make()), sums(make(state_format=adamx.pair_format(block)))
    np.testing.assert_allclose(narrow, wide, rtol=0.06, atol=2e-3 * np.abs(wide).max())


def test_blocks_are_twice_as_exact() -> None:
    grads = noise(5, (200, 4096))
    exact = reference(grads, 1e-8)
    errors = [
        np.abs(
            directions(adamx.scale_by_adam(state_format=adamx.pair_format(block)), grads) - exact
        )[50:].mean()
        for block in (None, 256)
    ]
    assert errors[1] < 0.65 * errors[0]


BLOCKS = adamx.pair_format(256)


def test_blocks_have_a_base_each_where_they_fit() -> None:
    params = {"odd": jnp.zeros((64, 100)), "small": jnp.zeros(256), "w": jnp.zeros((16, 1024))}
    state = adamx.scale_by_adam(state_format=BLOCKS).init(params)
    assert state.nu["w"].dtype == jnp.int16
    assert state.nu["w"].shape == (16, 4)
    assert state.mu["odd"].dtype == jnp.uint16
    assert state.nu["odd"] is None
    assert state.nu["small"].dtype == jnp.float32


def test_a_block_follows_its_largest_element() -> None:
    """Through 60 octaves, up and down, without a loss of range at the largest."""
    scales = np.concatenate([np.logspace(-12, 8, 60), np.logspace(8, -12, 60)]).astype(np.float32)
    grads = scales[:, None] * np.ones((1, 512), np.float32)
    tx = adamx.scale_by_adam(b1=0.0, b2=0.0, eps=1e-30, state_format=adamx.pair_format(256, 0))
    got = directions(tx, grads)
    assert np.abs(got - 1.0).max() < 0.2


def test_what_is_no_number_stays_alone_in_its_block() -> None:
    tx = adamx.scale_by_adam(state_format=adamx.pair_format(8, 0))
    grads = np.ones((20, 16), np.float32)
    grads[5, 3], grads[6, 9] = np.nan, np.inf
    got = directions(tx, grads)
    assert np.isnan(got[-1]).nonzero()[0].tolist() == [3, 9]
    np.testing.assert_allclose(got[:, [0, 1, 2, 4, 5, 6, 7, 8, 10]], 1.0, atol=0.3)


def test_eight_devices_store_the_blocks_of_one() -> None:
    mesh = jax.make_mesh((4, 2), ("a", "b"))
    tx = adamx.adamw(1e-2, state_format=adamx.pair_format(8, 0))
    w, g = (jnp.asarray(noise(seed, (64, 32))) for seed in (2, 3))
    step = jax.jit(tx.step)
    _, one = step(g, tx.init(w), w)
    for spec in (PartitionSpec("a", "b"), PartitionSpec("b", "a")):
        params, grads = (jax.device_put(x, NamedSharding(mesh, spec)) for x in (w, g))
        state = adamx.sharding.init(tx, params)
        assert state[0].nu.sharding.spec == spec
        text = step.lower(grads, state, params).compile().as_text()
        assert "all-gather" not in text
        assert "all-reduce" not in text
        _, many = step(grads, state, params)
        np.testing.assert_array_equal(many[0].mu, one[0].mu)
        np.testing.assert_array_equal(many[0].nu, one[0].nu)


def test_a_device_that_would_cut_a_block_is_refused() -> None:
    mesh = jax.make_mesh((8,), ("data",))
    tx = adamx.adamw(1e-2, state_format=adamx.pair_format(8, 0))
    params = jax.device_put(jnp.ones((2, 32)), NamedSharding(mesh, PartitionSpec(None, "data")))
    with pytest.raises(ValueError, match=r"nu.* of the state .* be sharded evenly over 'data'"):
        adamx.sharding.init(tx, params)


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (2, 128)])
def test_zero1_cuts_words_and_bases_in_the_same_places(shape: tuple[int, int]) -> None:
    mesh = jax.make_mesh((8,), ("data",))
    tx = adamx.scale_by_adam(state_format=adamx.pair_format(8, 0))
    params = jnp.ones(shape, device=NamedSharding(mesh, PartitionSpec()))
    where = adamx.sharding.zero1_sharding(tx, params, "data")
    assert where.mu.spec == where.nu.spec
    assert where.mu.spec != PartitionSpec()


REFUSING = {
    "amsgrad": adamx.amsgrad,
    "adamax": adamx.adamax,
    "adabelief": adamx.adabelief,
    "yogi": adamx.yogi,
    "adopt": adamx.adopt,
    "ademamix": adamx.ademamix,
}


@pytest.mark.parametrize("name", REFUSING)
def test_where_it_cannot_be_the_factory_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=r'pair.*use `state_format="bfloat16"`'):
        REFUSING[name](1e-3, state_format="pair")


SCRATCH = 1024 if jax.default_backend() == "cpu" else 96 * 1024


@in_place
def test_a_step_with_blocks_needs_temporaries_of_blocks_only() -> None:
    params = jax.ShapeDtypeStruct((1024, 1024), "float32")
    tx = adamx.adamw(1e-3, state_format=BLOCKS)
    state = jax.eval_shape(tx.init, params)
    step = jax.jit(tx.step, donate_argnums=(1, 2), keep_unused=True)
    memory = step.lower(params, state, params).compile().memory_analysis()
    assert memory.temp_size_in_bytes < params.size // 16 + SCRATCH
    assert memory.alias_size_in_bytes >= params.size * 6 + params.size // 128


@in_place
@pytest.mark.parametrize("name", ["adamw", "adam-eps_root", "nadam", "radam"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_needs_no_temporaries(name: str, dtype: str) -> None:
    params = {"w": jax.ShapeDtypeStruct((1024, 1024), dtype)}
    tx = MEMBERS[name](state_format="pair")
    state = jax.eval_shape(tx.init, params)
    step = jax.jit(tx.step, donate_argnums=(1, 2), keep_unused=True)
    memory = step.lower(params, state, params).compile().memory_analysis()
    assert memory.temp_size_in_bytes < SCRATCH
    assert memory.alias_size_in_bytes >= params["w"].size * (params["w"].dtype.itemsize + 2)


def test_a_nan_gradient_stays_seen() -> None:
    tx = adamx.adam(0.1, state_format=adamx.pair_format(min_size=0))
    params = jnp.ones(4)
    state = tx.init(params)
    params, state = tx.step(jnp.array([1.0, np.nan, np.inf, 0.0]), state, params)
    params, state = tx.step(jnp.ones(4), state, params)
    assert np.isnan(params).tolist() == [False, True, True, False]


def test_a_skipped_step_leaves_every_word() -> None:
    tx = adamx.apply_if_finite(adamx.adam(0.1, state_format=adamx.pair_format(min_size=0)))
    params = jnp.linspace(-1.0, 1.0, 64)
    params, state = tx.step(params, tx.init(params), params)
    after, skipped = tx.step(params.at[3].set(np.nan), state, params)
    np.testing.assert_array_equal(params, after)
    np.testing.assert_array_equal(state.inner_state[0].mu, skipped.inner_state[0].mu)


def test_eight_devices_store_the_words_of_one() -> None:
    mesh = jax.make_mesh((4, 2), ("a", "b"))
    tx = adamx.adamw(1e-2, state_format=adamx.pair_format(min_size=0))
    w = jnp.asarray(noise(2, (64, 32)))
    grads = [jnp.asarray(noise(seed, (64, 32))) for seed in (3, 4)]
    step = jax.jit(tx.step)
    results = []
    for spec in (None, PartitionSpec("a", "b"), PartitionSpec("b", "a")):
        params = w if spec is None else jax.device_put(w, NamedSharding(mesh, spec))
        state = tx.init(w) if spec is None else adamx.sharding.init(tx, params)
        for g in grads:
            g = g if spec is None else jax.device_put(g, params.sharding)
            params, state = step(g, state, params)
        if spec is not None:
            assert state[0].mu.sharding.spec == spec
            text = step.lower(g, state, params).compile().as_text()
            assert "all-gather" not in text
            assert "all-reduce" not in text
        results.append(np.asarray(state[0].mu))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])
