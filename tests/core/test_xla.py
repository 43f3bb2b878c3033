"""What each trick for XLA prevents on a CPU: without it the program is another, larger one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import adamx
from adamx.core import norms, xla
from tests.versions import in_place

pytestmark = pytest.mark.cpu_program
N = 100_000


def like(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def program(f: Callable[..., Any], *arguments: Any, donate: Any = ()) -> Any:
    return jax.jit(lambda *x: f(*x), donate_argnums=donate).lower(*arguments).compile()


def temporaries(compiled: Any) -> int:
    size: int = compiled.memory_analysis().temp_size_in_bytes
    return size


def test_a_comparison_is_not_written_out_to_be_counted() -> None:
    both = program(lambda x: xla.count_both(x > 0, x <= 0), like(N))
    one = program(lambda x: jnp.sum(x > 0, dtype=jnp.float32), like(N))
    assert temporaries(both) < 1024 < N < temporaries(one)


@in_place
def test_the_squares_of_a_small_leaf_are_not_written_out() -> None:
    padded = program(lambda x: xla.sum_of_squares([x]), like(3000))
    plain = program(lambda x: jnp.sum(x * x), like(3000))
    assert temporaries(padded) < 1024 < 3000 < temporaries(plain)


def test_leaves_alike_are_summed_in_a_few_loops() -> None:
    leaves = [like(300)] * 48
    grouped = program(lambda *xs: norms.global_norm(xs), *leaves)
    one_by_one = program(lambda *xs: jnp.sqrt(sum(jnp.sum(x * x) for x in xs)), *leaves)
    assert 10 * grouped.as_text().count(" reduce(") < one_by_one.as_text().count(" reduce(")


def step(tx: adamx.GradientTransformation, params: Any, grads: Any) -> Any:
    state = jax.eval_shape(tx.init, params)
    return program(lambda p, s, g: tx.step(g, s, p), params, state, grads, donate=(0, 1))


@in_place
def test_a_second_reading_of_the_gradient_does_not_store_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tx = adamx.chain(adamx.clip(1.0, report=True), adamx.adam(1e-3))
    params = [like(N)] * 2
    assert temporaries(step(tx, params, params)) < 1024
    monkeypatch.setattr(xla, "apart", lambda x: x)
    assert temporaries(step(tx, params, params)) > 4 * N


@in_place
@pytest.mark.parametrize("outer", [lambda tx: tx, adamx.bfloat16_params])
def test_the_norm_of_a_bfloat16_gradient_does_not_store_it_in_float32(
    outer: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tx = outer(adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3)))
    params = [jax.ShapeDtypeStruct((N,), jnp.bfloat16)]
    assert temporaries(step(tx, params, params)) < 1024
    monkeypatch.setattr(xla, "apart", lambda x: x)
    assert temporaries(step(tx, params, params)) >= 4 * N


@in_place
def test_sums_that_several_read_are_formed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tx = adamx.chain(adamx.adaptive_grad_clip(0.1, report=True), adamx.adam(1e-3))
    params = [like(500, 200)] * 2
    assert temporaries(step(tx, params, params)) < 32_000
    monkeypatch.setattr(xla, "formed_once", lambda x: x)
    assert temporaries(step(tx, params, params)) > 4 * N


def test_rows_are_read_before_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    tx = adamx.sparse.ema_params(adamx.sparse.adam(0.1, "lazy"), 0.99)
    rows = adamx.SparseRows.tree_unflatten(
        (N, False), (jax.ShapeDtypeStruct((32,), jnp.int32), like(32, 2))
    )
    assert temporaries(step(tx, like(N, 2), rows)) < N
    monkeypatch.setattr(xla, "after_reading", lambda change, read: change)
    assert temporaries(step(tx, like(N, 2), rows)) > 4 * N
