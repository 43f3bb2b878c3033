"""What a run logs: recorded inside the compiled step, collected from the state.

Logging must not change the training, the type of the state or the memory of the step.
"""

import functools
import json
import pickle
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import adamx
from tests.contract.support import Compiled, precision
from tests.versions import in_place

PARAMS = {"b": jnp.array([1.0, -2.0]), "w": jnp.array([[0.5, 3.0]])}
GRADS = {"b": jnp.array([0.3, 4.0]), "w": jnp.array([[-1.0, 0.2]])}
FALL = adamx.linear_schedule(0.4, 0.0, 8)
ALL = ("grad_norm", "update_norm", "param_norm", "update_ratio", "learning_rate", "value")
CHAIN = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(FALL, weight_decay=0.1))


def norm(tree: Any) -> float:
    leaves = [np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)]
    return float(np.linalg.norm(np.concatenate(leaves)))


def floats(recorded: Any) -> dict[str, float]:
    return {name: float(x) for name, x in recorded.items()}


def test_numbers_are_those_of_the_step() -> None:
    """Against NumPy in float64, from what the bare transformation does."""
    tx = adamx.record_metrics(CHAIN, *ALL)
    params, bare = PARAMS, CHAIN.init(PARAMS)
    state = tx.init(params)
    for t in range(3):
        grads = jax.tree.map(lambda g, t=t: g * (t + 1), GRADS)
        expected, bare = CHAIN.update(grads, bare, params)
        updates, state = tx.update(grads, state, params, value=2.5 - t)
        chex.assert_trees_all_equal(updates, expected)
        wanted = {
            "grad_norm": norm(grads),
            "update_norm": norm(updates),
            "param_norm": norm(params),
            "update_ratio": norm(updates) / norm(params),
            "learning_rate": 0.4 * (1 - t / 8),
            "value": 2.5 - t,
        }
        assert floats(adamx.metrics(state)) == pytest.approx(wanted, rel=1e-6)
        params = adamx.apply_updates(params, updates)
    chex.assert_trees_all_equal(state.inner_state, bare)


@pytest.mark.parametrize("names", [("grad_norm", "param_norm"), ("update_ratio",)])
def test_step_and_update_record_the_same(names: tuple[str, ...]) -> None:
    """Also around a guard, whose step is not its update and an addition."""
    tx = adamx.record_metrics(adamx.apply_if_finite(CHAIN), *names)
    state = tx.init(PARAMS)
    params, stepped = tx.step(GRADS, state, PARAMS)
    updates, updated = tx.update(GRADS, state, PARAMS)
    chex.assert_trees_all_close(stepped, updated, rtol=1e-6)
    chex.assert_trees_all_close(params, adamx.apply_updates(PARAMS, updates), rtol=1e-6)
    assert {*state.recorded} == {*stepped.recorded} == {*names}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_everything_is_float32_and_stays(dtype: str) -> None:
    with precision(dtype):
        params = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
        tx = adamx.record_metrics(CHAIN, *ALL)
        state = tx.init(params)
        _, after = tx.update(params, state, params, value=np.float64(1.0))
        kinds = {(x.dtype.name, x.shape, x.weak_type) for x in after.recorded.values()}
        assert kinds == {("float32", (), False)}
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        assert jax.tree.structure(after) == jax.tree.structure(state)


def test_half_precision_norms_neither_overflow_nor_round() -> None:
    tx = adamx.record_metrics(adamx.identity(), "grad_norm")
    grads = jnp.full(10_000, 300.0, jnp.float16)
    assert float(tx.update(grads, tx.init(grads))[1].recorded["grad_norm"]) == 30_000.0


def test_leaves_that_are_not_trained_do_not_count() -> None:
    params = {**PARAMS, "steps": jnp.arange(3), "none": None, "frozen": jnp.ones(2)}
    grads = {**GRADS, "steps": np.zeros(3, jax.dtypes.float0), "none": None, "frozen": None}
    tx = adamx.record_metrics(adamx.scale(-0.5), "grad_norm", "update_norm", "param_norm")
    _, state = tx.step(grads, tx.init(params), params)
    wanted = {
        "grad_norm": norm(GRADS),
        "update_norm": 0.5 * norm(GRADS),
        "param_norm": norm({**PARAMS, "frozen": np.ones(2)}),
    }
    assert floats(state.recorded) == pytest.approx(wanted)


def test_the_ratio_of_parameters_that_are_all_zero_is_zero() -> None:
    tx = adamx.record_metrics(adamx.identity(), "update_ratio")
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    for updates in (GRADS, zeros):
        assert float(tx.update(updates, tx.init(zeros), zeros)[1].recorded["update_ratio"]) == 0.0


def test_metrics_of_a_scan_are_those_of_the_loop() -> None:
    tx = adamx.record_metrics(CHAIN, *ALL)

    def body(carry: Any, scale: Any) -> Any:
        params, state = carry
        grads = jax.tree.map(lambda g: g * scale, GRADS)
        params, state = tx.step(grads, state, params, value=scale)
        return (params, state), adamx.metrics(state)

    carry = (PARAMS, tx.init(PARAMS))
    _, history = jax.lax.scan(body, carry, jnp.arange(1.0, 4.0))
    step = Compiled(body)
    for t in range(3):
        carry, now = step(carry, jnp.float32(t + 1))
        assert floats(now) == pytest.approx({k: float(v[t]) for k, v in history.items()}, rel=1e-5)
    assert step.traces == 1


def test_every_model_of_a_vmap_has_its_own() -> None:
    tx = adamx.record_metrics(CHAIN, "grad_norm", "update_ratio")
    scales = jnp.array([1.0, 2.0])
    params = jax.vmap(lambda s: jax.tree.map(lambda p: s * p, PARAMS))(scales)
    _, state = jax.vmap(tx.step)(params, jax.vmap(tx.init)(params), params)
    np.testing.assert_allclose(adamx.metrics(state)["grad_norm"], scales * norm(PARAMS), rtol=1e-6)


# Two ways of sharding the network along an axis.
def mapped_by_vmap(function: Any, *trees: Any) -> Any:
    shards = jax.tree.map(lambda x: jnp.stack(jnp.split(x, 2, axis=-1)), trees)
    out = jax.vmap(function, axis_name="shards")(*shards)
    return {name: x[0] for name, x in out.items()}


def mapped_by_shard_map(function: Any, *trees: Any) -> Any:
    """On two devices where there are two: the result must be known to be the same on both."""
    mesh = Mesh(np.array(jax.devices()[:2]), ("shards",))
    specs = {"b": P("shards"), "w": P(None, "shards")}
    mapped = jax.shard_map(function, mesh=mesh, in_specs=(specs,) * len(trees), out_specs=P())
    return jax.jit(mapped)(*trees)


@pytest.mark.parametrize("mapped", [mapped_by_vmap, mapped_by_shard_map])
def test_norms_over_an_axis_are_those_of_all_shards(mapped: Any) -> None:
    names = ("grad_norm", "update_norm", "param_norm", "update_ratio", "learning_rate")
    chain = adamx.chain(adamx.scale(2.0), adamx.scale_by_learning_rate(0.1))

    def measure(axis: Any, params: Any, grads: Any) -> Any:
        tx = adamx.record_metrics(chain, *names, axis_name=axis)
        return adamx.metrics(tx.update(grads, tx.init(params), params)[1])

    shards = mapped(functools.partial(measure, "shards"), PARAMS, GRADS)
    assert floats(shards) == pytest.approx(floats(measure(None, PARAMS, GRADS)), rel=1e-6)


def test_an_axis_that_is_not_there_is_named() -> None:
    tx = adamx.record_metrics(adamx.identity(), "grad_norm", axis_name="data")
    with pytest.raises((ValueError, NameError), match="data"):
        tx.update(GRADS, tx.init(PARAMS))


def test_several_learning_rates_are_recorded_by_their_places() -> None:
    groups = adamx.multi_transform(
        {"slow": adamx.adam(0.01), "fast": adamx.inject_hyperparams(adamx.adam(FALL))},
        {"b": "slow", "w": "fast"},
    )
    tx = adamx.record_metrics(adamx.chain(adamx.identity(), groups), "learning_rate", "grad_norm")
    state = tx.init(PARAMS)
    for used in (0.4, 0.35):
        _, state = tx.update(GRADS, state, PARAMS)
        wanted = {
            "1/slow/1/learning_rate": 0.01,
            "1/fast/1/learning_rate": used,
            "grad_norm": norm(GRADS),
        }
        assert floats(adamx.metrics(state)) == pytest.approx(wanted)


def test_the_learning_rate_that_was_set_is_recorded() -> None:
    tx = adamx.record_metrics(adamx.inject_hyperparams(adamx.adam(0.1)), "learning_rate")
    state = adamx.set_hyperparams(tx.init(PARAMS), learning_rate=0.5)
    _, state = tx.update(GRADS, state, PARAMS)
    assert float(adamx.metrics(state)["learning_rate"]) == 0.5


def test_the_recorded_loss_is_a_copy() -> None:
    """A donated state must not take the caller's loss along."""
    tx = adamx.record_metrics(adamx.scale(-1.0), "value")
    loss = jnp.array(3.0, jnp.float32)
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=loss)
    jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)(state)
    assert float(loss) == 3.0


@pytest.mark.parametrize("name", ["grad_norm", "update_norm"])
def test_the_loss_reaches_what_is_inside(name: str) -> None:
    """A guard inside sees that it is not finite, in a step as in an update."""
    tx = adamx.record_metrics(adamx.apply_if_finite(CHAIN), name)
    state = tx.init(PARAMS)
    _, stepped = tx.step(GRADS, state, PARAMS, value=jnp.nan)
    _, updated = tx.update(GRADS, state, PARAMS, value=jnp.nan)
    for after in (stepped, updated):
        assert adamx.metrics(after)["skipped_steps"] == 1


def temporary(tx: Any) -> int:
    """The bytes that a compiled, donated step needs besides its arguments and results."""
    leaf = {"kernel": jax.ShapeDtypeStruct((64, 256), jnp.float32)}
    params = {f"layer_{i}": leaf for i in range(4)}
    state = jax.eval_shape(tx.init, params)
    step = jax.jit(
        lambda params, state, grads: tx.step(grads, state, params, value=1.0),
        donate_argnums=(0, 1),
    )
    return int(step.lower(params, state, params).compile().memory_analysis().temp_size_in_bytes)


@in_place
def test_memory_is_what_the_documentation_says() -> None:
    leaf, all_leaves = 64 * 256 * 4, 4 * 64 * 256 * 4
    assert temporary(adamx.record_metrics(CHAIN, "grad_norm", "learning_rate", "value")) < 1024
    # A guard steps in place; asking for the gradient's norm does not take that away.
    guarded = adamx.apply_if_finite(CHAIN)
    assert temporary(adamx.record_metrics(guarded, "grad_norm")) < temporary(guarded) + 1024
    assert temporary(adamx.record_metrics(CHAIN, "param_norm")) < leaf + 1024
    assert temporary(adamx.record_metrics(CHAIN, "update_norm")) < all_leaves + leaf + 1024


class Report(NamedTuple):
    """The state of somebody else's transformation."""

    found: Any
    inside: Any

    def metrics(self) -> dict[str, Any]:
        return {"found": self.found}


def test_metrics_are_collected_from_everywhere() -> None:
    tx = adamx.record_metrics(
        adamx.apply_if_finite(
            adamx.multi_steps(
                adamx.chain(adamx.clip_by_global_norm(1.0, report=True), adamx.adam(0.1)), 2
            )
        ),
        "grad_norm",
    )
    state = tx.init(PARAMS)
    for _ in range(2):
        _, state = tx.update(GRADS, state, PARAMS)
    found = floats(adamx.metrics((state, {"theirs": Report(7, ())})))
    clip = {k: found.pop(k) for k in [*found] if k.startswith("clip_by_global_norm/")}
    assert clip["clip_by_global_norm/norm_before"] == pytest.approx(norm(GRADS))
    assert found == {
        "grad_norm": pytest.approx(norm(GRADS)),
        "skipped_steps": 0,
        "skipped_in_a_row": 0,
        "mini_step": 0,
        "gradient_step": 1,
        "found": 7,
    }


def test_equal_names_are_told_apart_by_their_paths() -> None:
    state = {"a": [Report(1, Report(2, ()))], "b": {"c": Report(3, None)}}
    assert adamx.metrics(state) == {"a/0/found": 1, "a/0/inside/found": 2, "b/c/found": 3}
    assert adamx.metrics(Report(1, Report(2, ()))) == {"found": 1, "inside/found": 2}
    assert adamx.metrics({"a": Report(1, ())}) == {"found": 1}
    assert adamx.metrics(adamx.adam(0.1).init(PARAMS)) == {}
    assert adamx.metrics(()) == {}


def test_values_print_compare_and_travel() -> None:
    tx = adamx.record_metrics(CHAIN, "grad_norm", "value", axis_name=("a", "b"))
    short = adamx.record_metrics(adamx.scale(1.0), "grad_norm")
    assert repr(short) == "record_metrics(scale(step_size=1.0), 'grad_norm')"
    for other in (
        eval(repr(tx), dict(vars(adamx))),
        pickle.loads(pickle.dumps(tx)),
        adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))),
    ):
        assert other == tx
        assert hash(other) == hash(tx)
    assert tx != adamx.record_metrics(CHAIN, "grad_norm", "value")


def update(*names: str, params: Any = PARAMS, **extra: Any) -> Any:
    def act() -> None:
        tx = adamx.record_metrics(adamx.scale(1.0), *names)
        tx.update(GRADS, tx.init(PARAMS), params, **extra)

    return act


# What is asked for, the error, and what it must say.
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown": (
        update("grad_nrom"),
        ValueError,
        "unknown metric 'grad_nrom'; did you mean 'grad_norm'.* known are 'grad_norm', 'upd",
    ),
    "nothing": (update(), ValueError, "say what to record: grad_norm, update_norm"),
    "no_string": (update(3), TypeError, r"`names` must be names of metrics \(strings\), got 3"),  # type: ignore[arg-type]
    "no_learning_rate": (update("learning_rate"), ValueError, "no 'learning_rate' to record"),
    "no_loss": (update("value"), ValueError, r"call `tx.update\(grads, state, params, value=loss"),
    "loss_of_a_batch": (update("value", value=jnp.ones(3)), ValueError, r"scalar .* \(3,\)"),
    "no_params": (update("param_norm", params=None), ValueError, "record_metrics reads the param"),
    "no_params_for_ratio": (update("update_ratio", params=None), ValueError, "reads the param"),
    "no_transformation": (lambda: adamx.record_metrics(1.0, "value"), TypeError, "`inner` must be"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", WRONG)
def test_mistakes_are_named(kind: str) -> None:
    act, error, message = WRONG[kind]
    with pytest.raises(error, match=message):
        act()
