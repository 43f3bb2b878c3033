"""Whatever the count is made of, the value is the same; it is never NaN and never wraps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from tests.schedules.cases import CASES, LARGEST_COUNT, SMALL, Case
from tests.selection import one_in
from tests.versions import enable_x64

STEP = 13

COUNTS = {
    "int": STEP,
    "numpy-int64": np.int64(STEP),
    "numpy-int32": np.int32(STEP),
    "numpy-uint8": np.uint8(STEP),
    "numpy-array": np.array(STEP),
    "int32": jnp.int32(STEP),
    "int8": jnp.int8(STEP),
    "uint8": jnp.uint8(STEP),
    "uint32": jnp.uint32(STEP),
    "float": float(STEP),
    "bfloat16": jnp.bfloat16(STEP),
}


# Boundaries that eight bits cannot hold, in every kind of integer arithmetic.
WIDE = [
    adamx.linear_schedule(1.0, 0.0, 1000),
    adamx.exponential_decay(1.0, 5, 0.5, staircase=True),
    adamx.piecewise_interpolate_schedule("cosine", 1.0, {10: 2.0, 400: 0.5}),
    adamx.polynomial_schedule(1.0, 0.0, 2.0, 6, cycle=True),
    adamx.cosine_restarts_schedule(1.0, 5),
    adamx.join_schedules(
        [adamx.constant_schedule(1.0), adamx.inverse_sqrt_schedule(0.0, 1.0, 9)], [300]
    ),
    adamx.shift_schedule(adamx.warmup_linear_decay_schedule(0.0, 1.0, 1000, 2000), -1000),
]


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS.keys())
def test_all_integers_are_one(count) -> None:
    together = jax.jit(lambda count: [schedule(count) for schedule in WIDE])
    for value, expected in zip(together(count), together(STEP), strict=True):
        assert value.shape == ()
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_unsigned_counts_do_not_wrap_below_a_boundary() -> None:
    schedule = adamx.linear_schedule(1.0, 0.0, 10, transition_begin=5)
    assert schedule(jnp.uint32(3)) == 1.0
    assert schedule(jnp.uint32(2**32 - 1)) == 0.0


def test_python_integers_saturate() -> None:
    schedule = adamx.piecewise_constant_schedule(1.0, {LARGEST_COUNT: 0.5})
    assert schedule(LARGEST_COUNT - 1) == 1.0
    assert schedule(2**31) == schedule(10**30) == schedule(np.int64(2**40)) == 0.5
    with enable_x64(True):
        far = adamx.piecewise_constant_schedule(1.0, {2**40: 0.5})
        assert [float(far(2**40 + d)) for d in (-1, 0)] == [1.0, 0.5]
        restarts = adamx.cosine_restarts_schedule(1.0, 2**20)
        start = 2**20 * (2**33 - 1)
        assert restarts(start) == 1.0
        assert restarts(start - 1) < 1e-6


@pytest.mark.parametrize("case", one_in(3, CASES, "every schedule"), ids=str)
def test_arrays_of_counts(case: Case) -> None:
    """As in optax, an array of counts needs no `vmap`; the largest count is one like any other."""
    schedule, counts = case.build(), np.append(case.counts, LARGEST_COUNT)
    together = jnp.broadcast_to(jax.jit(schedule)(counts), counts.shape)
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together, jax.jit(jax.vmap(schedule))(counts))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_dtype_never_changes(case: Case) -> None:
    """One strong dtype, so that a value can be carried through `lax.scan`."""
    value = jax.eval_shape(case.build(), jnp.int32(3))
    assert (value.shape, value.dtype, value.weak_type) == ((), np.float32, False)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_sixteen_bit_numbers_are_reckoned_in_float32(case: Case) -> None:
    floats_to_bfloat16 = jax.tree.map(
        lambda leaf: jnp.bfloat16(leaf) if isinstance(leaf, float) else leaf, case.build()
    )
    assert jax.eval_shape(floats_to_bfloat16, jnp.int32(3)).dtype == np.float32


@pytest.mark.parametrize("case", one_in(2, SMALL, "every schedule"), ids=str)
def test_gradients_of_the_numbers_are_finite(case: Case) -> None:
    """Also where a branch that is not taken divides by zero or takes the root of it."""
    schedule = case.build()
    leaves, structure = jax.tree.flatten(schedule)
    numbers = [leaf for leaf in leaves if isinstance(leaf, float)]

    @jax.jit
    @jax.vmap
    def gradient(count):
        def value(numbers):
            given = iter(numbers)
            filled = [next(given) if isinstance(leaf, float) else leaf for leaf in leaves]
            return structure.unflatten(filled)(count)

        return jax.grad(value)(numbers)

    counts = np.unique([case.start, *(b + d for b in case.boundaries for d in (-1, 0, 1))])
    for name, slope in enumerate(gradient(counts)):
        assert np.isfinite(slope).all(), (name, slope)


def test_steps_must_be_scalars() -> None:
    schedule = adamx.linear_schedule(1.0, 0.0, jnp.array([10, 20]))
    with pytest.raises(ValueError, match=r"must be a scalar, got shape \(2,\).*jax.vmap"):
        schedule(3)
    for_each = jax.vmap(lambda steps: adamx.linear_schedule(1.0, 0.0, steps)(5))
    np.testing.assert_allclose(for_each(jnp.array([10, 20])), [0.5, 0.75])
