"""A run begun with optax goes on in adamx, and the other way round, as if nothing had happened.

Live against the installed optax.  One library takes the first steps, the state moves, the other
takes the rest; the whole run must be the one that a single library makes.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adamx
from adamx.interop.optax import from_optax, to_optax
from tests.selection import one_in
from tests.versions import enable_x64

# b2 is 0.9: at 0.999 optax's `1 - b2**t` cancels, and by itself it is 6e-6 off.
FIRST, STEPS = 8, 16  # of three micro-batches two are gathered when the state moves
MASK = {"b": False, "w": True}
LABELS = {"b": "x", "w": "y"}


def parameters(seed: int = 0, dtype: str = "float32") -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.standard_normal(shape).astype(np.float32), dtype)
        for name, shape in {"b": (3,), "w": (2, 2)}.items()
    }


def rate(library: Any) -> Any:
    return library.linear_schedule(0.1, 0.01, 20)


def family(name: str, **hyper: Any) -> Callable[[Any], Any]:
    def make(library: Any) -> Any:
        function = getattr(library, name, None) or getattr(library.contrib, name)
        return function(**{"learning_rate": 0.1, "b2": 0.9, **hyper})

    return make


def injected(name: str, **hyper: Any) -> Callable[[Any], Any]:
    def make(library: Any) -> Any:
        scheduled = {"learning_rate": rate(library)} if "learning_rate" not in hyper else {}
        hyperparameters = {**scheduled, **hyper}
        if library is optax:
            return optax.inject_hyperparams(getattr(optax, name))(**hyperparameters)
        return adamx.inject_hyperparams(getattr(adamx, name)(**hyperparameters))

    return make


def multi_steps(every: int, mean: bool) -> Callable[[Any], Any]:
    def make(library: Any) -> Any:
        if library is adamx:
            return adamx.multi_steps(adamx.adam(0.1, b2=0.9), every, use_grad_mean=mean)
        steps = optax.MultiSteps(optax.adam(0.1, b2=0.9), every, use_grad_mean=mean)
        return steps.gradient_transformation()

    return make


def nested(library: Any) -> Any:
    """Adam states four wrappers deep."""
    groups = library.multi_transform(
        {
            "x": injected("adamw", b2=0.9, weight_decay=0.1)(library),
            "y": library.chain(library.trace(0.5), family("amsgrad")(library)),
        },
        LABELS,
    )
    inner = library.chain(library.clip_by_global_norm(1.0), groups)
    if library is adamx:
        return adamx.apply_if_finite(adamx.multi_steps(inner, 3))
    steps = optax.MultiSteps(inner, 3).gradient_transformation()
    return optax.apply_if_finite(steps, max_consecutive_errors=5)


RECIPES: dict[str, Callable[[Any], Any]] = {
    "adam": family("adam", learning_rate=0.05),
    "adam_b1_0": family("adam", b1=0.0, eps_root=1e-6),
    "adamw": family("adamw", weight_decay=0.1, mask=MASK),
    "amsgrad": family("amsgrad"),
    "nadam": family("nadam"),
    "nadamw": family("nadamw", weight_decay=0.1),
    "adamax": family("adamax"),
    "adamaxw": family("adamaxw", weight_decay=0.1),
    "radam": family("radam"),
    "adabelief": family("adabelief"),
    "yogi": family("yogi"),
    "lamb": family("lamb", weight_decay=0.1, mask=MASK),
    "adopt": family("adopt"),
    "ademamix": family("ademamix", b3=0.99),
    "schedule_free_adamw": family("schedule_free_adamw", warmup_steps=3, weight_decay=0.1),
    "scheduled": (
        lambda lib: lib.chain(
            lib.clip_by_global_norm(1.0),
            lib.scale_by_adam(b2=0.9),
            lib.add_decayed_weights(rate(lib), mask=MASK),
            lib.scale_by_learning_rate(rate(lib)),
        )
    ),
    "averages": (lambda lib: lib.chain(lib.ema(0.9), lib.trace(0.5), lib.scale(-0.1))),
    "masked": (lambda lib: lib.chain(lib.masked(lib.adam(0.1, b2=0.9), MASK), lib.scale(0.5))),
    "multi_transform": (
        lambda lib: lib.multi_transform(
            {"x": lib.adam(0.1, b2=0.9), "y": lib.adamw(rate(lib), b2=0.9, weight_decay=0.1)},
            LABELS,
        )
    ),
    "named_chain": (
        lambda lib: lib.named_chain(("core", lib.scale_by_adam(b2=0.9)), ("size", lib.scale(-0.1)))
    ),
    "multi_steps": multi_steps(3, mean=True),
    "multi_steps_sum": multi_steps(3, mean=False),
    "apply_if_finite": (
        lambda lib: lib.apply_if_finite(lib.adam(0.1, b2=0.9), max_consecutive_errors=5)
    ),
    "inject_scheduled": injected("adamw", b2=0.9, weight_decay=0.1),
    "inject_numbers": injected("adam", b2=0.9, learning_rate=0.1),
    "nested": nested,
    # The key moves, too; the noise itself is drawn otherwise.
    "add_noise": (
        lambda lib: lib.chain(lib.add_noise(0.0, 0.5, jax.random.key(3)), lib.adam(0.1, b2=0.9))
    ),
    "conditionally": (
        lambda lib: lib.conditionally_transform(lib.adam(0.1, b2=0.9), lambda step: step % 2 == 0)
    ),
}
every_recipe = pytest.mark.parametrize("name", RECIPES)


def gradients(name: str, dtype: str) -> list[Any]:
    grads = [parameters(seed, dtype) for seed in range(1, STEPS + 1)]
    if name == "apply_if_finite":
        for step in (3, FIRST - 1, FIRST):
            grads[step] = jax.tree.map(lambda g: g * jnp.nan, grads[step])
    return grads


@functools.cache
def compiled(library: Any, name: str, dtype: str) -> tuple[Any, Callable[..., Any]]:
    tx = RECIPES[name](library)

    @jax.jit
    def step(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return tx, step


Trajectory = list[dict[str, jax.Array]]


def go_on(
    library: Any, name: str, dtype: str, state: Any, trajectory: Trajectory, steps: int
) -> tuple[Any, Trajectory]:
    """So many steps more; `trajectory` begins with the initial parameters."""
    _, step = compiled(library, name, dtype)
    for g in gradients(name, dtype)[len(trajectory) - 1 :][:steps]:
        params, state = step(g, state, trajectory[-1])
        trajectory = [*trajectory, params]
    return state, trajectory


def begin(library: Any, name: str, dtype: str, steps: int) -> tuple[Any, Trajectory]:
    params = parameters(dtype=dtype)
    state = compiled(library, name, dtype)[0].init(params)
    return go_on(library, name, dtype, state, [params], steps)


def distance(first: Trajectory, second: Trajectory) -> float:
    """The largest difference; each element is measured by its start plus the path it travelled."""
    worst = 0.0
    for name in first[0]:
        a, b = (np.stack([np.asarray(p[name], np.float64) for p in t]) for t in (first, second))
        path = np.abs(np.diff(b, axis=0, prepend=b[:1])).cumsum(axis=0)
        worst = max(worst, (np.abs(a - b) / (np.abs(b[0]) + path)).max())
    return worst


@pytest.mark.parametrize(
    "dtype", one_in(2, ["float32", "float64"], "one case more of what a quicker test shows")
)
@pytest.mark.parametrize("name", one_in(2, RECIPES, "every recipe"))
def test_a_run_goes_on_there_and_back(name: str, dtype: str) -> None:
    """Within 2e-6 in float32.  In float64 the numbers are the same, except where a library forms
    scalars in float32 all the same; then it is no further off than the two are by themselves."""
    with enable_x64(dtype == "float64"):
        _, theirs = begin(optax, name, dtype, STEPS)
        _, ours = begin(adamx, name, dtype, STEPS)
        limit = 2e-6 if dtype == "float32" else max(1e-12, 1.5 * distance(ours, theirs))
        assert limit <= 2e-6

        (tx, _), (peer, _) = (compiled(library, name, dtype) for library in (adamx, optax))
        params = parameters(dtype=dtype)

        state, trajectory = begin(optax, name, dtype, FIRST)
        moved = from_optax(tx, state, params)
        assert jax.tree.structure(moved) == jax.tree.structure(tx.init(params))
        _, trajectory = go_on(adamx, name, dtype, moved, trajectory, STEPS)
        assert distance(trajectory, theirs) <= limit

        state, trajectory = begin(adamx, name, dtype, FIRST)
        back = to_optax(tx, state, peer.init(params))
        assert jax.tree.structure(back) == jax.tree.structure(peer.init(params))
        _, trajectory = go_on(optax, name, dtype, back, trajectory, STEPS)
        assert distance(trajectory, theirs) <= limit


def test_16_bit_moments_become_float32_exactly_and_come_back() -> None:
    """A departure: our moments of 16-bit parameters are float32."""
    params = parameters(dtype="bfloat16")
    peer, tx = optax.adam(0.1), adamx.adam(0.1)
    _, state = peer.update(params, peer.init(params))
    moved = from_optax(tx, state, params)
    for name in params:
        assert moved[0].nu[name].dtype == jnp.float32
        np.testing.assert_array_equal(moved[0].nu[name], state[0].nu[name].astype(jnp.float32))
    back = to_optax(tx, moved, peer.init(params))
    assert jax.tree.all(
        jax.tree.map(lambda a, b: a.dtype == b.dtype and (a == b).all(), back, state)
    )


def test_magnitudes_that_optax_keeps_complex_become_real_and_come_back() -> None:
    params = {"z": jnp.array([1.0 + 2.0j, -0.5j])}
    peer, tx = optax.adam(0.1), adamx.adam(0.1)
    _, state = peer.update(params, peer.init(params))
    assert state[0].nu["z"].dtype == jnp.complex64
    moved = from_optax(tx, state, params)
    assert moved[0].nu["z"].dtype == jnp.float32
    np.testing.assert_array_equal(moved[0].nu["z"], state[0].nu["z"].real)
    with pytest.raises(TypeError, match="nu/z is complex64, not real"):
        from_optax(tx, (state[0]._replace(nu={"z": params["z"]}), *state[1:]), params)
    back = to_optax(tx, moved, peer.init(params))
    np.testing.assert_array_equal(back[0].nu["z"], state[0].nu["z"])


def test_chains_may_be_nested_differently_and_parameters_in_other_containers() -> None:
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(0.1))
    peer = optax.chain(
        optax.chain(optax.clip_by_global_norm(1.0), optax.identity()),
        optax.scale_by_adam(),
        optax.masked(optax.add_decayed_weights(1e-4), MASK),
        optax.scale(-0.1),
    )
    _, state = peer.update(parameters(1), peer.init(parameters()), parameters())
    frozen = flax.core.freeze(parameters())
    moved = from_optax(tx, state, frozen)
    assert jax.tree.structure(moved) == jax.tree.structure(tx.init(frozen))
    np.testing.assert_array_equal(moved[1][0].mu["w"], state[1].mu["w"])
    back = to_optax(tx, moved, peer.init(parameters()))
    assert jax.tree.structure(back) == jax.tree.structure(state)


def test_the_moved_state_shares_no_memory_with_the_given_one() -> None:
    params = parameters()
    state = optax.adam(0.1).init(params)
    moved = from_optax(adamx.adam(0.1), state, params)
    pointers = [
        {x.unsafe_buffer_pointer() for x in jax.tree.leaves(tree)} for tree in (state, moved)
    ]
    assert not pointers[0] & pointers[1]


@pytest.mark.eight_devices
def test_moments_come_where_init_places_them() -> None:
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.ones((2, 2)), sharding)}
    peer = optax.adam(0.1)
    state = jax.tree.map(np.asarray, peer.init({"w": jnp.ones((2, 2))}))
    moved = from_optax(adamx.adam(0.1), state, params)
    assert moved[0].mu["w"].sharding.is_equivalent_to(sharding, 2)


def test_ignored_parts_stay_behind_or_start_afresh() -> None:
    params = parameters()
    peer = optax.apply_if_finite(optax.chain(optax.trace(0.5), optax.adam(0.1)), 3)
    _, state = peer.update(params, peer.init(params))
    tx = adamx.chain(adamx.adam(0.1), adamx.ema_params(0.9))
    ignore = ("ApplyIfFiniteState", "TraceState", "EmaParamsState")
    moved = from_optax(tx, state, params, ignore)
    assert int(moved[0][0].count) == 1
    np.testing.assert_array_equal(moved[1].ema["w"], params["w"])
    back = to_optax(tx, moved, peer.init(params), ignore)
    assert int(back.inner_state[1][0].count) == 1
    assert not back.inner_state[0].trace["w"].any()


def adam_state() -> Any:
    return optax.adam(0.1).init(parameters())


def with_adam(**changes: Any) -> Any:
    state = adam_state()
    return (state[0]._replace(**changes), *state[1:])


def skipping() -> Any:
    should_skip = functools.partial(optax.skip_large_updates, max_squared_norm=1.0)
    peer = optax.MultiSteps(optax.adam(0.1), 2, should_skip_update_fn=should_skip)
    return peer.init(parameters())


def out_of_step() -> Any:
    state = injected("adam")(optax).init(parameters())
    return state._replace(count=state.count + 1)


# What is given, for which transformation, the error, and what it must say.
WRONG: dict[str, tuple[Callable[[], Any], Any, type[Exception], str]] = {
    "missing_parameter": (
        lambda: with_adam(mu={"b": jnp.ones(3)}),
        adamx.adam(0.1),
        ValueError,
        r"mu has other leaves than asked for.\n  missing: w",
    ),
    "unexpected_parameter": (
        lambda: with_adam(nu={**parameters(), "x": jnp.ones(3)}),
        adamx.adam(0.1),
        ValueError,
        r"nu .*\n  unexpected: x",
    ),
    "shape": (
        lambda: with_adam(nu={**parameters(), "b": jnp.ones((3, 1))}),
        adamx.adam(0.1),
        ValueError,
        r"nu/b has shape \(3, 1\), but the leaf there has shape \(3,\)",
    ),
    "kind": (
        lambda: with_adam(mu={**parameters(), "b": jnp.ones(3, int)}),
        adamx.adam(0.1),
        TypeError,
        r"mu/b is int32, but the leaf there is float32",
    ),
    "too_large": (
        lambda: with_adam(count=np.asarray(2**40)),
        adamx.adam(0.1),
        ValueError,
        r"count holds numbers that int32 cannot hold",
    ),
    "other_optimizer": (
        lambda: optax.sgd(0.1, momentum=0.5).init(parameters()),
        adamx.adam(0.1),
        TypeError,
        r"TraceState\(trace\) at \[0\] would become ScaleByAdamState.*another optimizer",
    ),
    "belief": (
        lambda: optax.adabelief(0.1).init(parameters()),
        adamx.adam(0.1),
        TypeError,
        r"ScaleByBeliefState goes with scale_by_belief, but `tx` has scale_by_adam",
    ),
    "no_belief": (adam_state, adamx.adabelief(0.1), TypeError, r"but `tx` has scale_by_belief"),
    "amsgrad": (
        adam_state,
        adamx.amsgrad(0.1),
        TypeError,
        r"ScaleByAdamState.* would become ScaleByAmsgradState",
    ),
    "raw_maximum": (
        lambda: optax.amsgrad(0.1).init(parameters()),
        adamx.amsgrad(0.1, raw_maximum=True),
        ValueError,
        r"without `raw_maximum`",
    ),
    "eps_outside": (
        lambda: optax.adamax(0.1).init(parameters()),
        adamx.scale_by_adamax(eps_outside=True),
        ValueError,
        r"without `eps_outside`",
    ),
    "more_parts": (
        lambda: optax.chain(optax.ema(0.5), optax.adam(0.1)).init(parameters()),
        adamx.adam(0.1),
        ValueError,
        r"given:  EmaState\(count, ema\) at \[0\]; ScaleByAdamState.*\n  wanted: ScaleByAdamState",
    ),
    "nothing": (lambda: (), adamx.adam(0.1), ValueError, r"given:  nothing\n"),
    "an_array": (lambda: jnp.ones(3), adamx.adam(0.1), TypeError, r"has no counterpart"),
    "wrapper": (
        lambda: optax.apply_if_finite(optax.adam(0.1), 3).init(parameters()),
        adamx.adam(0.1),
        TypeError,
        r"ApplyIfFiniteState\(notfinite_count, .* would become ScaleByAdamState",
    ),
    "other_guard": (
        lambda: optax.apply_if_finite(optax.adam(0.1), 3).init(parameters()),
        adamx.skip_spikes(adamx.adam(0.1)),
        TypeError,
        r"goes with `apply_if_finite`",
    ),
    "labels": (
        lambda: optax.multi_transform({"x": optax.adam(0.1)}, "x").init(parameters()),
        adamx.multi_transform({"y": adamx.adam(0.1)}, "y"),
        ValueError,
        r"called \['x'\], not \['y'\]",
    ),
    "skip_state": (
        skipping,
        adamx.multi_steps(adamx.adam(0.1), 2),
        TypeError,
        r"`skip_state`, which `multi_steps` has not",
    ),
    "two_kinds_of_sums": (
        lambda: optax.MultiSteps(optax.adam(0.1), 2).init(parameters()),
        adamx.multi_steps(adamx.multi_steps(adamx.adam(0.1), 2), 2, use_grad_mean=False),
        ValueError,
        r"one `use_grad_mean`",
    ),
    "hyperparameters": (
        lambda: injected("adam")(optax).init(parameters()),
        adamx.inject_hyperparams(adamx.adamw(0.1)),
        ValueError,
        r"`hyperparams` has other leaves than asked for.\n  missing: weight_decay",
    ),
    "schedules": (
        lambda: injected("adam")(optax).init(parameters()),
        adamx.inject_hyperparams(adamx.adam(0.1)),
        ValueError,
        r"`hyperparams_states` .*\n  unexpected: learning_rate",
    ),
    "out_of_step": (
        out_of_step,
        injected("adam")(adamx),
        ValueError,
        r"the schedule of 'learning_rate' is at step 0, all at 1",
    ),
}


def test_a_float_that_does_not_fit_is_refused() -> None:
    """An infinite second moment is the end of a parameter; one that was infinite already stays."""
    params = jnp.ones(2)
    adam, rest = optax.adam(0.1).init(params)
    for nu, fits in ((np.full(2, 1e300), False), (np.full(2, np.inf), True)):
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="cannot hold"):
            from_optax(adamx.adam(0.1), (adam._replace(nu=nu), rest), params)


def test_words_are_reached_through_floats() -> None:
    params = jnp.ones(4096)
    with pytest.raises(TypeError, match=r"float32 moments, then `adamx.convert_state`"):
        from_optax(adamx.adam(0.1, state_format="pair"), optax.adam(0.1).init(params), params)


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_refused(kind: str) -> None:
    give, tx, error, message = WRONG[kind]
    with pytest.raises(error, match=message):
        from_optax(tx, give(), parameters())


def test_the_way_back_refuses_what_optax_has_not() -> None:
    params = parameters()
    guarded = adamx.skip_spikes(adamx.adam(0.1))
    with pytest.raises(TypeError, match="optax has no such guard"):
        to_optax(
            guarded, guarded.init(params), optax.apply_if_finite(optax.adam(0.1), 3).init(params)
        )
    averaged = adamx.chain(adamx.adam(0.1), adamx.ema_params(0.9))
    with pytest.raises(ValueError, match="EmaParamsState"):
        to_optax(averaged, averaged.init(params), adam_state())
    with pytest.raises(TypeError, match="but `tx` has scale_by_adam"):
        to_optax(adamx.adam(0.1), adam_state(), optax.adabelief(0.1).init(params))


def test_an_ignored_name_must_exist() -> None:
    with pytest.raises(ValueError, match=r"'Guard', but no part .* there are .*ScaleByAdamState"):
        from_optax(adamx.adam(0.1), adam_state(), parameters(), ignore=("Guard",))


def test_a_transformation_of_optax_is_used_as_a_link_instead() -> None:
    """It cannot be converted; in a chain of ours its own state fits."""
    params, tx = parameters(), adamx.chain(optax.scale_by_adam(), adamx.scale(-0.1))
    moved = from_optax(tx, adam_state(), params)
    assert type(moved[0]) is type(adam_state()[0])
