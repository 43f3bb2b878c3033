"""torch's presets make torch's steps, and its `state_dict`s move both ways.

Against values that torch 2.13 made (`tests/golden/torch_adam.py`); torch is not needed here.
"""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.interop import torch
from adamx.interop.torch import from_param_group, from_state_dict, to_state_dict
from tests.versions import enable_x64

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "torch_adam.npz")
ARGUMENTS = json.loads(str(GOLDEN["arguments"]))
STEPS, MIDDLE = 16, 8
NAMES = ("w", "b")  # torch's order; ours is sorted
every_case = pytest.mark.parametrize("case", ARGUMENTS)
Trajectory = dict[str, np.ndarray]


def golden(case: str, dtype: str) -> Trajectory:
    """Parameters after every step as torch made them."""
    return {name: GOLDEN[f"{case}-{dtype}/params/{name}"] for name in NAMES}


def state_dict(case: str, dtype: str = "float32") -> dict[str, Any]:
    """What `optimizer.state_dict()` returned after step 8."""
    prefix = f"{case}-{dtype}/state/"
    keys = {name.removeprefix(prefix) for name in GOLDEN.files if name.startswith(prefix)}
    state: dict[int, dict[str, np.ndarray]] = {}
    for key in keys:
        name, _, part = key.partition("/")
        state.setdefault(NAMES.index(name), {})[part] = GOLDEN[prefix + key]
    return {"state": state, "param_groups": [json.loads(str(GOLDEN[f"{case}-{dtype}/group"]))]}


def preset(case: str) -> adamx.GradientTransformation:
    return getattr(torch, case.partition("-")[0])(**ARGUMENTS[case])


def parameters(case: str, dtype: str, step: int) -> dict[str, jax.Array]:
    """As torch had them after so many steps."""
    if step == 0:
        return {name: jnp.asarray(GOLDEN[f"initial/{name}"], dtype) for name in NAMES}
    return {name: jnp.asarray(x[step - 1]) for name, x in golden(case, dtype).items()}


def run(
    tx: Any, state: Any, params: Any, dtype: str, start: int, stop: int
) -> tuple[Any, Trajectory]:
    step = jax.jit(tx.step)
    trajectory = []
    for i in range(start, stop):
        grads = {name: jnp.asarray(GOLDEN[f"gradients/{name}"][i], dtype) for name in NAMES}
        params, state = step(grads, state, params)
        trajectory.append(params)
    return state, {name: np.stack([p[name] for p in trajectory]) for name in NAMES}


def distance(case: str, first: Trajectory, second: Trajectory) -> float:
    """The largest difference of the last steps; each element by its start plus its path."""
    worst = 0.0
    for name, exact in golden(case, "float64").items():
        start = GOLDEN[f"initial/{name}"].astype(np.float64)
        path = np.abs(np.diff(exact, axis=0, prepend=start[None])).cumsum(axis=0)
        scale = (np.abs(start) + path)[-len(first[name]) :]
        gap = np.abs(np.float64(first[name]) - np.float64(second[name][-len(first[name]) :]))
        worst = max(worst, (gap / scale).max())
    return worst


def limit(case: str, dtype: str) -> float:
    """2e-6 in float32, rounding in float64.

    torch keeps NAdam's `mu_product` in float32, and its formula of RAdam's rho_t cancels.
    """
    if dtype == "float32":
        return 2e-6
    return {"NAdam": 1e-7, "RAdam": 1e-11}.get(case.partition("-")[0], 1e-12)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(
            case,
            dtype,
            marks=[] if quick else [pytest.mark.full("one case more of what a quicker test shows")],
        )
        for case in ARGUMENTS
        for dtype, quick in (("float32", True), ("float64", case.endswith("plain")))
    ],
)
def test_a_preset_makes_torch_s_steps_and_goes_on_from_torch_s_state(case: str, dtype: str) -> None:
    with enable_x64(dtype == "float64"):
        tx, exact = preset(case), golden(case, "float64")
        params = parameters(case, dtype, 0)
        state, own = run(tx, tx.init(params), params, dtype, 0, MIDDLE)
        assert distance(case, own, {k: x[:MIDDLE] for k, x in exact.items()}) <= limit(case, dtype)

        back = to_state_dict(tx, state, state_dict(case, dtype), params)
        for i, entry in state_dict(case, dtype)["state"].items():
            assert set(back["state"][i]) == set(entry)
            for key, value in entry.items():
                tolerance = 1e-6 if key == "mu_product" else limit(case, dtype)
                scale = np.abs(value).max()
                np.testing.assert_allclose(
                    back["state"][i][key], value, atol=tolerance * scale, rtol=0
                )

        params = parameters(case, dtype, MIDDLE)
        moved = from_state_dict(tx, state_dict(case, dtype), params)
        _, rest = run(tx, moved, params, dtype, MIDDLE, STEPS)
        assert distance(case, rest, exact) <= limit(case, dtype)


@every_case
def test_a_param_group_gives_the_preset(case: str) -> None:
    """With all that torch adds: `foreach`, `param_names`, ..."""
    kind = getattr(torch, case.partition("-")[0])
    assert from_param_group(kind, state_dict(case)["param_groups"][0]) == preset(case)


# torch 2.13, `inspect.signature(torch.optim.<name>)` without `params` and the switches that choose
# an implementation.
SIGNATURES = {
    "Adam": {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "amsgrad": False,
        "maximize": False,
        "decoupled_weight_decay": False,
    },
    "AdamW": {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 1e-2,
        "amsgrad": False,
        "maximize": False,
    },
    "NAdam": {
        "lr": 2e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "momentum_decay": 4e-3,
        "decoupled_weight_decay": False,
        "maximize": False,
    },
    "RAdam": {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "decoupled_weight_decay": False,
        "maximize": False,
    },
    "Adamax": {
        "lr": 2e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "maximize": False,
    },
    "SparseAdam": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "maximize": False},
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_order_and_defaults_are_torch_s(name: str) -> None:
    parameters = inspect.signature(getattr(torch, name)).parameters
    assert {key: p.default for key, p in parameters.items()} == SIGNATURES[name]
    assert [*parameters] == [*SIGNATURES[name]]


def test_a_param_group_of_another_optimizer_is_refused() -> None:
    group = state_dict("NAdam-plain")["param_groups"][0]
    with pytest.raises(ValueError, match=r"Adam has no 'momentum_decay' \(here 0.004\)"):
        from_param_group(torch.Adam, group)
    group = state_dict("Adam-l2")["param_groups"][0]
    with pytest.raises(ValueError, match=r"AdamW has no 'decoupled_weight_decay' \(here False\)"):
        from_param_group(torch.AdamW, group)


class Tensor:
    """As much of a torch tensor as is looked at; `bfloat16` refuses NumPy as torch's does."""

    def __init__(self, array: Any, bfloat16: bool = False) -> None:
        self.array, self.bfloat16 = np.asarray(array), bfloat16

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def float(self) -> "Tensor":
        return Tensor(self.array.astype(np.float32))

    def numpy(self) -> np.ndarray:
        if self.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


PARAMS = {"b": jnp.zeros(4), "w": jnp.zeros((3, 2))}


@pytest.mark.parametrize("bfloat16", [False, True])
def test_tensors_are_read_as_they_are(bfloat16: bool) -> None:
    given = state_dict("Adam-plain")
    tensors = {
        i: {key: Tensor(x, bfloat16 and key != "step") for key, x in entry.items()}
        for i, entry in given["state"].items()
    }
    tensors = {**given, "state": tensors}
    ours = [from_state_dict(torch.Adam(), x, PARAMS) for x in (given, tensors)]
    assert jax.tree.all(jax.tree.map(np.array_equal, *ours))


def test_a_param_group_may_hold_a_tensor() -> None:
    group = {**state_dict("Adam-plain")["param_groups"][0], "lr": Tensor(0.5)}
    assert from_param_group(torch.Adam, group) == torch.Adam(0.5)


def unnamed() -> dict[str, Any]:
    given = state_dict("Adam-plain")
    del given["param_groups"][0]["param_names"]
    return given


def test_without_names_the_order_is_that_of_the_leaves_or_given() -> None:
    """torch's order is w, b; the leaves' is b, w."""
    with pytest.raises(ValueError, match=r"exp_avg of 'b' has shape \(3, 2\).*\(4,\)"):
        from_state_dict(torch.Adam(), unnamed(), PARAMS)
    moved = from_state_dict(torch.Adam(), unnamed(), PARAMS, NAMES)
    np.testing.assert_array_equal(moved[0].mu["w"], unnamed()["state"][0]["exp_avg"])
    as_list = from_state_dict(torch.Adam(), unnamed(), [PARAMS["w"], PARAMS["b"]])
    np.testing.assert_array_equal(as_list[0].mu[0], unnamed()["state"][0]["exp_avg"])


W = jnp.zeros((3, 2))


@pytest.mark.parametrize(
    ("params", "transposed", "which"),
    [
        ({"first": W, "second": W}, None, "'first' and 'second'"),
        ({"x": {"w": W, "b": jnp.zeros(2)}, "y": {"w": W}}, None, "'x/w' and 'y/w'"),
        ([{"k": [W], "v": W}], None, "'0/k/0' and '0/v'"),
        ({"a": W, "b": W.T}, {"a": False, "b": True}, "'a' and 'b'"),
        ([W, {"w": W}], None, None),
        ([{"w": W, "b": jnp.zeros(2)}, {"w": W, "b": jnp.zeros(2)}], None, None),
        ({"w": (W, W)}, None, None),
        ({"a": W, "b": W.T}, None, None),
        ({"a": W, "n": jnp.zeros((3, 2), int)}, None, None),
        (W, None, None),
    ],
    ids=["dict", "nested", "lists", "transposed", "list", "blocks", "tuple", "shapes", "n", "leaf"],
)
def test_leaves_that_could_be_mixed_up_must_be_named(
    params: Any, transposed: Any, which: str | None
) -> None:
    """Each moment holds the number of its parameter."""
    leaves = [x for x in jax.tree.leaves(params) if x.dtype == "float32"]
    flips = jax.tree.leaves(transposed) or [False] * len(leaves)
    state = {}
    for i, (leaf, flip) in enumerate(zip(leaves, flips, strict=True)):
        moment = np.full(leaf.shape[::-1] if flip else leaf.shape, i, np.float32)
        state[i] = {"step": 1.0, "exp_avg": moment, "exp_avg_sq": moment}
    given = {"state": state, "param_groups": [{"params": [*state]}]}
    tx = torch.Adam()
    if which is not None:
        for call in (
            lambda: from_state_dict(tx, given, params, transposed=transposed),
            lambda: to_state_dict(tx, tx.init(params), given, params, transposed=transposed),
        ):
            with pytest.raises(ValueError, match=rf"{which} have one shape.*`names=`"):
                call()
        if len(leaves) == 2:
            backwards = adamx.leaf_paths(params)[::-1]
            moved = from_state_dict(tx, given, params, backwards, transposed=transposed)
            assert [int(x.ravel()[0]) for x in jax.tree.leaves(moved[0].mu)] == [1, 0]
        return
    moved = from_state_dict(tx, given, params, transposed=transposed)
    assert [int(x.ravel()[0]) for x in jax.tree.leaves(moved[0].mu)] == [*state]


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ({"optimizer": {}, "model": {}}, "a dictionary of 'optimizer', 'model'"),
        (PARAMS, "a dictionary of 'b', 'w'"),
        ({"state": {}}, "a dictionary of 'state'"),
        ([1], "list"),
    ],
    ids=["checkpoint", "parameters", "no groups", "list"],
)
def test_what_is_no_state_dict_is_refused(wrong: Any, shown: str) -> None:
    tx = torch.Adam()
    with pytest.raises(ValueError, match=f"`state_dict` must be .*'param_groups', got .*{shown}"):
        from_state_dict(tx, wrong, PARAMS)
    with pytest.raises(ValueError, match=f"`template` must be .*'param_groups', got .*{shown}"):
        to_state_dict(tx, tx.init(PARAMS), wrong, PARAMS)


def test_a_whole_state_dict_is_no_group() -> None:
    with pytest.raises(ValueError, match=r"whole `state_dict`.*\[\"param_groups\"\]\[0\]`, or"):
        from_param_group(torch.Adam, state_dict("Adam-plain"))
    with pytest.raises(ValueError, match=r"no 'etas' \(here \[0, 1, 2, 3, 4, 5, \.\.\.\]\)"):
        from_param_group(torch.Adam, {"etas": [*range(100)]})


def test_torch_s_dotted_names_are_paths() -> None:
    given = state_dict("Adam-plain")
    given["param_groups"][0]["param_names"] = ["layer.w", "layer.b"]
    moved = from_state_dict(torch.Adam(), given, {"layer": PARAMS})
    np.testing.assert_array_equal(moved[0].mu["layer"]["b"], given["state"][1]["exp_avg"])


def test_transposed_weights_are_turned_there_and_back() -> None:
    given, params = state_dict("Adam-plain"), {"b": jnp.zeros(4), "w": jnp.zeros((2, 3))}
    mask = adamx.mask_by_path("w")
    moved = from_state_dict(torch.Adam(), given, params, transposed=mask)
    np.testing.assert_array_equal(moved[0].nu["w"], given["state"][0]["exp_avg_sq"].T)
    for flip in (mask, {"b": False, "w": True}):
        back = to_state_dict(torch.Adam(), moved, given, params, transposed=flip)
        for i, entry in given["state"].items():
            for key, value in entry.items():
                np.testing.assert_array_equal(back["state"][i][key], value)
    with pytest.raises(ValueError, match=r"`transposed` selects 'b' of shape \(4,\)"):
        from_state_dict(torch.Adam(), given, params, transposed=adamx.mask_by_path("b"))


def test_param_groups_go_with_a_multi_transform() -> None:
    given = state_dict("Adam-plain")
    group = given["param_groups"][0]
    given["param_groups"] = [
        {**group, "params": [0], "param_names": ["w"]},
        {**group, "params": [1], "param_names": ["b"], "lr": 0.1},
    ]
    tx = adamx.multi_transform(
        {"w": torch.Adam(adamx.linear_schedule(1.0, 0.0, 20)), "b": torch.Adam(0.1)},
        {"w": "w", "b": "b"},
    )
    moved = from_state_dict(tx, given, PARAMS)
    assert int(moved.inner_states["w"][1].count) == MIDDLE
    np.testing.assert_array_equal(moved.inner_states["b"][0].mu["b"], given["state"][1]["exp_avg"])
    back = to_state_dict(tx, moved, given, PARAMS)
    np.testing.assert_array_equal(back["state"][1]["exp_avg"], given["state"][1]["exp_avg"])
    left_out = adamx.masked(torch.Adam(), {"w": True, "b": False})
    with pytest.raises(ValueError, match=r"unexpected: b"):
        from_state_dict(left_out, given, PARAMS)


def test_integer_parameters_take_no_part() -> None:
    moved = from_state_dict(torch.Adam(), state_dict("Adam-plain"), {**PARAMS, "n": jnp.arange(3)})
    assert moved[0].mu["n"] is None


def test_an_optimizer_that_took_no_step_has_no_state() -> None:
    given = {**state_dict("Adam-plain"), "state": {}}
    moved = from_state_dict(torch.Adam(), given, PARAMS)
    assert jax.tree.all(jax.tree.map(np.array_equal, moved, torch.Adam().init(PARAMS)))
    assert to_state_dict(torch.Adam(), moved, given, PARAMS)["state"] == {}


def test_what_torch_has_not_is_ignored_only_if_named() -> None:
    tx = adamx.chain(torch.Adam(), adamx.ema_params(0.9))
    given = state_dict("Adam-plain")
    with pytest.raises(ValueError, match=r"torch has nothing like EmaParamsState.*`ignore="):
        from_state_dict(tx, given, PARAMS)
    moved = from_state_dict(tx, given, PARAMS, ignore=("EmaParamsState",))
    assert int(moved[1].count) == 0
    with pytest.raises(ValueError, match="torch has nothing like EmaParamsState"):
        to_state_dict(tx, moved, given, PARAMS)
    back = to_state_dict(tx, moved, given, PARAMS, ignore=("EmaParamsState",))
    assert back["state"][0]["step"] == MIDDLE


def test_a_wrapper_that_is_ignored_lets_its_inside_move() -> None:
    schedule = adamx.linear_schedule(1.0, 0.0, 20)
    tx = adamx.apply_if_finite(adamx.inject_hyperparams(torch.Adam(schedule)))
    ignore = ("GuardState", "InjectHyperparamsState")
    moved = from_state_dict(tx, state_dict("Adam-plain"), PARAMS, ignore=ignore)
    _, state = tx.update(PARAMS, moved, PARAMS)
    assert adamx.get_hyperparam(state, "learning_rate") == schedule(MIDDLE)
    with pytest.raises(ValueError, match=r"`ignore` has 'Guard', but no part .* there are"):
        from_state_dict(tx, state_dict("Adam-plain"), PARAMS, ignore=("Guard",))


def test_moments_of_16_bits_leave_as_float32() -> None:
    tx = adamx.adam(1e-3, mu_dtype="bfloat16", nu_dtype="bfloat16")
    moved = from_state_dict(tx, state_dict("Adam-plain"), PARAMS)
    back = to_state_dict(tx, moved, state_dict("Adam-plain"), PARAMS, as_tensor=Tensor)
    tensor = back["state"][1]["exp_avg"]
    assert isinstance(tensor, Tensor)
    assert tensor.array.dtype == np.float32


def change(case: str, i: int, **changes: Any) -> dict[str, Any]:
    """The golden state with some of one parameter's entries changed; None removes one."""
    given = state_dict(case)
    entry = {**given["state"][i], **changes}
    given["state"][i] = {key: value for key, value in entry.items() if value is not None}
    return given


def without_a_parameter() -> dict[str, Any]:
    given = state_dict("Adam-plain")
    given["param_groups"][0].update(params=[0], param_names=["w"])
    return given


def never_stepped() -> dict[str, Any]:
    given = state_dict("Adam-plain")
    del given["state"][1]
    return given


# What is given, for which transformation, the error, and what it must say.
WRONG: dict[str, tuple[Callable[[], Any], Any, type[Exception], str]] = {
    "missing_parameter": (without_a_parameter, torch.Adam(), ValueError, r"missing: b"),
    "numbers_as_text": (
        lambda: json.loads(json.dumps({**state_dict("Adam-plain"), "state": {0: {}, 1: {}}})),
        torch.Adam(),
        ValueError,
        r"the state has a parameter '0', no param_group has it",
    ),
    "shape": (
        lambda: change("Adam-plain", 1, exp_avg=np.ones((4, 1))),
        torch.Adam(),
        ValueError,
        r"exp_avg of 'b' has shape \(4, 1\), but the leaf there has shape \(4,\)",
    ),
    "kind": (
        lambda: change("Adam-plain", 1, exp_avg=np.ones(4, int)),
        torch.Adam(),
        TypeError,
        r"exp_avg of 'b' is int64, but the leaf there is float32",
    ),
    "complex": (
        lambda: change("Adam-plain", 1, exp_avg_sq=np.full(4, 1 + 1j)),
        torch.Adam(),
        TypeError,
        r"exp_avg_sq of 'b' is complex128, not real",
    ),
    "steps": (
        lambda: change("Adam-plain", 0, step=np.float32(7)),
        torch.Adam(),
        ValueError,
        r"`step` must be the same for all parameters .*, got 8 for 'b', 7 for 'w'",
    ),
    "never_stepped": (
        never_stepped,
        torch.Adam(),
        ValueError,
        r"got 0 for 'b', 8 for 'w'; .*`from_param_groups`",
    ),
    "products": (
        lambda: change("NAdam-plain", 0, mu_product=np.float32(0.5)),
        torch.NAdam(),
        ValueError,
        r"`mu_product` must be the same",
    ),
    "unknown_key": (
        lambda: change("Adam-plain", 0, momentum_buffer=np.ones((3, 2))),
        torch.Adam(),
        ValueError,
        r"state of 'w' .*\n  unexpected: momentum_buffer",
    ),
    "missing_key": (
        lambda: change("Adam-plain", 0, exp_avg_sq=None),
        torch.Adam(),
        ValueError,
        r"state of 'w' .*\n  missing: exp_avg_sq",
    ),
    "no_amsgrad": (
        lambda: state_dict("Adam-plain"),
        torch.Adam(amsgrad=True),
        ValueError,
        r"missing: max_exp_avg_sq",
    ),
    "amsgrad": (
        lambda: state_dict("Adam-amsgrad"),
        torch.Adam(),
        ValueError,
        r"unexpected: max_exp_avg_sq",
    ),
    "adamax": (
        lambda: state_dict("Adamax-plain"),
        torch.Adam(),
        ValueError,
        r"missing: exp_avg_sq\n  unexpected: exp_inf",
    ),
    "corrected_maximum": (
        lambda: state_dict("Adam-amsgrad"),
        adamx.amsgrad(0.1),
        ValueError,
        r"raw second moments; use `scale_by_amsgrad\(raw_maximum=True\)`",
    ),
    "eps_outside": (
        lambda: state_dict("Adamax-plain"),
        adamx.scale_by_adamax(eps_outside=True),
        ValueError,
        r"without `eps_outside`",
    ),
    "not_in_torch": (
        lambda: state_dict("Adam-plain"),
        adamx.yogi(0.1),
        ValueError,
        r"one kind of core that torch has, .*; it has scale_by_yogi",
    ),
    "two_kinds": (
        lambda: state_dict("Adam-plain"),
        adamx.chain(torch.Adam(), torch.Adamax()),
        ValueError,
        r"it has scale_by_adam, scale_by_adamax",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_refused(kind: str) -> None:
    give, tx, error, message = WRONG[kind]
    with pytest.raises(error, match=message):
        from_state_dict(tx, give(), PARAMS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("w",), r"torch has 2 parameters, but there are 1 names: w"),
        (("w", "c"), r"missing: b\n  unexpected: c"),
        (("w", "w"), r"missing: b"),
        (("w", "b", "b"), r"torch has 2 parameters, but there are 3"),
    ],
)
def test_names_must_be_the_paths_of_the_parameters(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_state_dict(torch.Adam(), unnamed(), PARAMS, names)


def test_the_way_back_refuses_another_amsgrad_and_schedules_out_of_step() -> None:
    tx = torch.Adam(adamx.linear_schedule(1.0, 0.0, 9))
    state = from_state_dict(tx, state_dict("Adam-plain"), PARAMS)
    with pytest.raises(ValueError, match="amsgrad=True, but `tx` has False for 'b'"):
        to_state_dict(tx, state, state_dict("Adam-amsgrad"), PARAMS)
    behind = (state[0], state[1]._replace(count=jnp.asarray(3)))
    with pytest.raises(ValueError, match=r"`count` must be the same .* 8 for .* 3 for"):
        to_state_dict(tx, behind, state_dict("Adam-plain"), PARAMS)


SPARSE = np.load(Path(__file__).parents[1] / "golden" / "torch_sparse_adam.npz")
SPARSE_NAMES = ("initial", "indices", "values", "table", "exp_avg", "exp_avg_sq")


@pytest.mark.parametrize("case", ["D5-b2_0.999", "D3-b2_0.95"])
def test_sparse_adam_goes_on_from_torch_s_state_and_back(case: str) -> None:
    """The empty gradient of step 20 is behind; what counts is that torch has counted it."""
    tables = {name: SPARSE[f"{case}-float32/{name}"] for name in SPARSE_NAMES}
    lr, b1, b2 = float(SPARSE["lr"]), float(SPARSE["b1"]), float(case.partition("_")[2])
    tx = torch.SparseAdam(lr, (b1, b2))
    step, middle, start = jax.jit(tx.step), 24, tables["initial"]

    def take(table: jax.Array, state: Any, steps: range) -> tuple[jax.Array, Any]:
        for i in steps:
            rows = adamx.SparseRows(tables["indices"][i], tables["values"][i], num_rows=len(start))
            table, state = step(rows, state, table)
        return table, state

    def close(ours: Any, theirs: np.ndarray) -> None:
        path = np.abs(np.diff(tables["table"], axis=0, prepend=start[None])).sum(axis=0)
        assert (np.abs(np.asarray(ours) - theirs) <= 2e-6 * (np.abs(start) + path)).all()

    def golden(steps: int) -> dict[str, Any]:
        keys = ("exp_avg", "exp_avg_sq")
        entry = {"step": steps, **{key: tables[key][steps - 1] for key in keys}}
        return {"state": {0: entry}, "param_groups": [{"lr": lr, "params": [0]}]}

    table = jnp.asarray(tables["table"][middle - 1])
    moved = from_state_dict(tx, golden(middle), table)
    close(take(table, moved, range(middle, 48))[0], tables["table"][-1])

    table, state = take(jnp.asarray(start), tx.init(jnp.asarray(start)), range(middle))
    close(table, tables["table"][middle - 1])
    back = to_state_dict(tx, state, golden(middle), table)["state"][0]
    for key, value in golden(middle)["state"][0].items():
        np.testing.assert_allclose(back[key], value, rtol=2e-6, atol=2e-6 * np.abs(value).max())


def test_a_table_that_remembers_what_torch_does_not_is_refused() -> None:
    tx = adamx.sparse.adam(0.1, "exact")
    with pytest.raises(ValueError, match="torch has nothing like SparseAdamState"):
        from_state_dict(tx, state_dict("Adam-plain"), PARAMS)


def test_sparse_adam_goes_uphill_too() -> None:
    table = jnp.ones((4, 2))
    rows = adamx.SparseRows(jnp.array([1, 1]), jnp.ones((2, 2)), num_rows=4)
    down, up = torch.SparseAdam(0.1), torch.SparseAdam(0.1, maximize=True)
    moves = [tx.step(rows, tx.init(table), table)[0] - table for tx in (down, up)]
    np.testing.assert_allclose(moves[0], -moves[1], atol=1e-6)
    assert moves[1][1, 0] > 0.09
