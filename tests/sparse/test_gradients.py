"""`sparse.value_and_grad`: the gradient that `jax.grad` finds, in the rows that were read."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx import SparseRows

V, D = 12, 3
RNG = np.random.default_rng(0)
PARAMS = {
    "embed": {"tokens": jnp.asarray(RNG.normal(size=(V, D)), jnp.float32)},
    "positions": jnp.asarray(RNG.normal(size=(7, D)), jnp.float32),
    "w": jnp.asarray(RNG.normal(size=(D, 2)), jnp.float32),
}
TOKENS = jnp.array([[3, 7, 3, 11], [0, 3, 5, 0]])
PADDED = jnp.array([[3, 7, -1, -1], [0, V, 5, 2]])
TABLES = {"tokens": lambda tokens, *_: tokens}


def plain(params: Any, tokens: jax.Array) -> jax.Array:
    """A loss for arrays and lookups alike."""
    read = params["embed"]["tokens"][tokens]
    return jnp.mean(jnp.tanh(read @ params["w"]) ** 2)


def padded(params: Any, tokens: jax.Array) -> jax.Array:
    """The mean of each bag of tokens, whatever their number."""
    read = adamx.sparse.lookup(params["embed"]["tokens"], tokens)
    number = ((tokens >= 0) & (tokens < V)).sum(axis=1, keepdims=True)
    return jnp.sum(jnp.tanh(read.sum(axis=1) / number @ params["w"]))


def several(params: Any, tokens: jax.Array) -> jax.Array:
    """Three lookups of one table, one of them of ids that the loss itself computes."""
    table = params["embed"]["tokens"]
    return jnp.sum(table[tokens] * table[tokens[:, ::-1]]) + jnp.sum(table[tokens // 2] ** 3)


def vmapped(params: Any, tokens: jax.Array) -> jax.Array:
    def one(row: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(params["embed"]["tokens"][row] @ params["w"]))

    return jnp.mean(jax.vmap(one)(tokens))


def mapped_over_params(params: Any, tokens: jax.Array) -> jax.Array:
    return jnp.mean(jax.vmap(plain, in_axes=(None, 0))(params, tokens))


def scanned(params: Any, tokens: jax.Array) -> jax.Array:
    def body(h: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(h + params["embed"]["tokens"][t]), None

    step = jax.checkpoint(body)
    return jnp.sum(jax.lax.scan(step, jnp.zeros((2, D)), tokens.T)[0] @ params["w"])


def conditional(params: Any, tokens: jax.Array) -> jax.Array:
    return jax.lax.cond(
        tokens[0, 0] == 3, lambda p: plain(p, tokens), lambda p: 2 * plain(p, tokens), params
    )


def all_are_arguments(params: Any, tokens: jax.Array) -> jax.Array:
    """Parameters are the carry of a scan and arguments of compiled and checkpointed functions."""
    once = jax.checkpoint(jax.jit(plain))

    def body(params: Any, row: jax.Array) -> Any:
        return params, once(params, row)

    return jnp.sum(jax.lax.scan(body, params, tokens)[1])


def in_half(params: Any, tokens: jax.Array) -> jax.Array:
    """Floating leaves are cast, as mixed precision does, in a tree and one table by itself."""

    def cast(x: Any) -> Any:
        return x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x

    half = jax.tree.map(cast, params)
    table = params["embed"]["tokens"].astype(jnp.bfloat16)
    return (plain(half, tokens) + jnp.sum(table[tokens] ** 2)).astype(jnp.float32)


def with_scalar_ids(params: Any, tokens: jax.Array) -> jax.Array:
    return jnp.sum(params["embed"]["tokens"][tokens[0, 1]] ** 2) + jnp.sum(
        params["embed"]["tokens"][4] ** 2
    )


def assert_same(loss: Callable[..., Any], tables: Any, *batch: Any) -> Any:
    """Value and dense form of the gradients are those of `jax.value_and_grad`, also compiled."""
    wanted = jax.value_and_grad(loss)(PARAMS, *batch)
    run = adamx.sparse.value_and_grad(loss, tables)
    value, grads = jax.jit(run)(PARAMS, *batch)
    dense = jax.tree.map(
        lambda g: g.to_dense() if isinstance(g, SparseRows) else g,
        grads,
        is_leaf=lambda g: isinstance(g, SparseRows),
    )
    chex.assert_trees_all_close((value, dense), wanted, rtol=1e-5, atol=1e-6)
    return grads


@pytest.mark.parametrize(
    ("loss", "announced"),
    [
        (plain, lambda t: t),
        (several, lambda t: (t, t // 2)),
        (vmapped, lambda t: t),
        (mapped_over_params, lambda t: t),
        (scanned, lambda t: t),
        (conditional, lambda t: t),
        (all_are_arguments, lambda t: t),
        (with_scalar_ids, lambda t: {"some": t, "one": 4}),
        (plain, lambda t: jnp.arange(V)),
    ],
    ids=[
        "plain",
        "several",
        "vmap",
        "vmap_params",
        "scan",
        "cond",
        "arguments",
        "scalars",
        "more_than_read",
    ],
)
def test_the_gradient_is_that_of_jax(loss: Any, announced: Any) -> None:
    grads = assert_same(loss, {"tokens": announced}, TOKENS)
    rows = grads["embed"]["tokens"]
    assert isinstance(rows, SparseRows)
    assert rows.is_coalesced
    assert rows.shape == (V, D)
    assert (np.diff(rows.indices) > 0).all()
    assert isinstance(grads["w"], jax.Array)


def test_floating_leaves_can_be_cast() -> None:
    """Beyond id 256, which bfloat16 would round."""
    rows = jnp.asarray(RNG.normal(size=(1000, D)), jnp.float32)
    params, tokens = {**PARAMS, "embed": {"tokens": rows}}, jnp.array([[777, 778], [3, 999]])
    value, grads = adamx.sparse.value_and_grad(in_half, TABLES)(params, tokens)
    wanted, dense = jax.value_and_grad(in_half)(params, tokens)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(grads["w"], dense["w"], rtol=1e-2, atol=1e-4)
    rows, wanted = grads["embed"]["tokens"].to_dense(), dense["embed"]["tokens"]
    np.testing.assert_allclose(rows, wanted, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    "whole",
    [
        lambda p: jax.tree.map(lambda x: x.astype(jnp.bfloat16), p),
        lambda p: jax.tree.map(lambda x: 2 * x, p),
        lambda p: optax.tree.cast(p, jnp.bfloat16),
        lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p)),
        lambda p: sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(p)),
        lambda p: sum(jnp.sum(jnp.abs(x)) for x in jax.tree.leaves(p)),
        lambda p: optax.tree.norm(p),
        lambda p: optax.tree.norm(p, squared=True),
    ],
    ids=["cast", "scaled", "optax_cast", "power", "square", "abs", "norm", "squared_norm"],
)
def test_ids_are_never_computed_with(whole: Any, compiled: bool) -> None:
    """They are leaves beside the rows: nothing is rounded, nothing is added to a loss."""

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        made = whole(params)
        return plain(params, tokens) + (made if isinstance(made, jax.Array) else 0.0)

    run = adamx.sparse.value_and_grad(loss, TABLES)
    message = "row ids of a sparse.Lookup|abstract method"
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=message):
        (jax.jit(run) if compiled else run)(PARAMS, TOKENS)


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t + 1,
        lambda t: 1 - t,
        lambda t: t * 2.0,
        lambda t: jnp.ones(D) * t,
        lambda t: t / 2,
        lambda t: t**2,
        lambda t: t @ jnp.ones(D),
        lambda t: -t,
        lambda t: abs(t),
        lambda t: t == 0,
        lambda t: t < 0,
        lambda t: 1.0 if t else 0.0,
        lambda t: jnp.square(t),
        lambda t: t.astype(jnp.bfloat16) * 2,
    ],
)
def test_a_table_is_no_array(use: Any) -> None:
    run = adamx.sparse.value_and_grad(lambda p, _: jnp.sum(use(p["embed"]["tokens"])), TABLES)
    with pytest.raises(TypeError, match=r"shape \(12, 3\).*write table\[ids\]"):
        run(PARAMS, TOKENS)


def test_padding_reads_zeros_and_gets_no_gradient() -> None:
    grads = assert_same(padded, TABLES, PADDED)["embed"]["tokens"]
    touched = grads.to_dense().any(axis=1)
    assert touched.nonzero()[0].tolist() == [0, 2, 3, 5, 7]
    assert float(padded(PARAMS, PADDED)) == float(
        adamx.sparse.value_and_grad(padded, TABLES)(PARAMS, PADDED)[0]
    )


def test_several_tables() -> None:
    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        where = jnp.arange(tokens.shape[1])
        read = params["embed"]["tokens"][tokens] * params["positions"][where]
        return jnp.sum(read @ params["w"])

    tables = {"tokens": lambda t: t, "^positions": lambda t: jnp.arange(t.shape[1])}
    grads = assert_same(loss, tables, TOKENS)
    assert grads["positions"].indices.tolist() == [0, 1, 2, 3]


def test_output_weights_that_are_the_embeddings_have_a_dense_gradient() -> None:
    """Left out of `tables`; and `+` puts together what was found apart."""

    def tied(params: Any, tokens: jax.Array) -> jax.Array:
        table = params["embed"]["tokens"]
        return jnp.mean(jax.nn.logsumexp(jnp.tanh(table[tokens]) @ table.T, axis=-1))

    assert isinstance(assert_same(tied, {}, TOKENS)["embed"]["tokens"], jax.Array)
    for use in (lambda t: t.T, lambda t: jnp.ones((2, V)) @ t, jnp.sum, np.asarray, list):
        run = adamx.sparse.value_and_grad(lambda p, _, f=use: f(p["embed"]["tokens"]), TABLES)
        with pytest.raises((TypeError, AttributeError), match=r"shape \(12, 3\).*leave it out of"):
            run(PARAMS, TOKENS)

    def apart(params: Any, weights: jax.Array, tokens: jax.Array) -> jax.Array:
        read = params["embed"]["tokens"][tokens]
        return jnp.mean(jax.nn.logsumexp(jnp.tanh(read) @ weights.T, axis=-1))

    weights = PARAMS["embed"]["tokens"]
    run = adamx.sparse.value_and_grad(apart, {"tokens": lambda _, t: t})
    rows = run(PARAMS, weights, TOKENS)[1]["embed"]["tokens"]
    total = rows + jax.grad(apart, argnums=1)(PARAMS, weights, TOKENS)
    wanted = jax.grad(tied)(PARAMS, TOKENS)["embed"]["tokens"]
    np.testing.assert_allclose(total, wanted, rtol=1e-5, atol=1e-7)


def test_micro_batches_in_a_scan_keep_their_rows() -> None:
    run = adamx.sparse.value_and_grad(plain, TABLES)
    batches = jnp.stack([TOKENS, (TOKENS + 4) % V, TOKENS // 3])

    @jax.jit
    def total(params: Any) -> Any:
        _, (_, grads) = jax.lax.scan(lambda c, b: (c, run(params, b)), None, batches)
        return adamx.sparse.sum_micro_batches(grads)

    def whole(params: Any) -> jax.Array:
        return sum(plain(params, b) for b in batches)

    grads, wanted = total(PARAMS), jax.grad(whole)(PARAMS)
    rows = grads["embed"]["tokens"]
    assert rows.indices.shape == (3 * 8,)
    np.testing.assert_allclose(rows.to_dense(), wanted["embed"]["tokens"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(grads["w"], wanted["w"], rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match=r"indices of shape \(k, n\); got \(24,\)"):
        adamx.sparse.sum_micro_batches(grads)


def test_gradients_of_every_example() -> None:
    """`vmap` of the whole function: one stack of rows for each."""
    run = adamx.sparse.value_and_grad(plain, TABLES)
    _, grads = jax.jit(jax.vmap(run, in_axes=(None, 0)))(PARAMS, TOKENS)
    total = adamx.sparse.sum_micro_batches(grads)["embed"]["tokens"].to_dense()
    wanted = jax.grad(lambda p: sum(plain(p, t) for t in TOKENS))(PARAMS)["embed"]["tokens"]
    np.testing.assert_allclose(total, wanted, rtol=1e-5, atol=1e-7)


def test_auxiliary_results() -> None:
    def loss(params: Any, tokens: jax.Array, scale: float) -> Any:
        return scale * plain(params, tokens), {"seen": tokens.size}

    run = adamx.sparse.value_and_grad(loss, TABLES, has_aux=True)
    (value, aux), grads = run(PARAMS, TOKENS, 2.0)
    assert aux == {"seen": 8}
    np.testing.assert_allclose(value, 2 * plain(PARAMS, TOKENS), rtol=1e-6)
    wanted = 2 * jax.grad(plain)(PARAMS, TOKENS)["embed"]["tokens"]
    np.testing.assert_allclose(grads["embed"]["tokens"].to_dense(), wanted, rtol=1e-5, atol=1e-7)


def test_a_row_that_was_not_announced_is_not_a_number() -> None:
    run = adamx.sparse.value_and_grad(plain, {"tokens": lambda t: t[:1]})
    assert np.isnan(run(PARAMS, TOKENS)[0])
    nothing = adamx.sparse.value_and_grad(plain, {"tokens": lambda t: ()})
    assert np.isnan(nothing(PARAMS, TOKENS)[0])


def test_no_array_of_the_size_of_the_table_is_made() -> None:
    rows, ids = 200_000, jax.ShapeDtypeStruct((64,), jnp.int32)
    params = {"table": jax.ShapeDtypeStruct((rows, 4), jnp.float32)}
    run = adamx.sparse.value_and_grad(
        lambda p, i: jnp.sum(p["table"][i] ** 2), {"table": lambda i: i}
    )
    memory = jax.jit(run).lower(params, ids).compile().memory_analysis()
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes < 64 * 4 * 4 * 20


def test_rows_that_are_behind_are_read_as_they_are_by_now() -> None:
    """In mode `exact` the loss of every step is that of `dense`, at any time."""
    losses = {}
    for mode in ("dense", "exact"):
        tx = adamx.sparse.adamw(0.1, {"tokens": mode}, weight_decay=0.1)
        step = adamx.make_step(plain, tx, tables=TABLES, donate=False)
        params, state = PARAMS, tx.init(PARAMS)
        seen = []
        for t in range(12):
            params, state, loss = step(params, state, (TOKENS + 5 * t) % V)
            seen.append(loss)
        losses[mode] = np.array(seen)
    np.testing.assert_allclose(losses["exact"], losses["dense"], rtol=2e-5)
    tx = adamx.sparse.adamw(0.1, {"tokens": "exact"}, weight_decay=0.1)
    run, advance = jax.jit(adamx.sparse.value_and_grad(plain, TABLES)), jax.jit(tx.step)
    params, state = PARAMS, tx.init(PARAMS)
    for t in range(12):
        loss, grads = run(params, (TOKENS + 5 * t) % V)  # without `state=`
        params, state = advance(grads, state, params)
    assert abs(loss - losses["dense"][-1]) > 1e-3


@pytest.mark.parametrize("mode", ["dense", "lazy", "exact", "rowwise", "counted"])
def test_make_step_trains_tables(mode: str) -> None:
    """Clipped, guarded and scaled like any other model."""
    tx = adamx.dynamic_loss_scale(
        adamx.chain(adamx.clip_by_global_norm(1.0), adamx.sparse.adam(0.1, {"tokens": mode})), 8.0
    )
    step = adamx.make_step(plain, tx, tables=TABLES)
    params, state = jax.tree.map(jnp.copy, PARAMS), tx.init(PARAMS)
    params, state, first = step(params, state, TOKENS)
    for _ in range(30):
        params, state, loss = step(params, state, TOKENS)
    assert loss < 0.2 * first


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: adamx.sparse.value_and_grad(3, {}), TypeError, "must be a function, got 3"),
        (lambda: adamx.sparse.value_and_grad(plain, "tokens"), TypeError, "a dict from patterns"),
        (lambda: adamx.sparse.value_and_grad(plain, {"tokens": TOKENS}), TypeError, "functions of"),
        (lambda: adamx.sparse.value_and_grad(plain, {"(": id}), ValueError, "regular expression"),
        (
            lambda: adamx.sparse.value_and_grad(plain, {"token": id, "head": id})(PARAMS, TOKENS),
            ValueError,
            "'head' is found in none",
        ),
        (
            lambda: adamx.sparse.value_and_grad(plain, {"tokens": lambda t: t / 2})(PARAMS, TOKENS),
            TypeError,
            "ids of 'tokens' must be integers, got float32",
        ),
        (
            lambda: adamx.sparse.value_and_grad(plain, {"w|b": lambda t: t})(
                {**PARAMS, "w": jnp.arange(3)}, TOKENS
            ),
            TypeError,
            "a table of floating numbers",
        ),
        (
            lambda: adamx.sparse.value_and_grad(
                lambda p, t: jnp.sum(p["embed"]["tokens"][t / 1]), TABLES
            )(PARAMS, TOKENS),
            TypeError,
            "ids must be integers, got float32",
        ),
        (
            lambda: adamx.sparse.value_and_grad(
                lambda p, t: jnp.sum(p["embed"]["tokens"][:2]), TABLES
            )(PARAMS, TOKENS),
            TypeError,
            r"table\[ids\] with integers, got slice",
        ),
        (lambda: adamx.sparse.lookup(TOKENS, TOKENS / 2), TypeError, "integers, got float32"),
        (lambda: adamx.sparse.lookup("embed", TOKENS), TypeError, "`table` must be an array"),
        (lambda: adamx.sparse.lookup(jnp.ones(()), TOKENS), ValueError, "rows along its first"),
        (
            lambda: adamx.sparse.value_and_grad(plain, {"w": lambda: TOKENS})(PARAMS, TOKENS),
            TypeError,
            r"`tables\['w'\]` must be a function \(\*batch\) -> ids",
        ),
        (lambda: adamx.sparse.sum_micro_batches(jnp.ones(())), ValueError, "new first axis"),
        (lambda: adamx.sparse.sum_micro_batches("a"), TypeError, "sum_micro_batches: .* arrays"),
    ],
    ids=[
        "no_function",
        "no_dict",
        "ids_instead",
        "pattern",
        "unknown_path",
        "float_ids",
        "integer_table",
        "float_index",
        "slice",
        "lookup",
        "no_table",
        "number_for_table",
        "ids_of_nothing",
        "number_for_gradients",
        "no_gradients",
    ],
)
def test_what_does_not_fit_is_refused(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()
