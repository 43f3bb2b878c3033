"""bfloat16 rounded at random is exact in the mean, and never makes or hides a NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.formats.bfloat16 import round_at_random
from adamx.formats.bits import random_bits

MEMBERS = {
    "scale_by_adam": ("mu", "nu"),
    "scale_by_amsgrad": ("mu", "nu", "nu_max"),
    "scale_by_adamax": ("mu", "nu"),
    "scale_by_radam": ("mu", "nu"),
    "scale_by_nadam": ("mu", "nu"),
    "scale_by_belief": ("mu", "nu"),
    "scale_by_yogi": ("mu", "nu"),
    "scale_by_adopt": ("mu", "nu"),
    "scale_by_ademamix": ("m1", "m2", "nu"),
}
FACTORIES = (
    *("adam", "adamw", "nadam", "nadamw", "amsgrad", "adamax", "adamaxw"),
    *("radam", "adabelief", "yogi", "lamb", "adopt", "ademamix"),
)


def bits(count: int, shape: tuple[int, ...]) -> jax.Array:
    return random_bits(jnp.uint32(count * 7919 + 1), shape)


def test_the_mean_is_exact_and_both_neighbours_appear() -> None:
    x = jnp.broadcast_to(jnp.float32([1.001, -3.3e-5, 0.7, 1e30, 2.0])[:, None], (5, 1 << 16))
    rounded = np.float64(round_at_random(x, bits(0, x.shape)))
    exact = np.float64(x[:, 0])
    low, high = rounded.min(axis=1), rounded.max(axis=1)
    assert np.all((low <= exact) & (exact <= high))
    error = (rounded.mean(axis=1) - exact) / np.where(high > low, high - low, 1)
    assert np.all(np.abs(error) < 4 * 0.5 / np.sqrt(1 << 16))
    assert low[4] == high[4] == 2.0


def test_special_numbers_stay_what_they_are() -> None:
    largest = float(jnp.finfo(jnp.float32).max)
    special = jnp.float32([0.0, -0.0, jnp.inf, -jnp.inf, jnp.nan, largest, -largest])
    for count in range(20):
        rounded = np.float32(round_at_random(special, bits(count, special.shape)))
        np.testing.assert_array_equal(rounded[:4], special[:4])
        assert np.isnan(rounded[4])
        assert np.isfinite(rounded[5:]).all()
        assert np.signbit(rounded[1])


@pytest.mark.parametrize("name", MEMBERS)
def test_every_core_stores_its_moments_in_16_bits(name: str) -> None:
    tx = getattr(adamx, name)(state_format="bfloat16")
    params = {"w": jnp.ones((3, 2))}
    state = tx.init(params)
    updates, after = tx.update(params, state, params)
    for field in MEMBERS[name]:
        assert getattr(state, field)["w"].dtype == jnp.bfloat16
        assert getattr(after, field)["w"].dtype == jnp.bfloat16
    assert updates["w"].dtype == jnp.float32


@pytest.mark.parametrize("name", FACTORIES)
def test_every_factory_passes_the_format_on(name: str) -> None:
    tx = getattr(adamx, name)(0.1, state_format="bfloat16")
    assert "state_format=bfloat16_format(seed=0)" in repr(tx)
    assert tx == getattr(adamx, name)(0.1, state_format=adamx.bfloat16_format())


def test_a_second_moment_does_not_stall() -> None:
    """Rounded to nearest, it stays where 0.1 % of it is less than half a digit."""
    grads = jnp.where(jnp.arange(4096) % 2, 1.0, 0.1)

    def train(tx: adamx.GradientTransformation) -> jax.Array:
        def step(
            state: adamx.ScaleByAdamState, t: jax.Array
        ) -> tuple[adamx.ScaleByAdamState, None]:
            g = jnp.where(t < 1000, jnp.ones(4096), grads)
            return tx.update(g, state)[1], None

        state, _ = jax.lax.scan(step, tx.init(grads), jnp.arange(4000))
        return jnp.sqrt(state.nu.astype(jnp.float32))[::2].mean()

    exact = float(train(adamx.scale_by_adam()))
    stochastic = float(train(adamx.scale_by_adam(state_format="bfloat16")))
    nearest = float(train(adamx.scale_by_adam(nu_dtype="bfloat16")))
    assert abs(exact - 0.202) < 0.001
    assert abs(stochastic / exact - 1) < 0.01
    assert nearest > 2 * exact


def test_resuming_repeats_the_bits_and_a_new_leaf_changes_none() -> None:
    tx = adamx.adam(0.1, state_format="bfloat16")
    params = {"w": jnp.linspace(-1.0, 1.0, 64)}

    def train(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
        state = tx.init(params)
        for _ in range(3):
            params, state = tx.step(params, state, params)
        return params

    once = train(params)
    np.testing.assert_array_equal(once["w"], train(params)["w"])
    np.testing.assert_array_equal(once["w"], train({"a": jnp.ones(3), **params})["w"])
    other = adamx.adam(0.1, state_format=adamx.bfloat16_format(seed=1))
    tx = other
    assert not np.array_equal(once["w"], train(params)["w"])


def test_wide_and_complex_moments_stay_as_they_are() -> None:
    state = adamx.scale_by_adam(state_format="bfloat16").init(jnp.zeros(2, jnp.complex64))
    assert (state.mu.dtype, state.nu.dtype) == (jnp.complex64, jnp.float32)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: adamx.adam(0.1, state_format="fp8"), ValueError, "one of 'bfloat16'.*got 'fp8'"),
        (lambda: adamx.adam(0.1, state_format=jnp.bfloat16), TypeError, "bfloat16_format()"),
        (
            lambda: adamx.adam(0.1, mu_dtype="bfloat16", state_format="bfloat16"),
            ValueError,
            "leave out `mu_dtype='bfloat16'`",
        ),
        (lambda: adamx.bfloat16_format(seed=-1), ValueError, "at least 0"),
        (lambda: adamx.bfloat16_format(seed=jnp.int32(1)), TypeError, "a whole number"),
    ],
)
def test_what_cannot_be_is_refused(make, kind, message) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_a_link_that_counts_nothing_is_refused() -> None:
    class Uncounted(adamx.Link):
        def state_type(self):
            return adamx.TraceState

        def slots(self):
            return (adamx.Slot("trace", format=adamx.bfloat16_format()),)

        def rule(self, s, u, p, trace):
            return u, trace + u

    tx, x = Uncounted(), jnp.ones(2)
    with pytest.raises(TypeError, match="give the state a field `count`"):
        tx.update(x, tx.init(x))
