"""Random bits are unbiased, independent of each other, and the same on any number of devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from adamx.core.format import Place
from adamx.formats.bits import key_of, random_bits

SHAPE = (64, 1024)
NUMBER = SHAPE[0] * SHAPE[1]


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def draw(seed: int, count: Any, name: str, shape: tuple[int, ...] = SHAPE) -> jax.Array:
    key = key_of(seed, Place(jnp.asarray(count), name), jnp.zeros(shape))
    return random_bits(key, shape)


def uniform(bits: jax.Array) -> np.ndarray:
    return (np.asarray(bits, np.float64) + 0.5) / 2.0**32


def test_they_are_uniform() -> None:
    x = uniform(draw(0, 3, "mu['w']"))
    assert abs(x.mean() - 0.5) < 4 * np.sqrt(1 / 12 / NUMBER)
    assert abs(x.std() - np.sqrt(1 / 12)) < 0.005
    for shift in range(0, 32, 8):
        counts = np.bincount(
            ((np.asarray(draw(0, 3, "mu['w']")) >> shift) & 0xFF).ravel(), minlength=256
        )
        expected = NUMBER / 256
        chi2 = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi2 - 255) < 4 * np.sqrt(2 * 255), shift


def correlated(x: np.ndarray, y: np.ndarray) -> float:
    """In standard errors."""
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1] * np.sqrt(x.size))


@pytest.mark.parametrize("shift", [0, 16])
def test_nothing_is_correlated(shift: int) -> None:
    def low(*args: Any) -> np.ndarray:
        return ((np.asarray(draw(*args)) >> shift) & 0xFFFF).astype(np.float64)

    x = low(0, 3, "mu['w']")
    others = {
        "the next step": low(0, 4, "mu['w']"),
        "another leaf": low(0, 3, "mu['v']"),
        "another slot": low(0, 3, "nu['w']"),
        "another seed": low(1, 3, "mu['w']"),
    }
    for which, y in others.items():
        assert abs(correlated(x, y)) < 4, which
    assert abs(correlated(x[:, 1:], x[:, :-1])) < 4
    assert abs(correlated(x[1:], x[:-1])) < 4
    assert abs(correlated(x[:32], x[32:])) < 4


def test_the_mean_of_many_steps_is_that_of_independent_numbers() -> None:
    shape = (8, 128)
    steps = jax.vmap(lambda count: draw(0, count, "mu", shape))(jnp.arange(500))
    z = (uniform(steps).mean(axis=0) - 0.5) / np.sqrt(1 / 12 / 500)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 0.1
    assert np.abs(z).max() < 5


def test_a_leaf_of_every_rank_has_bits_of_its_own_elements() -> None:
    assert draw(0, 0, "w", ()).shape == ()
    flat = np.asarray(draw(0, 0, "w", (24,)))
    np.testing.assert_array_equal(np.asarray(draw(0, 0, "w", (2, 3, 4))).ravel(), flat)
    assert len(set(flat.tolist())) == 24


def test_shards_under_jit_draw_what_one_device_draws() -> None:
    mesh = jax.make_mesh((8,), ("data",))
    sharded = NamedSharding(mesh, PartitionSpec("data"))

    def make() -> jax.Array:
        return random_bits(key_of(0, Place(jnp.int32(2), "w"), jnp.zeros(SHAPE)), SHAPE)

    compiled = jax.jit(make, out_shardings=sharded).lower().compile()
    text = compiled.as_text()
    assert "all-gather" not in text
    assert "all-reduce" not in text
    np.testing.assert_array_equal(compiled(), jax.jit(make)())


@pytest.mark.parametrize("differs", [True, False])
def test_inside_shard_map_pieces_differ_and_copies_do_not(differs: bool) -> None:
    mesh = jax.make_mesh((8,), ("data",))
    spec = PartitionSpec("data") if differs else PartitionSpec()

    def bits(x: jax.Array) -> jax.Array:
        return random_bits(key_of(0, Place(jnp.int32(2), "w"), x), x.shape)

    mapped = jax.jit(jax.shard_map(bits, mesh=mesh, in_specs=spec, out_specs=spec))
    x = np.asarray(mapped(jnp.zeros((64, 4), device=NamedSharding(mesh, spec))))
    if not differs:
        np.testing.assert_array_equal(x, bits(jnp.zeros((64, 4))))
        return
    shards = x.reshape(8, 8, 4)
    assert len({shard.tobytes() for shard in shards}) == 8


@pytest.mark.parametrize("elements", [1, 5, 1024])
def test_no_array_has_the_bits_of_another_some_elements_later(elements: int) -> None:
    golden = 0x9E3779B9
    first = np.asarray(random_bits(jnp.uint32(12345), (4096,)))
    other = np.asarray(random_bits(jnp.uint32((12345 + elements * golden) % 2**32), (4096,)))
    assert np.mean(first[elements:] == other[:-elements]) < 0.01


def test_some_rows_have_the_bits_that_they_have_among_all() -> None:
    whole = random_bits(jnp.uint32(7), (64, 3, 5))
    rows = jnp.array([3, 63, 0])
    np.testing.assert_array_equal(random_bits(jnp.uint32(7), (3, 3, 5), rows), whole[rows])
