"""Different recipes for different parameters.

A group's transformation must see its own parameters and `None`, and nothing else must ever leak
into a user's trees.  A pattern or a label that selects nothing is a mistake, and is said to be.
"""

import functools
import json
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adamx
from adamx import GradientTransformation
from tests.versions import in_place


class Layer(NamedTuple):
    kernel: Any
    bias: Any


def network(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)

    def layer() -> Layer:
        return Layer(jnp.asarray(rng.normal(size=(2, 3)), jnp.float32), jnp.float32(rng.normal()))

    return {"embed": jnp.asarray(rng.normal(size=4), jnp.float32), "layers": [layer(), layer()]}


# The labels of every leaf of the network, written in each way that is allowed.
LABELS = {"embed": "slow", "layers": [Layer("fast", "rest"), Layer("fast", "rest")]}
BY_PATH = adamx.label_by_path(("embed", "slow"), (r"layers/\d/kernel$", "fast"), default="rest")


def by_shape(params: Any) -> Any:
    return jax.tree.map(lambda p: ["rest", "slow", "fast"][jnp.ndim(p)], params)


def train(tx: Any, steps: int = 4, apply: Any = adamx.apply_updates, **extra: Any) -> Any:
    params = network()
    state = tx.init(params)
    for t in range(steps):
        updates, state = tx.update(network(t + 1), state, params, **extra)
        params = apply(params, updates)
    return params


def members(library: Any) -> dict[str, Any]:
    """Momentum, a norm over the group, and weight decay: all that a group can get wrong."""
    clip = library.clip_by_global_norm(0.5)
    return {
        "slow": library.adam(0.1),
        "fast": library.chain(clip, library.adam(0.2, b1=0.5)),
        "rest": library.adamw(0.3, weight_decay=0.1),
    }


@pytest.mark.parametrize("labels", [LABELS, BY_PATH, by_shape], ids=["tree", "path", "function"])
def test_multi_transform_is_that_of_optax(labels: Any) -> None:
    ours = train(adamx.multi_transform(members(adamx), labels))
    theirs = train(optax.multi_transform(members(optax), LABELS), apply=optax.apply_updates)
    chex.assert_trees_all_close(ours, theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("labels", [LABELS, BY_PATH], ids=["tree", "path"])
def test_transformations_of_optax_are_members(labels: Any) -> None:
    mixed = {**members(adamx), "fast": members(optax)["fast"], "rest": members(optax)["rest"]}
    chex.assert_trees_all_close(
        train(adamx.multi_transform(mixed, labels)),
        train(adamx.multi_transform(members(adamx), labels)),
        rtol=2e-5,
        atol=1e-6,
    )


def test_multi_transform_is_a_member_of_optax() -> None:
    tx = adamx.multi_transform(members(adamx), BY_PATH)
    wrapped = optax.chain(optax.clip(0.1), optax.with_extra_args_support(tx))
    ours = adamx.chain(optax.clip(0.1), tx)
    chex.assert_trees_all_close(train(wrapped), train(ours), rtol=1e-6)


@pytest.mark.parametrize(
    "mask",
    [
        {"embed": False, "layers": [Layer(True, False), Layer(True, False)]},
        {"embed": False, "layers": True},
        lambda p: jax.tree.map(lambda x: jnp.ndim(x) == 2, p),
    ],
    ids=["tree", "prefix", "function"],
)
def test_masked_is_that_of_optax(mask: Any) -> None:
    ours = train(adamx.chain(adamx.masked(adamx.adam(0.1), mask), adamx.scale(0.1)))
    theirs = train(optax.chain(optax.masked(optax.adam(0.1), mask), optax.scale(0.1)))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_mask_by_path_is_a_mask() -> None:
    by_path = adamx.masked(adamx.adam(0.1), adamx.mask_by_path("kernel"))
    by_hand = adamx.masked(adamx.adam(0.1), {"embed": False, "layers": [Layer(True, False)] * 2})
    chex.assert_trees_all_equal(train(by_path), train(by_hand))


BOUNDS = {"x": 0.5, "y": 1.0, "z": 2.0}
LEAVES = st.recursive(
    st.just(0),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)


@settings(deadline=None, max_examples=30)
@given(st.data(), LEAVES)
def test_a_group_is_what_its_leaves_alone_would_be(data: Any, tree: Any) -> None:
    """Whatever the tree and the labels: one clipped step, against NumPy in float64."""
    leaves, structure = jax.tree.flatten(tree)
    labels = data.draw(st.lists(st.sampled_from("xyz"), min_size=len(leaves), max_size=len(leaves)))
    grads = np.random.default_rng(len(leaves)).normal(size=(len(leaves), 2))
    bounds = {label: BOUNDS[label] for label in {*labels}}
    tx = adamx.multi_transform(
        {label: adamx.clip_by_global_norm(bound) for label, bound in bounds.items()},
        structure.unflatten(labels),
    )
    given_grads = structure.unflatten([*jnp.asarray(grads, jnp.float32)])
    clipped, _ = tx.update(given_grads, tx.init(given_grads))
    for label, bound in bounds.items():
        own = np.array([label == other for other in labels])
        expected = grads[own] * min(1.0, bound / np.linalg.norm(grads[own]))
        got = [g for g, mine in zip(jax.tree.leaves(clipped), own, strict=True) if mine]
        np.testing.assert_allclose(got, expected, rtol=1e-5)


class Spy(GradientTransformation):
    """Keeps what it is given."""

    seen: Any = adamx.core.fields.static(lambda where, value: value)

    def init(self, params: Any) -> Any:
        self.seen.append(params)
        return params

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        self.seen.extend([updates, params, extra])
        return updates, state


class Notes(list[Any]):
    __hash__ = object.__hash__


def spied(wrap: Callable[[Any], GradientTransformation], **extra: Any) -> list[Any]:
    seen = Notes()
    tx = wrap(Spy(seen=seen))
    params = network()
    updates, _ = tx.update(network(1), tx.init(params), params, **extra)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    return seen


WRAPS = {
    "masked": lambda inner: adamx.masked(
        inner, {"embed": False, "layers": [Layer(True, False), Layer(True, False)]}
    ),
    "multi_transform": lambda inner: adamx.multi_transform(
        {"fast": inner, "slow": adamx.identity(), "rest": adamx.freeze()}, LABELS
    ),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_the_others_are_none_and_nothing_else(wrap: Any) -> None:
    params, grads, again, extra = spied(wrap, value=3.0)
    assert extra == {"value": 3.0}
    for tree, whole in ((params, network()), (grads, network(1)), (again, network())):
        own = {"embed": None, "layers": [Layer(layer.kernel, None) for layer in whole["layers"]]}
        assert type(tree["layers"][0]) is Layer
        assert jax.tree.structure(tree) == jax.tree.structure(own)
        chex.assert_trees_all_equal(tree, own)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_states_hold_arrays_only(wrap: Any) -> None:
    state = wrap(adamx.adam(0.1)).init(network())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    moments = optax.tree.get(state, "mu")
    assert moments["embed"] is None
    assert moments["layers"][0].kernel.shape == (2, 3)
    json.dumps(jax.tree.map(lambda x: x.tolist(), state))


def test_states_are_found_by_label() -> None:
    state = adamx.multi_transform(members(adamx), LABELS).init(network())
    assert {*state.inner_states} == {"slow", "fast", "rest"}
    assert state.inner_states["slow"][0].mu["embed"].shape == (4,)


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("wrap", ["masked", "multi_transform"])
def test_extra_trees_are_selected_if_asked(wrap: str, select: bool) -> None:
    arguments = {
        "masked": {"embed": False, "layers": True},
        "multi_transform": {"embed": "out", "layers": "in"},
    }
    seen = Notes()
    spy = Spy(seen=seen)
    inner = spy if wrap == "masked" else {"in": spy, "out": adamx.identity()}
    make = getattr(adamx, wrap)
    tx = make(inner, arguments[wrap], mask_compatible_extra_args=select)
    params = network()
    tx.update(params, tx.init(params), params, tags=network(5), value=1.0)
    assert seen[-1]["value"] == 1.0
    assert (seen[-1]["tags"]["embed"] is None) is select


def test_labels_are_computed_while_tracing_only() -> None:
    calls = []

    def labels(params: Any) -> Any:
        calls.append(params)
        return by_shape(params)

    tx = adamx.multi_transform(members(adamx), labels)
    params = network()
    step, state = jax.jit(tx.step), tx.init(params)
    for seed in (1, 2, 3):
        params, state = step(network(seed), state, params)
    assert len(calls) == 2  # `init` and one trace


@in_place
def test_groups_need_no_temporaries() -> None:
    leaf = {"kernel": jax.ShapeDtypeStruct((64, 256), jnp.float32)}
    params = {f"layer_{i}": leaf for i in range(4)}
    tx = adamx.chain(
        adamx.clip_by_global_norm(1.0),
        adamx.multi_transform(
            {"decayed": adamx.adamw(1e-3), "plain": adamx.adam(1e-2), "fixed": adamx.freeze()},
            adamx.label_by_path(("_0", "fixed"), ("_[12]", "decayed"), default="plain"),
        ),
        adamx.scale_by_path(("_1", 0.5), ("_2", 0.25)),
    )

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, grads: Any) -> Any:
        return tx.step(grads, state, params)

    compiled = step.lower(params, jax.eval_shape(tx.init, params), params).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1024


def test_multipliers_are_data() -> None:
    """A sweep over the learning rate of a part is a `vmap`; it can be differentiated, too."""

    def moved(multiplier: Any) -> Any:
        tx = adamx.scale_by_path(("kernel", multiplier))
        updates, _ = tx.update(network(1), tx.init(network()))
        return updates

    sweep = jax.vmap(moved)(jnp.array([0.0, 0.5, 2.0]))
    grads = network(1)
    for i, multiplier in enumerate((0.0, 0.5, 2.0)):
        np.testing.assert_array_equal(
            sweep["layers"][1].kernel[i], multiplier * grads["layers"][1].kernel
        )
        np.testing.assert_array_equal(sweep["embed"][i], grads["embed"])
    slope = jax.grad(lambda m: sum(jnp.sum(x) for x in jax.tree.leaves(moved(m))))(1.0)
    expected = sum(jnp.sum(layer.kernel) for layer in grads["layers"])
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_first_match_wins() -> None:
    labels = adamx.label_by_path(("bias", "bias"), ("layers/0", "first"), (".", "other"))
    assert labels(network()) == {
        "embed": "other",
        "layers": [Layer("first", "bias"), Layer("other", "bias")],
    }
    tx = adamx.scale_by_path(("bias", 2.0), ("layers/0", 3.0))
    ones = jax.tree.map(lambda x: jnp.ones(()), network())
    updates, state = tx.update(ones, tx.init(ones))
    assert jax.tree.map(float, updates) == {
        "embed": 1.0,
        "layers": [Layer(3.0, 2.0), Layer(1.0, 2.0)],
    }
    assert state == adamx.EmptyState()


def test_a_multiplier_may_be_a_schedule() -> None:
    """Gradual unfreezing: one group starts later than the other."""
    late = adamx.piecewise_constant_schedule(0.0, {})
    fall = adamx.linear_schedule(1.0, 0.0, 4)
    tx = adamx.scale_by_path(("embed", late), ("bias", fall), ("kernel", 2.0))
    ones = jax.tree.map(jnp.ones_like, network())
    state = tx.init(ones)
    for expected in (1.0, 0.75, 0.5):
        updates, state = tx.update(ones, state)
        assert float(updates["layers"][0].bias) == expected
        np.testing.assert_array_equal(updates["embed"], 0.0)
        np.testing.assert_array_equal(updates["layers"][1].kernel, 2.0)
    assert state.count == 3


def test_frozen_parameters_stay_to_the_last_bit() -> None:
    transforms = {"slow": adamx.freeze(), "fast": adamx.freeze(), "rest": adamx.adam(0.1)}
    before, after = network(), train(adamx.multi_transform(transforms, LABELS))
    chex.assert_trees_all_equal(after["embed"], before["embed"])
    chex.assert_trees_all_equal(after["layers"][0].kernel, before["layers"][0].kernel)
    assert after["layers"][0].bias != before["layers"][0].bias
    assert adamx.freeze().init(before) == adamx.EmptyState()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_frozen_updates_are_zeros_of_the_same_type(dtype: str) -> None:
    updates = {"a": jnp.full(3, jnp.nan, dtype), "b": None, "c": jnp.arange(2), "d": 2.0}
    zeros, _ = adamx.freeze().update(updates, adamx.EmptyState())
    chex.assert_trees_all_equal(zeros, {**updates, "a": jnp.zeros(3, dtype), "d": jnp.zeros(())})
    assert zeros["a"].dtype == dtype
    assert not zeros["d"].weak_type


def test_groups_inside_groups() -> None:
    """The leaves that an outer group hides need no label, and a mask made from them fits."""
    inner = adamx.multi_transform(
        {"kernels": adamx.scale(2.0), "biases": adamx.scale(3.0)},
        lambda p: jax.tree.map(lambda x: "kernels" if x.ndim else "biases", p),
    )
    tx = adamx.multi_transform(
        {"out": adamx.identity(), "in": adamx.chain(inner, adamx.scale_by_path(("bias", 5.0)))},
        {"embed": "out", "layers": "in"},
    )
    ones = jax.tree.map(jnp.ones_like, network())
    updates, _ = tx.update(ones, tx.init(ones), ones)
    np.testing.assert_array_equal(updates["embed"], 1.0)
    assert float(updates["layers"][0].kernel[0, 0]) == 2.0
    assert float(updates["layers"][0].bias) == 15.0


def test_what_is_not_trained_needs_no_label() -> None:
    params = {"w": jnp.ones(2), "steps": jnp.arange(2), "none": None}
    for labels in (
        adamx.label_by_path(("w", "a")),
        {"w": "a", "steps": None, "none": None},
        lambda p: {"w": "a", "steps": None, "none": None},
    ):
        tx = adamx.multi_transform({"a": adamx.scale(2.0)}, labels)
        grads = {"w": jnp.ones(2), "steps": np.zeros(2, jax.dtypes.float0), "none": None}
        updates, _ = tx.update(grads, tx.init(params), params)
        np.testing.assert_array_equal(updates["w"], 2.0)
        assert updates["steps"] is grads["steps"]
        assert updates["none"] is None


def test_values_print_compare_and_travel() -> None:
    tx = adamx.multi_transform(members(adamx), BY_PATH)
    backwards = dict(reversed(members(adamx).items()))
    same = adamx.multi_transform(backwards, BY_PATH.replace())
    assert tx == same
    assert hash(tx) == hash(same)
    assert tx != adamx.multi_transform(members(adamx), LABELS)
    for other in (
        eval(repr(tx), dict(vars(adamx))),
        pickle.loads(pickle.dumps(tx)),
        adamx.from_config(json.loads(json.dumps(adamx.get_config(tx)))),
    ):
        assert other == tx
    assert repr(BY_PATH) == (
        r"label_by_path(('embed', 'slow'), ('layers/\\d/kernel$', 'fast'), default='rest')"
    )
    assert repr(adamx.scale_by_path(("a", 0.5))) == "scale_by_path(('a', 0.5))"
    in_dicts = adamx.multi_transform({"x": adamx.scale(1.0)}, {"a": "x", "b": ["x"]})
    assert repr(in_dicts) == (
        "multi_transform({'x': scale(step_size=1.0)}, {'a': 'x', 'b': ['x']})"
    )
    assert adamx.from_config(json.loads(json.dumps(adamx.get_config(in_dicts)))) == in_dicts
    as_is = adamx.multi_transform(
        {"a": adamx.scale(1.0)}, by_shape, mask_compatible_extra_args=True
    )
    assert repr(as_is).endswith("by_shape, mask_compatible_extra_args=True)")


def label(*arguments: Any, **options: Any) -> Any:
    return lambda: adamx.label_by_path(*arguments, **options)(network())


def scale(*rules: Any) -> Any:
    return lambda: adamx.scale_by_path(*rules).init(network())


def group(transforms: Any, labels: Any) -> Any:
    return lambda: adamx.multi_transform(transforms, labels).init(network())


ONE = {"a": adamx.scale(1.0)}
# What is asked for, the error, and what it must say.
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "pattern_without_parameter": (
        label(("kernal", "a"), default="b"),
        ValueError,
        r"label_by_path: the pattern 'kernal' .* did you mean .*'layers/./kernel'",
    ),
    "pattern_that_is_hidden": (
        label(("layers", "a"), ("kernel", "b"), default="c"),
        ValueError,
        "'kernel' is never reached.* put it first",
    ),
    "parameter_without_pattern": (
        label(("layers", "a")),
        ValueError,
        "no pattern is found in the parameter 'embed'; the patterns are 'layers'; .*`default`",
    ),
    "no_expression": (label(("(", "a")), ValueError, r"`patterns` must be a regular expression"),
    "no_pair": (label("kernel"), TypeError, r"pairs \(pattern, label\), got 'kernel'"),
    "dictionary": (
        label({"kernel": "a"}),
        TypeError,
        r"got a dictionary; write `label_by_path\(\*rules\.items\(\)\)`",
    ),
    "no_label": (label(("kernel", 3)), TypeError, r"`labels` must be a string, got 3 \(int\)"),
    "no_default": (label(("kernel", "a"), default=1), TypeError, "`default` must be a string"),
    "multiplier_without_parameter": (
        scale(("kernal", 0.5)),
        ValueError,
        "scale_by_path: the pattern 'kernal' .* did you mean 'layers/./kernel'",
    ),
    "multiplier_that_is_hidden": (scale(("layers", 0.5), ("bias", 2.0)), ValueError, "reached"),
    "negative_multiplier": (
        scale(("layers", 0.5), ("embed", -2.0)),
        ValueError,
        r"scale_by_path: `multipliers\[1\]` must be in \[0, inf\), got -2.0",
    ),
    "multipliers_in_a_dictionary": (
        scale({"layers": 0.5}),
        TypeError,
        r"\(pattern, multiplier\), got a dictionary; write `scale_by_path\(\*rules\.items",
    ),
    "no_multiplier": (scale(("layers", "fast")), TypeError, r"`multipliers\[0\]` must be a number"),
    "label_without_transformation": (
        group({"weights": adamx.scale(1.0)}, {"embed": "wieghts", "layers": "weights"}),
        ValueError,
        "no transformation is labelled 'wieghts'; did you mean 'weights'",
    ),
    "computed_label_without_transformation": (
        group(ONE, by_shape),
        ValueError,
        "no transformation is labelled 'fast'; .*known are 'a'",
    ),
    "default_without_transformation": (
        group(ONE, adamx.label_by_path(("embed", "a"), default="b")),
        ValueError,
        "no transformation is labelled 'b'",
    ),
    "labels_in_other_containers": (
        group(ONE, {"embed": "a", "layers": ("a", "a")}),
        ValueError,
        r"do not fit the parameters.\n  at \['layers'\] is a tuple in the place of a list",
    ),
    "parameter_without_label": (
        group(ONE, lambda p: {"embed": "a", "layers": [Layer("a", None)] * 2}),
        ValueError,
        "the parameter 'layers/0/bias' has no label; the labels are 'a'",
    ),
    "label_of_another_kind": (group(ONE, {"embed": 1.5}), TypeError, r"number\) at \['embed'\]"),
    "computed_label_of_another_kind": (group(ONE, lambda p: 1.5), TypeError, "numbers, got 1.5"),
    "labels_that_do_not_fit": (
        group(ONE, {"embed": "a", "layer": "a"}),
        ValueError,
        r"missing in the parameters: \['layer'\]\n.*unexpected .*\['layers'\]\[0\].kernel",
    ),
    "no_mapping": (group([ONE["a"]], "a"), TypeError, "`transforms` must be a dict"),
    "no_transformation": (group({"a": 1.0}, "a"), TypeError, r"`transforms\['a'\]` must be a grad"),
    "key_of_another_kind": (group({1.5: ONE["a"]}, "a"), TypeError, "`transforms` must be a str"),
    "keys_of_two_kinds": (group({1: ONE["a"], **ONE}, "a"), TypeError, "not both, got"),
    "mask_that_does_not_fit": (
        lambda: adamx.masked(ONE["a"], {"embed": True}).init(network()),
        ValueError,
        "masked: the mask does not fit",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_mistakes_are_named(kind: str) -> None:
    act, error, message = WRONG[kind]
    with pytest.raises(error, match=f"(?s){message}"):
        act()


def test_a_label_tree_is_checked_before_there_are_parameters() -> None:
    with pytest.raises(ValueError, match="no transformation is labelled 'b'"):
        adamx.multi_transform(ONE, {"w": "b"})


def test_a_pattern_for_the_parameters_of_another_group_is_refused() -> None:
    tx = adamx.masked(adamx.scale_by_path(("embed", 0.5)), {"embed": False, "layers": True})
    with pytest.raises(ValueError, match="'embed' is found in none"):
        tx.init(network())


def test_a_member_that_returns_something_else_is_refused() -> None:
    lost = adamx.stateless(lambda updates, params: {"embed": updates["embed"]})
    tx = adamx.multi_transform(
        {"slow": lost, "fast": adamx.identity()}, {"embed": "slow", "layers": "fast"}
    )
    with pytest.raises(ValueError, match=r"(?s)multi_transform: 'slow'.*missing"):
        tx.update(network(), tx.init(network()))


def test_a_member_that_moves_another_group_is_refused() -> None:
    greedy = adamx.stateless(lambda updates, params: network())
    tx = adamx.masked(greedy, {"embed": True, "layers": False})
    with pytest.raises(TypeError, match=r"masked: stateless: .*\['layers'\]"):
        tx.update(network(), tx.init(network()))


def test_the_state_of_other_groups_is_refused() -> None:
    tx = adamx.multi_transform(ONE, "a")
    other = adamx.multi_transform({"b": adamx.scale(1.0)}, "b")
    with pytest.raises(TypeError, match=r"labels \['a'\] that `init` returned, got \['b'\]"):
        tx.update(network(), other.init(network()))


@pytest.mark.parametrize("kinds", [("a", "b"), (0, 1), (False, True), (np.int64(3), np.int64(4))])
@pytest.mark.parametrize("wrap", [lambda labels: labels, lambda labels: lambda params: labels])
def test_labels_are_strings_numbers_or_truth_values(kinds: Any, wrap: Any) -> None:
    first, second = kinds
    transforms = {first: adamx.adam(0.1), second: adamx.freeze()}
    tx = adamx.multi_transform(transforms, wrap({"u": first, "v": second}))
    params = {"u": jnp.ones(2), "v": jnp.ones(2)}
    new, state = jax.jit(tx.step)(params, tx.init(params), params)
    assert float(new["u"][0]) < 1.0 == float(new["v"][0])
    assert {*state.inner_states} == {first, second}
    assert float(adamx.get_learning_rate(state, tx)) == np.float32(0.1)
    assert eval(repr(adamx.multi_transform(transforms, {"u": first})), dict(vars(adamx)))


@pytest.mark.parametrize("label", ["trained", "frozen"])
def test_all_or_nothing_may_be_frozen(label: str) -> None:
    """As in optax: a transformation whose label nobody has gets no parameter."""
    for library in (adamx, optax):
        transforms = {"trained": library.adamw(0.1), "frozen": library.set_to_zero()}
        for labels in (label, lambda params: jax.tree.map(lambda _: label, params)):
            tx = library.multi_transform(transforms, labels)
            params = network()
            updates, _ = tx.update(params, tx.init(params), params)
            moved = any(bool(jnp.any(u != 0)) for u in jax.tree.leaves(updates))
            assert moved == (label == "trained")


def test_frozen_dictionaries_are_told_from_dictionaries() -> None:
    frozen = pytest.importorskip("flax.core").FrozenDict({"u": "a"})
    for labels, params in ((frozen, {"u": 1.0}), ({"u": "a"}, frozen)):
        with pytest.raises(ValueError, match=r"at the top is a .*(FrozenDict|dict) in the place"):
            adamx.multi_transform(ONE, labels).init(params)
        mask = jax.tree.map(lambda _: True, labels)
        with pytest.raises(ValueError, match=r"at the top is a .*(FrozenDict|dict) in the place"):
            adamx.masked(ONE["a"], mask).init(params)
