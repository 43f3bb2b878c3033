"""Trees without end, arrays that JAX has not, patterns that take for ever: errors of ours."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx.interop import export, keras, torch
from adamx.interop.optax import from_optax

PARAMS = {"w": jnp.ones(2)}
ADAM = adamx.adam(0.1)
IDENTITY = {"name": "identity"}


def deep(depth: int, leaf: Any, kind: str = "list") -> Any:
    """So many containers inside one another."""
    for _ in range(depth):
        leaf = [leaf] if kind == "list" else {"a": leaf}
    return leaf


TREES: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "freeze": lambda nest: adamx.freeze(nest(True)),
    "masked": lambda nest: adamx.masked(ADAM, nest(True)),
    "multi_transform": lambda nest: adamx.multi_transform({"a": ADAM}, nest("a")),
    "masked_init": lambda nest: adamx.masked(ADAM, adamx.mask_by_path("a")).init(nest(1.0)),
    "labelled_init": lambda nest: adamx.multi_transform({"a": ADAM}, lambda p: "a").init(nest(1.0)),
    "init": lambda nest: ADAM.init(nest(1.0)),
    "update": lambda nest: ADAM.update(nest(1.0), ADAM.init(PARAMS)),
    "step": lambda nest: adamx.chain(adamx.clip(1.0)).step(nest(1.0), ((),), nest(1.0)),
    "guarded": lambda nest: adamx.apply_if_finite(ADAM).update(nest(1.0), _guarded()),
    "apply_updates": lambda nest: adamx.apply_updates(nest(1.0), nest(1.0)),
    "global_norm": lambda nest: adamx.global_norm(nest(1.0)),
    "leaf_paths": lambda nest: adamx.leaf_paths(nest(1.0)),
    "eval_params": lambda nest: adamx.eval_params(nest(1.0), PARAMS),
    "eval_params_of": lambda nest: adamx.eval_params(_averaged(), nest(1.0)),
    "metrics": lambda nest: adamx.metrics(nest(1.0)),
    "flush": lambda nest: adamx.sparse.flush(nest(1.0), nest(1.0)),
    "from_config": lambda nest: adamx.from_config(nest(IDENTITY)),
    "from_config_mask": lambda nest: adamx.from_config(
        {"name": "freeze", "mask": {"tree": nest(True)}}
    ),
    "from_optax": lambda nest: from_optax(ADAM, nest(1.0), PARAMS),
    "to_flat": lambda nest: export.to_flat(nest(1.0)),
    "keras": lambda nest: keras.from_config({"class_name": "Adam", "config": nest(1.0)}),
    "keras_step": lambda nest: keras.apply_gradients(
        keras.Adam(), nest(1.0), keras.Adam().init(PARAMS), PARAMS
    ),
    "keras_minimize": lambda nest: keras.minimize(
        keras.Adam(), lambda p: 0.0, keras.Adam().init(PARAMS), nest(1.0)
    ),
    "label_by_path": lambda nest: adamx.label_by_path(("a", "b"))(nest(1.0)),
    "scale_by_path": lambda nest: adamx.scale_by_path(("a", 2.0)).init(nest(1.0)),
    "convert_state": lambda nest: adamx.convert_state(ADAM, ADAM, PARAMS, nest(1.0)),
    "convert_state_of": lambda nest: adamx.convert_state(ADAM, ADAM, nest(1.0), ADAM.init(PARAMS)),
    "make_step": lambda nest: adamx.make_step(lambda p: 0.0, ADAM)(nest(1.0), ADAM.init(PARAMS)),
    "make_step_state": lambda nest: adamx.make_step(lambda p: 0.0, ADAM)(PARAMS, nest(1.0)),
    "value_and_grad": lambda nest: adamx.sparse.value_and_grad(
        lambda p: 0.0, {"a": lambda: jnp.array([0])}
    )(nest(1.0)),
    "state_sharding": lambda nest: adamx.sharding.state_sharding(ADAM, nest(1.0)),
    "abstract_state": lambda nest: adamx.sharding.abstract_state(ADAM, nest(1.0)),
    "sharding.init": lambda nest: adamx.sharding.init(ADAM, nest(1.0)),
    "host_sharding": lambda nest: adamx.sharding.host_sharding(nest(1.0)),
    "placement_table": lambda nest: adamx.sharding.placement_table(nest(1.0)),
    "read_callables": lambda nest: adamx.read_callables(nest(ADAM)),
    "unitwise_norm": lambda nest: adamx.unitwise_norm(nest(1.0)),
    "to_state_dict": lambda nest: torch.to_state_dict(
        torch.Adam(), nest(1.0), {"state": {}, "param_groups": []}, PARAMS
    ),
}


def _guarded() -> Any:
    return adamx.apply_if_finite(ADAM).init(PARAMS)


def _averaged() -> Any:
    return adamx.ema_params(0.9).init(PARAMS)


@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("name", TREES)
def test_trees_without_end_are_refused(name: str, kind: str) -> None:
    """And nothing recursed on the way: JAX would not work any more afterwards."""
    with pytest.raises(ValueError, match="nested more than 256 levels deep"):
        TREES[name](functools.partial(deep, 10_000, kind=kind))
    ADAM.init(PARAMS)


def test_deep_trees_are_trained() -> None:
    params = deep(150, jnp.ones(2))
    _, state = ADAM.step(params, ADAM.init(params), params)
    assert int(state[0].count) == 1


def test_transformations_without_end_are_refused() -> None:
    def nested(depth: int) -> Any:
        return functools.reduce(lambda tx, _: adamx.chain(tx), range(depth), ADAM)

    with pytest.raises(ValueError, match=r"inside one another; write `chain\(\*links\)`"):
        nested(10_000)
    schedule = adamx.constant_schedule(0.1)
    with pytest.raises(ValueError, match="inside one another"):
        functools.reduce(lambda s, _: adamx.shift_schedule(s, 1), range(10_000), schedule)
    tx = nested(80)
    assert adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))) == tx
    jax.jit(tx.step)(PARAMS, tx.init(PARAMS), PARAMS)


LEAVES: dict[str, tuple[Any, str]] = {
    "longdouble": (np.ones(2, np.longdouble), r"float128|longdouble"),
    "clongdouble": (np.ones(2, np.clongdouble), r"complex256|clongdouble"),
    "big-endian": (np.ones(2, ">f4"), ">f4"),
    "big-endian integers": (np.ones(2, ">i4"), ">i4"),
    "float8": (jnp.ones(2, jnp.float8_e4m3fn), "float8_e4m3fn"),
    "masked": (np.ma.array([1.0, 2.0]), r"masked array of NumPy; write `x.filled\(0\)`"),
    "objects": (np.array([1.0, None]), "object"),
    "text": (np.array(["a"]), "<U1"),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
    "records": (np.zeros(2, [("a", "f4")]), "f4"),
    "string": ("abc", r"'abc' \(str\)"),
    "function": (jax.nn.relu, "relu"),
}
# A value of every kind of protocol that they reach.
USERS: dict[str, Any] = {
    "moments": adamx.adam(0.1),
    "no state": adamx.clip_by_global_norm(1.0),
    "rows": adamx.sparse.adam(0.1),
    "guard": adamx.apply_if_finite(adamx.scale(1.0)),
    "average": adamx.ema_params(0.9),
}
if np.dtype(np.longdouble) == np.float64:  # As on some machines.
    del LEAVES["longdouble"], LEAVES["clongdouble"]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("name", LEAVES)
def test_leaves_that_jax_has_not_are_named(name: str, user: str) -> None:
    leaf, said = LEAVES[name]
    tx = USERS[user]
    state, given = tx.init(PARAMS), {"w": leaf}
    for call in (
        lambda: tx.step(given, state, given),
        lambda: tx.update(given, state, given),
        lambda: adamx.global_norm(given),
    ):
        with pytest.raises(TypeError, match=rf"in the \w+ at \['w'\], expected arrays.*({said})"):
            call()


ONE, LONGER = jnp.ones(2), jnp.ones(3)
ENTRY = {"step": 1.0, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}


def _of_torch(**changes: Any) -> Any:
    state_dict = {"state": {0: {**ENTRY, **changes}}, "param_groups": [{"params": [0], "lr": 0.1}]}
    return torch.from_state_dict(torch.Adam(), state_dict, ONE)


# Errors about a tree that is one array, whose path is empty.
ALONE: dict[str, Callable[[], Any]] = {
    "apply_updates": lambda: adamx.apply_updates(ONE, LONGER),
    "step": lambda: ADAM.step(LONGER, ADAM.init(ONE), ONE),
    "mask": lambda: adamx.masked(ADAM, 2.5),  # type: ignore[arg-type]
    "labels": lambda: adamx.multi_transform({"a": ADAM}, {"w": "a"}).init(ONE),
    "pattern": lambda: adamx.mask_by_path("w")(ONE),
    "no pattern": lambda: adamx.label_by_path(("w", "a"))(ONE),
    "tables": lambda: adamx.sparse.adam(0.1, {"w": "lazy"}).init(ONE),
    "the mode of a table": lambda: adamx.sparse.adam(0.1, "lazy").step(
        ONE, adamx.sparse.adam(0.1, "exact").init(ONE), ONE
    ),
    "to_flat": lambda: export.to_flat("x"),
    "from_flat": lambda: export.from_flat(export.to_flat(ONE), LONGER),
    "from_flat, a name": lambda: export.from_flat({"w": np.ones(2)}, ONE),
    "torch, a number": _of_torch,
    "torch, a shape": lambda: _of_torch(exp_avg=np.ones(3)),
    "torch, a step": lambda: _of_torch(step=1.5),
    "torch, a key": lambda: _of_torch(max_exp_avg_sq=np.ones(2)),
    "torch, transposed": lambda: torch.from_state_dict(
        torch.Adam(), {"state": {}, "param_groups": [{"params": [0]}]}, ONE, transposed=True
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_single_array_is_called_the_whole_tree(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="<the whole tree>"):
        ALONE[name]()


@pytest.mark.parametrize(
    "leaf",
    [jnp.ones(2, jnp.int4), jax.random.key(0), np.ones(2, bool), None, np.ones(2, np.uint16)],
)
def test_other_leaves_stay_as_they_are(leaf: Any) -> None:
    params = {"w": jnp.ones(2), "n": leaf}
    after, _ = ADAM.step(params, ADAM.init(params), params)
    assert after["n"] is leaf


@pytest.mark.parametrize("dtype", [np.longdouble, "longdouble", ("f4", 2), [], "O", "complex64"])
def test_dtypes_that_moments_cannot_have(dtype: Any) -> None:
    if np.dtype(np.longdouble) == np.float64 and "long" in str(dtype):
        return
    with pytest.raises((TypeError, ValueError), match="`mu_dtype` must be a floating dtype"):
        adamx.adam(0.1, mu_dtype=dtype)


@pytest.mark.parametrize("count", [None, 3, 1.5, "x", True, np.float32(1), np.ma.array(3), object])
def test_counts_that_are_no_integer_arrays(count: Any) -> None:
    state = ADAM.init(PARAMS)
    with pytest.raises(TypeError, match="`count` of the state must be an integer array, got"):
        ADAM.update(PARAMS, (state[0]._replace(count=count), state[1]))


def test_a_count_of_numpy_is_one() -> None:
    state = ADAM.init(PARAMS)
    _, after = ADAM.update(PARAMS, (state[0]._replace(count=np.int64(3)), state[1]))
    assert (int(after[0].count), after[0].count.dtype) == (4, jnp.int32)


def test_a_typed_key_in_a_state_is_told_from_its_data() -> None:
    tx = adamx.add_noise(0.1, 0.5, 0)
    state = optax.add_noise(0.1, 0.5, jax.random.key(0)).init(PARAMS)
    with pytest.raises(TypeError, match=r"must be the data of a key, .*from_optax"):
        tx.update(PARAMS, state)
    tx.update(PARAMS, from_optax(tx, state, PARAMS))


@pytest.mark.parametrize(
    "number", [np.ma.array(0.1), np.ma.masked, np.array(0.1, ">f4"), jnp.float8_e5m2(0.1)]
)
def test_numbers_that_jax_has_not(number: Any) -> None:
    with pytest.raises(TypeError, match="`learning_rate` must be a number"):
        adamx.adam(number)


BAD_PATTERNS = [
    "(a+)+$",
    "(a|aa)+$",
    "(?:a*)*b",
    "(.*)*x",
    "(x+x+)+y",
    "((ab)*c)*",
    "(a{1,99}){9,}",
]
MANY_REPEATS = [".*.*.*.*.*x", "a*a*a*a*a*$", "(.+/.*)(.+/.*)x*"]
GOOD_PATTERNS = [
    r"(^|/)bias$",
    r"layers/\d+/.*kernel",
    r"(enc|dec)oder",
    r"(ab)+",
    r"[a-z]+\d{1,3}",
    r"block\d+/.*attn.*/.*bias",
]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        *((p, "without repeats or choices inside of a repeat") for p in BAD_PATTERNS),
        *((p, "at most 4 repeats without bound") for p in MANY_REPEATS),
    ],
)
def test_patterns_that_may_take_for_ever_are_refused(pattern: str, message: str) -> None:
    started = time.monotonic()
    for make in (
        lambda: adamx.mask_by_path(pattern),
        lambda: adamx.label_by_path((pattern, "x")),
        lambda: adamx.sparse.adam(0.1, {pattern: "lazy"}),
        lambda: adamx.from_config({"name": "mask_by_path", "patterns": [pattern]}),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize("pattern", GOOD_PATTERNS)
def test_patterns_as_people_write_them_are_taken(pattern: str) -> None:
    assert adamx.mask_by_path(pattern).patterns == (pattern,)


def test_patterns_have_a_length() -> None:
    with pytest.raises(ValueError, match="of at most 1000 letters"):
        adamx.mask_by_path("a" * 100_000)


ROWS = adamx.SparseRows(jnp.array([0]), jnp.ones((1, 2)), 3)
WRONG_ROWS: dict[str, Callable[[], Any]] = {
    "+": lambda: ROWS + "a",
    "*": lambda: ROWS * "a",
    "* None": lambda: ROWS * None,
    "astype": lambda: ROWS.astype("zz"),
    "concatenate": lambda: adamx.SparseRows.concatenate("ab"),  # type: ignore[arg-type]
    "replace": lambda: ROWS.replace(foo=1),
    "num_rows": lambda: ROWS.replace(num_rows="a"),
    "fraction": lambda: ROWS.replace(num_rows=2.5),
    "values": lambda: adamx.SparseRows(jnp.array([0]), "a", 3),  # type: ignore[arg-type]
    "indices": lambda: adamx.SparseRows("a", jnp.ones((1, 2)), 3),  # type: ignore[arg-type]
    "from_dense": lambda: adamx.SparseRows.from_dense("a", jnp.ones(2, bool)),  # type: ignore[arg-type]
    "from_bcoo": lambda: adamx.SparseRows.from_bcoo("a"),
    "from_segments": lambda: adamx.SparseRows.from_segments("a", "b", "c", 3),  # type: ignore[arg-type]
    "add_to": lambda: ROWS.add_to("a"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_sparse_rows_of_something_else(name: str) -> None:
    with pytest.raises(TypeError, match=r"^SparseRows"):
        WRONG_ROWS[name]()


@pytest.mark.full("a process of its own")
def test_the_process_works_on() -> None:
    code = """
import adamx, jax.numpy as jnp
deep = 1.0
for _ in range(10_000):
    deep = [deep]
try:
    adamx.adam(0.1).init(deep)
except ValueError:
    print(adamx.adam(0.1).init(jnp.ones(2))[0].count)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
