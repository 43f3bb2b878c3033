"""bfloat16 parameters that learn: an update of less than their last digit is not lost."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import adamx
from adamx.formats.rest import join, split
from tests.versions import in_place

SIZE = 1 << 14
ALL_BITS = pytest.mark.parametrize("extra_bits", [0, 8, 16, 32])


def train(tx: adamx.GradientTransformation, params: Any, steps: int) -> Any:
    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        return tx.step(jnp.ones_like(params), state, params), None

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, steps)[0])(params)


def words(x: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf).view(np.uint16), x)


@ALL_BITS
def test_small_steps_arrive(extra_bits: int) -> None:
    ones = jnp.ones(SIZE, jnp.bfloat16)
    nearest, _ = train(adamx.adam(1e-4), ones, 100)
    learning, _ = train(adamx.bfloat16_params(adamx.adam(1e-4), extra_bits), ones, 100)
    assert learning.dtype == jnp.bfloat16
    assert np.all(np.float32(nearest) == 1.0)
    expected = 0.99 if extra_bits == 0 else float(jnp.asarray(0.99, jnp.bfloat16))
    assert abs(float(learning.astype(jnp.float32).mean()) - expected) < 2e-4


@ALL_BITS
def test_the_whole_recipe_sees_float32(extra_bits: int) -> None:
    recipe = adamx.chain(adamx.adamw(1e-4, weight_decay=1.0), adamx.ema_params(0.5))
    tx = adamx.bfloat16_params(recipe, extra_bits)
    params, state = train(tx, jnp.ones(SIZE, jnp.bfloat16), 50)
    wide, _ = train(adamx.adamw(1e-4, weight_decay=1.0), jnp.ones(8), 50)
    average = jax.tree.leaves(state.inner_state[1].ema)[0]
    assert average.dtype == jnp.float32
    own = state.float32_params(params)
    assert abs(float(own.mean()) - float(wide[0])) < 2e-4
    assert abs(float(average.mean()) - float(wide[0])) < 4e-4
    assert adamx.eval_params(state, params).dtype == jnp.bfloat16


@pytest.mark.parametrize("extra_bits", [16, 32])
def test_with_all_bits_it_is_float32(extra_bits: int) -> None:
    start = jnp.asarray(np.random.default_rng(0).normal(size=SIZE), jnp.bfloat16)
    for recipe, rtol in ((adamx.scale(-0.001), 0), (adamx.adamw(1e-2, weight_decay=0.1), 1e-5)):
        params, state = train(adamx.bfloat16_params(recipe, extra_bits), start, 30)
        wide, _ = train(recipe, start.astype(jnp.float32), 30)
        # XLA contracts products and sums of the longer recipe where it likes.
        np.testing.assert_allclose(state.float32_params(params), wide, rtol, atol=rtol / 100)


def test_eight_bits_are_float32_to_one_in_65536() -> None:
    start = jnp.asarray(np.random.default_rng(0).normal(size=SIZE), jnp.bfloat16)
    params, state = train(adamx.bfloat16_params(adamx.adam(1e-3), 8), start, 1)
    wide, _ = train(adamx.adam(1e-3), start.astype(jnp.float32), 1)
    error = np.abs(np.float64(state.float32_params(params)) - np.float64(wide))
    # The parameter stood for the middle of 1/65,536 of itself before, too.
    assert np.all(error <= 2.0**-16 * np.abs(np.float64(wide)) + 1e-30)


SPECIAL = np.float32([0.0, -0.0, 1.0, -1.5, 1e-40, -1e-45, 3.4e38, 1e30, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_number_in_two_parts_is_the_number(dtype: str) -> None:
    drawn = np.random.default_rng(1).integers(0, 1 << 32, 100_000, np.uint32).view(np.float32)
    exact = np.concatenate([SPECIAL, drawn])
    p, rest = split(jnp.asarray(exact), jnp.zeros(exact.shape, dtype))
    assert p.dtype == jnp.bfloat16
    assert rest.dtype == dtype
    back = np.asarray(join(p, rest))
    assert np.array_equal(np.isnan(back), np.isnan(exact))
    number = ~np.isnan(exact)
    if dtype == "uint8":
        apart = back[number].view(np.int32).astype(np.int64) - exact[number].view(np.int32)
        assert np.max(np.abs(apart)) <= 128
    else:
        np.testing.assert_array_equal(back[number].view(np.int32), exact[number].view(np.int32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_parameter_changed_from_outside_stands_for_itself(dtype: str) -> None:
    _, rest = split(jnp.linspace(-1.0, 1.0, 999), jnp.zeros(999, dtype))
    for value in (0.0, -0.0, 3.0, -1e-30, np.inf):
        changed = join(jnp.full(999, value, jnp.bfloat16), rest)
        assert not np.any(np.isnan(changed))
        if np.isfinite(value):
            np.testing.assert_allclose(
                changed, np.float32(jnp.asarray(value, jnp.bfloat16)), 2**-8, 1e-37
            )


@ALL_BITS
def test_parameters_in_other_dtypes_take_the_ordinary_step(extra_bits: int) -> None:
    params = {"count": jnp.arange(2), "none": None, "w": jnp.linspace(-1.0, 1.0, 8)}
    grads = {"count": None, "none": None, "w": params["w"]}
    inner = adamx.adamw(0.1)
    tx = adamx.bfloat16_params(inner, extra_bits)
    got, _ = tx.step(grads, tx.init(params), params)
    wanted, _ = inner.step(grads, inner.init(params), params)
    np.testing.assert_array_equal(got["w"], wanted["w"])
    np.testing.assert_array_equal(got["count"], params["count"])


@ALL_BITS
def test_the_loop_of_optax_writes_the_same_parameters(extra_bits: int) -> None:
    tx = adamx.bfloat16_params(adamx.adam(1e-3), extra_bits)
    params = jnp.asarray(np.random.default_rng(0).normal(size=SIZE), jnp.bfloat16)
    state = tx.init(params)
    updates, _ = tx.update(params, state, params)
    written, _ = tx.step(params, state, params)
    assert updates.dtype == jnp.float32
    large = np.abs(np.float32(params)) > 0.1
    np.testing.assert_array_equal(
        np.float32(optax.apply_updates(params, updates))[large], np.float32(written)[large]
    )


@in_place
@pytest.mark.parametrize(("extra_bits", "kept"), [(0, 4), (8, 5), (16, 6), (32, 8)])
def test_bytes_for_each_parameter_and_temporaries(extra_bits: int, kept: int) -> None:
    tx = adamx.bfloat16_params(adamx.adamw(1e-3, state_format="pair"), extra_bits)
    params = jax.ShapeDtypeStruct((1024, 1024), jnp.bfloat16)
    state = jax.eval_shape(tx.init, params)
    step = jax.jit(tx.step, donate_argnums=(1, 2), keep_unused=True)
    memory = step.lower(params, state, params).compile().memory_analysis()
    assert kept * params.size <= memory.alias_size_in_bytes < kept * params.size + 64
    if extra_bits == 0:
        assert memory.temp_size_in_bytes < (1024 if jax.default_backend() == "cpu" else 96 * 1024)


@pytest.mark.eight_devices
@pytest.mark.parametrize("extra_bits", [0, 16])
def test_eight_devices_write_the_parameters_of_one(extra_bits: int) -> None:
    mesh = jax.make_mesh((8,), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    tx = adamx.bfloat16_params(adamx.adam(1e-3, state_format="pair"), extra_bits)
    p = jnp.asarray(np.random.default_rng(0).normal(size=(128, 64)), jnp.bfloat16)
    one, _ = jax.jit(tx.step)(p, tx.init(p), p)
    shards = jax.device_put(p, rows)
    step = jax.jit(tx.step)
    state = adamx.sharding.init(tx, shards)
    many, after = step(shards, state, shards)
    text = step.lower(shards, state, shards).compile().as_text()
    assert "all-gather" not in text
    np.testing.assert_array_equal(np.float32(many), np.float32(one))
    if extra_bits:
        assert state.rest.sharding == rows
        assert after.rest.sharding.is_equivalent_to(rows, 2)


@ALL_BITS
def test_rows_of_a_table_are_written_as_the_table_is(extra_bits: int) -> None:
    table = jnp.asarray(np.random.default_rng(2).normal(size=(64, 8)), jnp.bfloat16)
    rows = adamx.SparseRows(jnp.array([3, 60, 3, -1]), jnp.ones((4, 8), jnp.float32), 64)
    tx = adamx.bfloat16_params(adamx.chain(adamx.scale(-1e-3)), extra_bits)
    state = tx.init(table)
    sparse, after = tx.step(rows, state, table)
    dense, wanted = tx.step(rows.to_dense(), state, table)
    touched = np.array([3, 60])
    np.testing.assert_array_equal(words(sparse)[touched], words(dense)[touched])
    others = np.delete(np.arange(64), touched)
    np.testing.assert_array_equal(words(sparse)[others], words(table)[others])
    if extra_bits:
        np.testing.assert_array_equal(after.rest[touched], wanted.rest[touched])


@ALL_BITS
def test_a_skipped_step_leaves_every_bit(extra_bits: int) -> None:
    recipe = adamx.bfloat16_params(adamx.adam(1e-3, state_format="pair"), extra_bits)
    tx = adamx.apply_if_finite(recipe)
    params = jnp.ones((64, 64), jnp.bfloat16)
    params, state = tx.step(params, tx.init(params), params)
    after, skipped = tx.step(params.at[0].set(jnp.nan), state, params)
    same = jax.tree.map(np.array_equal, (params, state.inner_state), (after, skipped.inner_state))
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adamx.bfloat16_params(adamx.adam(0.1), 4), ValueError, "0, 8, 16, 32"),
        (lambda: adamx.bfloat16_params(adamx.adam(0.1), seed=-1), ValueError, "seed"),
        (
            lambda: adamx.bfloat16_params(adamx.adam(0.1)).init({"w": jnp.ones(2, jnp.float16)}),
            TypeError,
            r"\['w'\] is float16.*astype\(jnp.bfloat16\)",
        ),
        (
            lambda: adamx.bfloat16_params(adamx.sparse.adam(0.1, "exact")),
            ValueError,
            "exact",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


CHANGING = {
    "a link behind": lambda tx: adamx.chain(tx, adamx.scale(0.5)),
    "decay behind a guard": lambda tx: adamx.chain(
        adamx.apply_if_finite(tx), adamx.add_decayed_weights(1e-4)
    ),
    "another library's link behind": lambda tx: adamx.chain(tx, optax.scale(0.5)),
    "cautious": lambda tx: adamx.cautious(tx, flip_sign=True),
    "schedule_free": lambda tx: adamx.schedule_free(tx, 1e-4),
    "itself": adamx.bfloat16_params,
}


@pytest.mark.parametrize("name", CHANGING)
def test_nothing_changes_what_was_rounded(name: str) -> None:
    """Half of an update that leads from one bfloat16 to the next leads nowhere."""
    tx = adamx.bfloat16_params(adamx.adam(1e-4), 16)
    with pytest.raises(ValueError, match=r"changes the updates of .* which has rounded .* inside"):
        CHANGING[name](tx)
    adamx.chain(adamx.clip(1.0), tx, adamx.ema_params(0.9))  # Nor do these.


def test_a_state_of_other_bits_is_refused() -> None:
    params = {"w": jnp.ones(4, jnp.bfloat16)}
    state = adamx.bfloat16_params(adamx.adam(0.1), 16).init(params)
    with pytest.raises((TypeError, ValueError), match="`rest` of the state"):
        adamx.bfloat16_params(adamx.adam(0.1), 8).step(params, state, params)
    with pytest.raises((TypeError, ValueError), match="`rest` of the state"):
        adamx.bfloat16_params(adamx.adam(0.1)).step(params, state, params)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "tx", [adamx.adamw(1e-3), adamx.apply_if_finite(adamx.radam(0.1)), adamx.sparse.adam(0.1)]
)
def test_16_bits_without_it_warn_with_the_words_to_write(tx: Any, dtype: str) -> None:
    with pytest.warns(UserWarning, match=rf"\['w'\] is {dtype}.*adamx.bfloat16_params"):
        tx.init({"b": jnp.ones(2), "w": jnp.ones(2, dtype)})


def test_with_it_nothing_warns(recwarn: pytest.WarningsRecorder) -> None:
    adamx.bfloat16_params(adamx.adamw(1e-3)).init({"w": jnp.ones(2, jnp.bfloat16)})
    adamx.adamw(1e-3).init({"w": jnp.ones(2), "n": jnp.arange(2)})
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


@ALL_BITS
def test_what_is_read_outlives_the_next_step(extra_bits: int) -> None:
    tx = adamx.bfloat16_params(adamx.adam(0.1), extra_bits)
    params = {"narrow": jnp.ones(4, jnp.bfloat16), "wide": jnp.ones(4)}
    state = tx.init(params)
    read = state.float32_params(params)
    step = jax.jit(lambda p, s, g: tx.step(g, s, p), donate_argnums=(0, 1))
    step(params, state, {"narrow": jnp.ones(4), "wide": jnp.ones(4)})
    for leaf in read.values():
        np.testing.assert_array_equal(leaf, np.ones(4, np.float32))
