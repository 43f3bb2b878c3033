"""torch's `param_groups`: compared number by number, built, and loaded with steps of their own."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.interop import torch

PARAMS = {"a": jnp.ones(2), "b": jnp.ones(3), "c": jnp.ones(4)}
KEYS = {"Adamax": ("exp_avg", "exp_inf"), "NAdam": ("exp_avg", "exp_avg_sq", "mu_product")}
# A value other than the default for each argument of the presets.
OTHER = {
    "lr": 0.5,
    "betas": (0.8, 0.999),
    "eps": 1e-3,
    "weight_decay": 0.3,
    "momentum_decay": 0.1,
    "amsgrad": True,
    "maximize": True,
}
DEFAULTS = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
EVERY = {
    "Adam": {**DEFAULTS, "amsgrad": False, "maximize": False, "decoupled_weight_decay": False},
    "AdamW": {**DEFAULTS, "amsgrad": False, "maximize": False, "decoupled_weight_decay": True},
    "NAdam": {**DEFAULTS, "momentum_decay": 4e-3, "decoupled_weight_decay": False},
    "RAdam": {**DEFAULTS, "maximize": False, "decoupled_weight_decay": True},
    "Adamax": {**DEFAULTS, "maximize": False},
    "SparseAdam": {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "maximize": False},
}


def entry(kind: str, size: int, step: float) -> dict[str, Any]:
    keys = KEYS.get(kind, ("exp_avg", "exp_avg_sq"))
    shapes = {key: () if key == "mu_product" else (size,) for key in keys}
    return {"step": np.float32(step), **{key: np.full(x, 0.5) for key, x in shapes.items()}}


def state_dict(kind: str, *groups: dict[str, Any], steps: Any = (8, 8, 8)) -> dict[str, Any]:
    """Of a, b and c; a step of None is a parameter without state."""
    state = {i: entry(kind, i + 2, s) for i, s in enumerate(steps) if s is not None}
    return {"state": state, "param_groups": list(groups)}


def two_groups(kind: str, **changes: Any) -> dict[str, Any]:
    first = {**EVERY[kind], "params": [0, 1]}
    return state_dict(kind, first, {**first, **changes, "params": [2]})


def preset(kind: str, **changes: Any) -> adamx.GradientTransformation:
    arguments = {
        k: x for k, x in {**EVERY[kind], **changes}.items() if kind != "AdamW" or k[:3] != "dec"
    }
    return getattr(torch, kind)(**arguments)


@pytest.mark.parametrize("kind", EVERY)
def test_every_number_of_every_group_is_compared(kind: str) -> None:
    tx = preset(kind)
    torch.from_state_dict(tx, two_groups(kind), PARAMS)
    keys = set(OTHER) & set(EVERY[kind])
    for key in keys:
        given = two_groups(kind, **{key: OTHER[key]})
        with pytest.raises(ValueError, match=rf"group 1: {key}=.* but `tx` has .* for 'c'"):
            torch.from_state_dict(tx, given, PARAMS)
        with pytest.raises(ValueError, match=rf"group 1: {key}="):
            torch.to_state_dict(tx, tx.init(PARAMS), given, PARAMS)


@pytest.mark.parametrize("kind", EVERY)
def test_the_helper_builds_what_the_groups_describe(kind: str) -> None:
    for key in set(OTHER) & set(EVERY[kind]) - {"amsgrad"}:
        given = two_groups(kind, **{key: OTHER[key]})
        tx = torch.from_param_groups(getattr(torch, kind), given, PARAMS)
        assert tx.transforms == (preset(kind), preset(kind, **{key: OTHER[key]}))
        state = torch.from_state_dict(tx, given, PARAMS)
        back = torch.to_state_dict(tx, state, given, PARAMS)
        assert back["param_groups"] == given["param_groups"]
        jax.tree.map(np.testing.assert_allclose, back["state"], given["state"])
    alone = state_dict(kind, {**EVERY[kind], "params": [0, 1, 2]})
    assert torch.from_param_groups(getattr(torch, kind), alone, PARAMS) == preset(kind)


def test_groups_under_one_schedule_must_agree() -> None:
    tx = torch.Adam(adamx.linear_schedule(1.0, 0.0, 9), weight_decay=0.1)
    torch.from_state_dict(tx, two_groups("Adam"), PARAMS)
    with pytest.raises(ValueError, match=r"group 1: lr=0.5, but group 0, .* schedule .*, 0.01"):
        torch.from_state_dict(tx, two_groups("Adam", lr=0.5), PARAMS)


def test_a_scheduled_decay_is_one_for_all_it_serves() -> None:
    decay = adamx.linear_schedule(0.1, 0.0, 9)
    tx = torch.AdamW(0.01, weight_decay=decay)
    torch.from_state_dict(tx, two_groups("AdamW"), PARAMS)
    with pytest.raises(ValueError, match=r"group 1: weight_decay=0, but group 0, .*, 0.1 for 'c'"):
        torch.from_state_dict(tx, two_groups("AdamW", weight_decay=0), PARAMS)
    with pytest.raises(ValueError, match=r"decoupled_weight_decay=False, but `tx` has True"):
        torch.from_state_dict(tx, two_groups("AdamW", decoupled_weight_decay=False), PARAMS)


@pytest.mark.parametrize("key", ["lr", "betas", "maximize", "amsgrad"])
@pytest.mark.parametrize("value", ["False", None, "0.01", ["a", "b"]])
def test_texts_in_a_group_equal_nothing(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"group 1: {key}="):
        torch.from_state_dict(preset("Adam"), two_groups("Adam", **{key: value}), PARAMS)


@pytest.mark.parametrize(
    "tx",
    [
        adamx.adamw(0.01, weight_decay=0.1, mask={"a": True, "b": True, "c": False}),
        adamx.chain(
            adamx.clip_by_global_norm(1.0),
            adamx.scale_by_adam(),
            adamx.masked(adamx.add_decayed_weights(0.1), adamx.mask_by_path("a|b")),
            adamx.scale_by_learning_rate(0.01),
        ),
        adamx.chain(adamx.scale_by_adam(), adamx.scale(-0.01)),
        adamx.inject_hyperparams(
            adamx.adamw(0.01, weight_decay=0.1, mask=adamx.mask_by_path("a|b"))
        ),
    ],
    ids=["mask", "masked", "core", "injected"],
)
def test_a_mask_is_a_group_without_decay(tx: Any) -> None:
    given = two_groups("AdamW", weight_decay=0)
    ignore = ("InjectHyperparamsState",) if hasattr(tx.init(PARAMS), "hyperparams") else ()
    torch.from_state_dict(tx, given, PARAMS, ignore=ignore)


def test_parameters_with_steps_of_their_own_and_without_state() -> None:
    """torch corrects each by its own step; the schedule goes on at the optimizer's."""
    group = {**EVERY["Adam"], "params": [0, 1, 2], "weight_decay": 0}
    given = state_dict("Adam", group, steps=(8, 5, None))
    with pytest.raises(ValueError, match=r"8 for 'a', 5 for 'b', 0 for 'c'.*`from_param_groups`"):
        torch.from_state_dict(torch.Adam(0.01), given, PARAMS)
    tx = torch.from_param_groups(torch.Adam, given, PARAMS)
    assert tx.labels == ("group_0_step_0", "group_0_step_5", "group_0_step_8")
    state = torch.from_state_dict(tx, given, PARAMS)
    assert torch.to_state_dict(tx, state, given, PARAMS)["state"].keys() == {0, 1}
    params, state = jax.jit(tx.step)(PARAMS, state, PARAMS)
    for name, step, moment in (("a", 9, 0.5), ("b", 6, 0.5), ("c", 1, 0.0)):
        mu, nu = 0.9 * moment + 0.1, 0.999 * moment + 0.001
        move = 0.01 * mu / (1 - 0.9**step) / (np.sqrt(nu / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(params[name], 1 - move, rtol=1e-6)
    back = torch.to_state_dict(tx, state, given, PARAMS)["state"]
    assert [int(back[i]["step"]) for i in range(3)] == [9, 6, 1]

    schedule = adamx.linear_schedule(1.0, 0.0, 20)
    by_step = adamx.multi_transform(
        {label: torch.Adam(schedule) for label in tx.labels}, tx.param_labels.thaw()
    )
    state = torch.from_state_dict(by_step, given, PARAMS)
    assert {int(x[1].count) for x in state.inner_states.values()} == {8}
    assert torch.to_state_dict(by_step, state, given, PARAMS)["state"].keys() == {0, 1}


@pytest.mark.parametrize("named", [True, False])
def test_parameters_that_torch_was_not_given_are_frozen(named: bool) -> None:
    group = {**EVERY["Adam"], "params": [0, 1]}
    given = state_dict("Adam", {**group, "param_names": ["a", "b"]} if named else group)
    del given["state"][2]
    names = None if named else ["a", "b"]
    with pytest.raises(ValueError, match="missing: c"):
        torch.from_state_dict(preset("Adam"), given, PARAMS, names)
    tx = torch.from_param_groups(torch.Adam, given, PARAMS, names)
    state = torch.from_state_dict(tx, given, PARAMS, names)
    params, _ = tx.step(PARAMS, state, PARAMS)
    assert [bool((params[name] == 1).all()) for name in "abc"] == [False, False, True]
    without_names = torch.from_state_dict(tx, {**given, "param_groups": [group]}, PARAMS)
    assert jax.tree.all(jax.tree.map(np.array_equal, state, without_names))


# What torch's schedulers and users put into a group.
EXTRA = {
    "OneCycleLR": {"initial_lr": 4e-4, "max_lr": 0.01, "min_lr": 4e-8, "max_momentum": 0.95},
    "CyclicLR": {"initial_lr": 1e-3, "base_momentum": 0.85, "max_momentum": 0.95},
    "SWALR": {"swa_lr": 0.05, "initial_lr": 0.01},
    "user": {"name": "decay", "lr_scale": 0.75, "layer_id": 3, "tags": ["head"], "note": None},
    "implementation": {"foreach": None, "fused": True, "capturable": False},
}


@pytest.mark.parametrize("who", EXTRA)
@pytest.mark.parametrize("kind", EVERY)
def test_keys_of_schedulers_and_users_are_left_out(kind: str, who: str) -> None:
    group = {**EVERY[kind], **EXTRA[who], "params": [0, 1, 2]}
    assert torch.from_param_group(getattr(torch, kind), group) == preset(kind)
    torch.from_state_dict(preset(kind), state_dict(kind, group), PARAMS)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("Adam", "momentum_decay"),
        ("Adamax", "amsgrad"),
        ("AdamW", "momentum"),
        ("RAdam", "nesterov"),
        ("SparseAdam", "weight_decay"),
        ("NAdam", "alpha"),
    ],
)
def test_arguments_of_other_optimizers_are_refused(kind: str, key: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} has no '{key}'"):
        torch.from_param_group(getattr(torch, kind), {"lr": 0.1, key: 0.5})


SWITCHES = [
    (kind, name)
    for kind in EVERY
    for name in ("amsgrad", "maximize", "decoupled_weight_decay")
    if name in inspect.signature(getattr(torch, kind)).parameters
]


@pytest.mark.parametrize("value", ["False", 0, 1, None, "yes", jnp.array(True)])
@pytest.mark.parametrize(("kind", "name"), SWITCHES)
def test_switches_are_true_or_false(kind: str, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{kind.strip('W')}.*: `{name}` must be True or False"):
        getattr(torch, kind)(**{name: value})


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999), "99", None, {0.9, 0.99}])
@pytest.mark.parametrize("kind", EVERY)
def test_betas_are_a_pair(kind: str, betas: Any) -> None:
    with pytest.raises(TypeError, match="`betas` must be a pair of decay rates, got"):
        getattr(torch, kind)(betas=betas)


@pytest.mark.parametrize(
    "step", [1.5, -1, "5", np.nan, np.inf, True, [1, 2], None, 2.0**31, 1j], ids=repr
)
def test_steps_are_counts(step: Any) -> None:
    given = state_dict("Adam", {"params": [0, 1, 2]})
    given["state"][1]["step"] = step
    for call in (
        lambda: torch.from_state_dict(torch.Adam(), given, PARAMS),
        lambda: (
            torch.from_param_groups(torch.Adam, given, PARAMS)
            and torch.from_state_dict(
                torch.from_param_groups(torch.Adam, given, PARAMS), given, PARAMS
            )
        ),
    ):
        with pytest.raises(
            ValueError,
            match=r"`step` (of .* must be a whole number|must be the same)|that int32 cannot hold",
        ):
            call()


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("Adam", "exp_avg_sq"),
        ("Adamax", "exp_inf"),
        ("NAdam", "mu_product"),
        ("RAdam", "exp_avg_sq"),
    ],
)
def test_second_moments_are_never_negative(kind: str, key: str) -> None:
    given = state_dict(kind, {"params": [0, 1, 2]})
    for wrong in given["state"].values():
        wrong[key] = wrong[key] - 1.0
    with pytest.raises(ValueError, match=rf"from_state_dict: {key}.* is never negative, got -0.5"):
        torch.from_state_dict(getattr(torch, kind)(), given, PARAMS)
    if key == "mu_product":
        for wrong in given["state"].values():
            wrong[key] = "0.5"
        with pytest.raises(ValueError, match="mu_product must be a whole number or a float"):
            torch.from_state_dict(torch.NAdam(), given, PARAMS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"param_groups": [[0, 1]], "state": {}},
        {"param_groups": {"params": [0]}, "state": {}},
        {"param_groups": [{"lr": 0.1}], "state": {}},
        {"param_groups": [{"params": 3}], "state": {}},
        {"param_groups": 3, "state": {}},
        {"param_groups": [{"params": [[0]]}], "state": {}},
        {"param_groups": [{"params": ["0"]}], "state": {}},
        {"param_groups": [{"params": [0]}, {"params": [0]}], "state": {}},
        {"param_groups": [{"params": [0], "param_names": "a"}], "state": {}},
        {"param_groups": [{"params": [0], "param_names": [3]}], "state": {}},
        {"param_groups": [{"params": [0], "param_names": []}], "state": {}},
        {"param_groups": [{"params": [0]}], "state": [1]},
        {"param_groups": [{"params": [0]}], "state": {0: [1]}},
        None,
    ],
    ids=repr,
)
def test_state_dicts_of_another_shape_are_refused(wrong: Any) -> None:
    tx = torch.Adam()
    for call in (
        lambda: torch.from_state_dict(tx, wrong, PARAMS),
        lambda: torch.to_state_dict(tx, tx.init(PARAMS), wrong, PARAMS),
        lambda: torch.from_param_groups(torch.Adam, wrong, PARAMS),
    ):
        with pytest.raises(ValueError, match=r"must be what `torch_optimizer.state_dict\(\)`"):
            call()


@pytest.mark.parametrize("group", [[0.1], None, 3, "lr"], ids=repr)
def test_a_group_is_a_dictionary(group: Any) -> None:
    with pytest.raises(TypeError, match="`group` must be a dictionary, got"):
        torch.from_param_group(torch.Adam, group)
    with pytest.raises(TypeError, match=r"`optimizer` must be a preset such as `torch\.Adam`"):
        torch.from_param_group("Adam", {"lr": 0.1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'lr' must be a number"):
        torch.from_param_group(torch.Adam, {"lr": np.ones(2)})


def test_what_is_ignored_is_not_compared() -> None:
    """A core that starts afresh has its own numbers, and needs no parameter of torch."""
    both = adamx.multi_transform(
        {"x": preset("Adam"), "y": adamx.sparse.adam(0.7, "lazy")}, {"a": "x", "b": "x", "c": "y"}
    )
    given = state_dict("Adam", {**EVERY["Adam"], "params": [0, 1]})
    del given["state"][2]
    with pytest.raises(ValueError, match="one kind of core that torch has"):
        torch.from_state_dict(both, given, PARAMS, ["a", "b"], ignore=("SparseAdamState",))
    tx = adamx.apply_if_finite(preset("Adam", lr=0.5))
    group = {**EVERY["Adam"], "params": [0, 1, 2]}
    with pytest.raises(ValueError, match=r"group 0: lr=0.01, but `tx` has 0.5"):
        torch.from_state_dict(tx, state_dict("Adam", group), PARAMS, ignore=("GuardState",))


def test_several_names_are_no_string() -> None:
    given = state_dict("Adam", {"params": [0, 1, 2]})
    with pytest.raises(TypeError, match=r"`names` must be a list of strings, got 'abc'"):
        torch.from_state_dict(torch.Adam(), given, PARAMS, "abc")
    with pytest.raises(TypeError, match=r"`ignore` must be a list .*; write \['EmaParamsState'\]"):
        torch.from_state_dict(torch.Adam(), given, PARAMS, ignore="EmaParamsState")
