"""Hyperparameters in the state, for loops that close over the transformation.

A change that is silently ignored, a step that is compiled again and a number out of its range are
what people lose days to; all three are refused here.
"""

import json
import pickle
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx.core import fields
from tests.contract.support import Compiled, precision

PARAMS = {"b": jnp.array([1.0, -2.0]), "w": jnp.array([[0.5, 3.0]])}
GRADS = {"b": jnp.array([0.3, 4.0]), "w": jnp.array([[-1.0, 0.2]])}
FALL = adamx.linear_schedule(0.4, 0.0, 8)


def full(learning_rate: Any = 0.1, b1: float = 0.9, weight_decay: float = 0.1) -> Any:
    return adamx.chain(
        adamx.clip_by_global_norm(1.0), adamx.adamw(learning_rate, b1, weight_decay=weight_decay)
    )


def train(tx: Any, steps: int = 3, state: Any = None, params: Any = PARAMS) -> Any:
    state = tx.init(params) if state is None else state
    for _ in range(steps):
        params, state = tx.step(GRADS, state, params)
    return params, state


@pytest.mark.parametrize(
    "tx",
    [
        full(),
        full(FALL),
        adamx.schedule_free_adamw(0.1, 2),
        adamx.apply_if_finite(full(FALL)),
        adamx.multi_steps(full(FALL), 2),
    ],
    ids=["numbers", "schedule", "schedule_free", "guarded", "accumulated"],
)
def test_nothing_else_changes(tx: Any) -> None:
    bare, _ = train(tx)
    injected, _ = train(adamx.inject_hyperparams(tx))
    chex.assert_trees_all_close(injected, bare, rtol=1e-5)


def test_a_change_takes_effect_at_the_next_step_without_a_new_trace() -> None:
    tx = adamx.inject_hyperparams(full())
    step = Compiled(tx.step)
    params, state = step(GRADS, tx.init(PARAMS), PARAMS)
    state = adamx.set_hyperparams(state, learning_rate=0.01, b1=0.5, weight_decay=0)
    after, _ = step(GRADS, state, params)
    assert step.traces == 1
    assert step.call._cache_size() <= 1

    expected, _ = full(0.01, 0.5, 0.0).step(GRADS, state.inner_state, params)
    chex.assert_trees_all_close(after, expected, rtol=1e-6)
    unchanged, _ = full().step(GRADS, state.inner_state, params)
    assert np.abs(unchanged["b"] - after["b"]).max() > 0.05


def test_a_loop_may_scan_and_change_between_scans() -> None:
    tx = adamx.inject_hyperparams(adamx.chain(adamx.scale_by_learning_rate(1.0)))

    @jax.jit
    def three_steps(params: Any, state: Any) -> Any:
        def body(carry: Any, _: Any) -> Any:
            params, state = carry
            return tx.step(jnp.ones(()), state, params), None

        return jax.lax.scan(body, (params, state), None, 3)[0]

    params, state = three_steps(jnp.array(10.0), tx.init(jnp.array(10.0)))
    params, state = three_steps(params, adamx.set_hyperparams(state, learning_rate=2.0))
    assert float(params) == 10.0 - 3 * 1.0 - 3 * 2.0
    assert state.count == 6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_hyperparameters_are_float32_whatever_the_parameters_are(dtype: str) -> None:
    params = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    tx = adamx.inject_hyperparams(full(FALL))
    state = tx.init(params)
    _, state = tx.step(params, adamx.set_hyperparams(state, b1=np.float64(0.5)), params)
    scalars = [*state.hyperparams.values(), *state.scheduled.values()]
    assert {(x.dtype.name, x.shape, x.weak_type) for x in scalars} == {("float32", (), False)}


def test_hyperparameters_are_float64_in_64_bit_mode() -> None:
    with precision("float64"):
        state = adamx.inject_hyperparams(full(FALL)).init(jnp.ones(2))
        state = adamx.set_hyperparams(state, b1=1 / 3)
        assert float(adamx.get_hyperparam(state, "b1")) == 1 / 3
        assert adamx.get_hyperparam(state, "learning_rate").dtype == "float64"


def names(tx: Any, *some: str) -> set[str]:
    state = adamx.inject_hyperparams(tx, some or None).init(PARAMS)
    return {*state.hyperparams, *state.scheduled}


def test_names() -> None:
    adam = {"b1", "b2", "eps", "eps_root"}
    assert names(full()) == adam | {"learning_rate", "weight_decay", "max_norm"}
    twice = adamx.chain(adamx.adam(0.1), adamx.adam(FALL), adamx.clip_by_global_norm(1.0))
    assert names(twice, "learning_rate", "max_norm") == {
        "0/1/learning_rate",
        "1/1/learning_rate",
        "max_norm",
    }
    assert names(twice, "0/1/learning_rate") == {"0/1/learning_rate"}
    named = adamx.named_chain(("a", adamx.scale(1.0)), ("b", adamx.scale(2.0)))
    assert names(named) == {"a/step_size", "b/step_size"}
    groups = adamx.multi_transform({"x": adamx.scale(1.0), "y": named}, {"b": "x", "w": "y"})
    assert names(groups) == {"x/step_size", "y/a/step_size", "y/b/step_size"}
    wrapped = adamx.masked(groups, True)
    assert names(wrapped) == {f"inner/{name}" for name in names(groups)}
    free = adamx.schedule_free(adamx.scale_by_learning_rate(0.1), 0.1)
    assert names(free, "learning_rate") == {
        "schedule_free/learning_rate",
        "base_optimizer/learning_rate",
    }
    by_path = adamx.chain(adamx.scale_by_path(("b", 0.5), ("w", FALL)), adamx.scale(1.0))
    assert names(by_path) == {"multipliers/0", "multipliers/1", "step_size"}


def test_numbers_that_only_init_reads_stay() -> None:
    """Setting one in the middle of a run would do nothing."""
    assert names(adamx.scale_by_yogi(0.9)) == {"b1", "b2", "eps", "eps_root"}


def test_whole_numbers_stay() -> None:
    scaled = adamx.dynamic_loss_scale(adamx.adam(0.1), growth_interval=7)
    assert not {"growth_interval", "initial_scale"} & names(scaled)


def test_a_choice_of_names_leaves_the_others_exact() -> None:
    tx = adamx.inject_hyperparams(full(), ["learning_rate"])
    state = tx.init(PARAMS)
    assert tx.current(state).links[1].links[0].b2 == 0.999
    with pytest.raises(ValueError, match="unknown hyperparameter 'b2'; known are 'learning_rate'"):
        adamx.set_hyperparams(state, b2=0.5)


@pytest.mark.parametrize("every", [1, 2])
def test_a_schedule_is_recorded_where_its_link_stands(every: int) -> None:
    """Also where the link is not run at every call."""
    tx = adamx.inject_hyperparams(adamx.multi_steps(full(FALL), every))
    params, state = PARAMS, tx.init(PARAMS)
    assert float(adamx.get_hyperparam(state, "learning_rate")) == pytest.approx(FALL(0))
    for t in range(5):
        params, state = tx.step(GRADS, state, params)
        used = FALL(t // every)
        assert float(adamx.get_hyperparam(state, "learning_rate")) == pytest.approx(used)


def test_schedule_free_counts_from_one() -> None:
    tx = adamx.inject_hyperparams(
        adamx.schedule_free(adamx.scale(-0.1), adamx.linear_schedule(0.0, 1.0, 4))
    )
    assert float(adamx.get_hyperparam(tx.init(PARAMS), "learning_rate")) == 0.25


def anywhere(tx: Any) -> dict[str, Any]:
    return {
        "alone": tx,
        "chain": adamx.chain(adamx.clip_by_global_norm(1.0), tx),
        "optax": optax.chain(optax.clip(1.0), optax.masked(tx, True)),
        "masked": adamx.masked(tx, {"b": True, "w": False}),
        "group": adamx.multi_transform({"x": tx, "y": adamx.freeze()}, {"b": "x", "w": "y"}),
        "guarded": adamx.apply_if_finite(adamx.multi_steps(tx, 2)),
        "injected": adamx.inject_hyperparams(adamx.chain(tx, adamx.scale(1.0))),
    }


def test_the_loss_reaches_what_is_inside() -> None:
    """A guard inside sees that it is not finite, in a step as in an update."""
    tx = adamx.inject_hyperparams(adamx.apply_if_finite(full()))
    state = tx.init(PARAMS)
    _, stepped = tx.step(GRADS, state, PARAMS, value=jnp.nan)
    _, updated = tx.update(GRADS, state, PARAMS, value=jnp.nan)
    for after in (stepped, updated):
        assert after.inner_state.skipped_steps == 1


PLACES = [*anywhere(adamx.identity())]


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found_anywhere(place: str) -> None:
    tx = anywhere(adamx.inject_hyperparams(adamx.adam(0.1)))[place]
    state = tx.init(PARAMS)
    changed = adamx.set_hyperparams(state, learning_rate=0.5, b1=0.3)
    assert float(adamx.get_hyperparam(changed, "learning_rate")) == 0.5
    assert float(adamx.get_hyperparam(state, "learning_rate")) == pytest.approx(0.1)
    chex.assert_trees_all_equal_shapes_and_dtypes(changed, state)
    assert jax.tree.structure(changed) == jax.tree.structure(state)
    _, after = tx.update(GRADS, changed, PARAMS)
    assert float(adamx.get_hyperparam(after, "b1")) == pytest.approx(0.3)


def test_setting_keeps_everything_else() -> None:
    _, state = train(adamx.inject_hyperparams(full()))
    changed = adamx.set_hyperparams(state, b1=0.5)
    back = adamx.set_hyperparams(changed, b1=float(state.hyperparams["b1"]))
    chex.assert_trees_all_equal(back, state)
    assert changed.inner_state[1][0].mu["b"] is state.inner_state[1][0].mu["b"]


def test_setting_under_jit_and_vmap() -> None:
    """One state per model: a scalar sets all of them, an array one each."""
    tx = adamx.inject_hyperparams(adamx.scale_by_learning_rate(0.1))
    states = jax.vmap(tx.init)(jnp.ones(3))

    def moved(states: Any) -> Any:
        return jax.vmap(tx.update)(jnp.ones(3), states)[0]

    for rates in (0.5, jnp.array([0.1, 0.2, 0.3])):
        changed = jax.jit(lambda s, r: adamx.set_hyperparams(s, learning_rate=r))(states, rates)
        chex.assert_trees_all_equal_shapes_and_dtypes(changed, states)
        np.testing.assert_allclose(moved(changed), -jnp.broadcast_to(rates, 3), rtol=1e-6)
    inside = jax.vmap(lambda s, r: adamx.set_hyperparams(s, learning_rate=r))
    np.testing.assert_allclose(moved(inside(states, jnp.arange(3.0))), [0.0, -1.0, -2.0])


def test_the_state_decides_where_the_transformation_is_an_argument() -> None:
    tx = adamx.inject_hyperparams(adamx.scale_by_learning_rate(0.1), ["learning_rate"])
    state = tx.init(1.0)
    other = tx.replace(inner=adamx.scale_by_learning_rate(0.2))
    assert float(jax.jit(lambda tx, s: tx.update(1.0, s)[0])(other, state)) == pytest.approx(-0.1)
    assert float(jax.jit(lambda tx: tx.update(1.0, tx.init(1.0))[0])(other)) == pytest.approx(-0.2)


def test_placement_is_kept() -> None:
    """A state that was put on a device stays there: otherwise the step is compiled again."""
    tx = adamx.inject_hyperparams(full())
    params, state = jax.device_put((PARAMS, tx.init(PARAMS)), jax.devices()[0])
    step = Compiled(tx.step)
    params, state = step(GRADS, state, params)
    changed = adamx.set_hyperparams(state, learning_rate=0.5)
    assert changed.hyperparams["learning_rate"].committed
    step(GRADS, changed, params)
    assert step.call._cache_size() <= 1


def test_no_buffer_is_shared() -> None:
    """A donated state takes its buffers along: not those of the transformation."""
    rate = jnp.array(0.1, jnp.float32)
    twice = adamx.chain(adamx.scale_by_learning_rate(rate), adamx.scale_by_learning_rate(rate))
    tx = adamx.inject_hyperparams(adamx.chain(twice, adamx.scale_by_schedule(lambda count: rate)))
    state = tx.init(jnp.ones(()))
    jax.jit(tx.update, donate_argnums=1)(jnp.ones(()), state)
    assert float(rate) == pytest.approx(0.1)


def test_a_number_written_into_the_dictionary_counts() -> None:
    """How optax users do it."""
    tx = adamx.inject_hyperparams(adamx.scale_by_learning_rate(0.1))
    state = tx.init(1.0)
    state.hyperparams["learning_rate"] = 0.5
    updates, after = jax.jit(tx.update)(1.0, state)
    assert float(updates) == -0.5
    chex.assert_trees_all_equal_shapes_and_dtypes(after, tx.init(1.0))
    assert not after.hyperparams["learning_rate"].weak_type
    assert (
        float(adamx.get_hyperparam(adamx.set_hyperparams(state, learning_rate=2), "learning_rate"))
        == 2.0
    )


def test_a_name_that_is_missing_or_unknown_in_the_dictionary_is_refused() -> None:
    tx = adamx.inject_hyperparams(full(FALL))
    state = tx.init(PARAMS)
    state.hyperparams["learning_rate"] = 0.5
    with pytest.raises(ValueError, match="`learning_rate` is scheduled and cannot be set"):
        tx.update(GRADS, state, PARAMS)
    del state.hyperparams["learning_rate"], state.hyperparams["b1"]
    with pytest.raises(ValueError, match="the hyperparameters in the state must be b1, b2, "):
        tx.update(GRADS, state, PARAMS)


def test_values_print_compare_and_travel() -> None:
    tx = adamx.inject_hyperparams(full(FALL), ["learning_rate", "b1"])
    for other in (
        eval(repr(tx), dict(vars(adamx))),
        pickle.loads(pickle.dumps(tx)),
        adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))),
    ):
        assert other == tx
        assert hash(other) == hash(tx)
    assert tx != adamx.inject_hyperparams(full(FALL))


def state_of(tx: Any) -> Any:
    return adamx.inject_hyperparams(tx).init(PARAMS)


RANGES = [
    ("learning_rate", -0.1, r"\[0, inf\)"),
    ("learning_rate", float("nan"), r"\[0, inf\)"),
    ("learning_rate", np.float64(-1.0), r"\[0, inf\)"),
    ("b1", 1.0, r"\[0, 1\)"),
    ("max_norm", -1, r"\[0, inf\)"),
    ("weight_decay", float("inf"), r"\[0, inf\)"),
]


@pytest.mark.parametrize(("name", "value", "interval"), RANGES, ids=str)
def test_a_number_out_of_range_is_refused(name: str, value: Any, interval: str) -> None:
    message = f"set_hyperparams: `{name}` must be in {interval}, got "
    with pytest.raises(ValueError, match=message):
        adamx.set_hyperparams(state_of(full()), **{name: value})


@pytest.mark.parametrize("place", ["0", "x/0/1"])
def test_the_range_is_known_under_any_place(place: str) -> None:
    inner: Any = adamx.chain(adamx.adam(0.1))
    groups = adamx.multi_transform({"x": inner, "y": adamx.adam(0.1)}, {"b": "x", "w": "y"})
    tx = groups if place[0] == "x" else adamx.chain(*[adamx.scale_by_learning_rate(0.1)] * 2)
    with pytest.raises(ValueError, match=r"`.*learning_rate` must be in \[0, inf\), got -1"):
        adamx.set_hyperparams(state_of(tx), **{f"{place}/learning_rate": -1.0})
    multipliers = state_of(adamx.scale_by_path(("b", 0.5)))
    with pytest.raises(ValueError, match=r"`multipliers/0.*must be in \[0, inf\), got -1"):
        adamx.set_hyperparams(multipliers, **{"multipliers/0": -1.0})


class Own(adamx.GradientTransformation):
    """Somebody's transformation, laxer with one number and stricter with another."""

    learning_rate: float = fields.number()
    own_rate: float = fields.number(fields.POSITIVE)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return updates, state


def test_ranges_of_other_transformations() -> None:
    own = state_of(Own(learning_rate=-1.0, own_rate=1.0))
    with pytest.raises(ValueError, match=r"`own_rate` must be in \(0, inf\), got 0.0"):
        adamx.set_hyperparams(own, own_rate=0.0)
    assert float(adamx.set_hyperparams(own, own_rate=2.0).hyperparams["own_rate"]) == 2.0
    with pytest.raises(ValueError, match=r"`learning_rate` must be in \[0, inf\), got -1.0"):
        adamx.set_hyperparams(state_of(full()), learning_rate=-1.0)


@pytest.mark.parametrize("value", ["0.1", True, None, FALL, 1j])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="set_hyperparams: `b1` must be a number"):
        adamx.set_hyperparams(state_of(full()), b1=value)


# The transformation, what is read and set, and what the error must say.
MISTAKES: dict[str, tuple[Any, str, str]] = {
    "unknown": (full(), "learning_rat", "unknown .*did you mean 'learning_rate'.* known are 'b1'"),
    "ambiguous": (
        adamx.chain(adamx.adam(0.1), adamx.adam(0.1)),
        "b1",
        "'b1' is ambiguous; say which: 0/0/b1, 1/0/b1",
    ),
    "in_two_states": (
        adamx.chain(
            adamx.scale(1.0), *[adamx.inject_hyperparams(adamx.adam(0.1)) for _ in range(2)]
        ),
        "b1",
        "'b1' is ambiguous: 2 parts of the state hold one; pass the part",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_named(kind: str) -> None:
    tx, name, message = MISTAKES[kind]
    state = state_of(tx)
    for owner, act in (
        ("get_hyperparam", lambda: adamx.get_hyperparam(state, name)),
        ("set_hyperparams", lambda: adamx.set_hyperparams(state, **{name: 0.5})),
    ):
        with pytest.raises(ValueError, match=f"(?s){owner}: .*{message}"):
            act()


def test_a_schedule_is_read_but_not_set() -> None:
    state = state_of(full(FALL))
    with pytest.raises(ValueError, match="set_hyperparams: `learning_rate` is scheduled"):
        adamx.set_hyperparams(state, learning_rate=0.1)


def test_a_state_without_hyperparameters_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"wrap the transformation: `inject_hyperparams\(tx\)`"):
        adamx.get_hyperparam(full().init(PARAMS), "b1")


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`b1` must be a scalar or have shape \(\), got .*\(2,\)"):
        adamx.set_hyperparams(state_of(full()), b1=jnp.full(2, 0.5))


def test_a_name_is_a_string() -> None:
    with pytest.raises(TypeError, match="get_hyperparam: `name` must be a string, got 3"):
        adamx.get_hyperparam(state_of(full()), 3)


def test_what_cannot_be_injected_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write inject_hyperparams\(adam\(...\)\), not"):
        adamx.inject_hyperparams(adamx.adam)
    with pytest.raises(ValueError, match=r": <optax\.[\w.]+\.chain> has no hyperparameters"):
        adamx.inject_hyperparams(optax.adam(0.1))
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'lr'; .*known are 'b1', "):
        adamx.inject_hyperparams(adamx.adam(0.1), ["lr"])
    with pytest.raises(TypeError, match="`names` must be names of hyperparameters or None"):
        adamx.inject_hyperparams(adamx.adam(0.1), [1])


def rate(tx: Any, state: Any) -> float:
    return float(adamx.get_learning_rate(state, tx))


@pytest.mark.parametrize("place", PLACES)
def test_the_learning_rate_is_read_without_wrapping(place: str) -> None:
    tx = anywhere(adamx.adam(FALL))[place]
    if place == "optax":
        with pytest.raises(TypeError, match="with an adamx transformation"):
            adamx.get_learning_rate(tx.init(PARAMS), tx)
        return
    _, state = train(tx, 4)
    assert rate(tx, state) == pytest.approx(FALL(2 if place == "guarded" else 4))
    traced = jax.jit(adamx.get_learning_rate)(state, tx)
    assert float(traced) == rate(tx, state)
    assert traced.dtype == "float32"


def test_the_learning_rate_is_what_was_set() -> None:
    tx = adamx.chain(adamx.scale(1.0), adamx.inject_hyperparams(adamx.adam(0.1)))
    state = tx.init(PARAMS)
    assert rate(tx, state) == pytest.approx(0.1)
    assert rate(tx, adamx.set_hyperparams(state, learning_rate=0.5)) == 0.5


def test_none_or_several_learning_rates_are_refused() -> None:
    groups = adamx.multi_transform({"x": full(), "y": full(FALL)}, {"b": "x", "w": "y"})
    state = groups.init(PARAMS)
    with pytest.raises(ValueError, match="found x/1/2/learning_rate, y/1/2/learning_rate; for one"):
        adamx.get_learning_rate(state, groups)
    assert rate(groups.transforms[1], state.inner_states["y"]) == pytest.approx(FALL(0))
    with pytest.raises(ValueError, match="found none"):
        adamx.get_learning_rate((), adamx.scale(1.0))


def test_the_learning_rate_of_another_state_is_refused() -> None:
    with pytest.raises(TypeError, match="the state has no step count"):
        adamx.get_learning_rate(full().init(PARAMS), full(FALL))
    groups = adamx.multi_transform({"x": full(FALL)}, "x")
    for tx in (full(FALL), groups, adamx.inject_hyperparams(full(FALL))):
        with pytest.raises(TypeError, match=r"state must be the .* that `init` returned"):
            adamx.get_learning_rate(adamx.scale(1.0).init(PARAMS), tx)
