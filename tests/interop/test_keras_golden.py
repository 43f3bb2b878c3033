"""Stored runs of TensorFlow's Adam classes: `tests/golden/tensorflow_adam.py` wrote them.

`legacy` is the class of the TF 2.0-2.8 pages, `current` the one behind the DTensor page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.interop import keras
from tests.selection import one_in
from tests.versions import enable_x64

GOLDEN = Path(__file__).parents[1] / "golden"
DENSE = dict(np.load(GOLDEN / "tensorflow_adam.npz"))
SPARSE = dict(np.load(GOLDEN / "tensorflow_sparse.npz"))
CASES: dict[str, dict[str, Any]] = json.loads(str(DENSE["cases"]))
SPARSE_CASES: dict[str, dict[str, Any]] = json.loads(str(SPARSE["cases"]))
VARIABLES = ("w", "b")  # in the order in which TensorFlow got them
STEPS, MIDDLE = 16, 8
TOLERANCE = 2e-6

# What is not compared as it is, and where instead.
RAISES = {case for case in CASES if f"{case}/error" in DENSE}
ODD = {
    "legacy-plain_float16",
    "legacy-small_float16",
    "legacy-plain_bfloat16",
    "legacy-bfloat16",
    "legacy-float16",
    "current-float16",
    "current-bfloat16",
    "current-plain",
    "current-plain_float64",
    "current-callables",
    "current-clipvalue_clipnorm",
}
ORDINARY = sorted(set(CASES) - RAISES - ODD)


def halve(pairs: Any) -> Any:
    return [(0.5 * g, v) for g, v in pairs]


class Clock:
    """The step, for hyperparameters that are functions without arguments."""

    step = 0

    def learning_rate(self) -> float:
        return 0.1 / (1 + self.step)

    def beta_1(self) -> float:
        return 0.5 + 0.02 * self.step

    def beta_2(self) -> float:
        return 0.9 - 0.01 * self.step


def rounded(value: Any) -> Any:
    """TensorFlow keeps the hyperparameters in float32, even for float64 variables."""
    return float(np.float32(value)) if isinstance(value, float) else value


def optimizer(case: str, clock: Clock | None = None, **changes: Any) -> keras.KerasOptimizer:
    """Ours, from the arguments that TensorFlow's got."""
    family = case.partition("-")[0]
    arguments = {**CASES[case], **changes}
    dtype, exclude = arguments.pop("dtype", "float32"), arguments.pop("exclude", None)
    arguments.pop("none", None)
    arguments.pop("scale", None)
    if "schedule" in arguments:
        name, config = arguments.pop("schedule")
        arguments["learning_rate"] = keras.schedule(name, **config)
    if arguments.pop("callables", False):
        assert clock is not None
        arguments["learning_rate"] = clock.learning_rate
        if family == "legacy":
            arguments |= {"beta_1": clock.beta_1, "beta_2": clock.beta_2}
    if arguments.pop("gradient_transformers", False):
        arguments["gradient_transformers"] = [halve]
    if "lr" in arguments:
        arguments.pop("learning_rate")
    if dtype == "float64":
        arguments = {"beta_1": 0.9, "beta_2": 0.999, "learning_rate": 0.001} | arguments
        arguments = {key: rounded(x) for key, x in arguments.items()}
    preset = "legacy" if family == "legacy" else "tensorflow"
    make = keras.AdamW if family == "currentw" else keras.Adam
    if family == "currentw":
        arguments.setdefault("weight_decay", 0.004)
    tx = make(preset=preset, **arguments)
    if exclude is None:
        return tx
    return keras.exclude_from_weight_decay(tx, mask=[k not in exclude for k in VARIABLES])


def gradients(case: str, step: int, dtype: Any) -> list[Any]:
    skip = CASES[case].get("none") and step in (2, 3, 7)
    scale = np.float32(CASES[case].get("scale", 1.0))
    return [
        None if skip and k == "w" else jnp.asarray(scale * DENSE[f"gradients/{k}"][step], dtype)
        for k in VARIABLES
    ]


def run(
    case: str, tx: keras.KerasOptimizer | None = None, stop: int = STEPS, dtype: Any = None
) -> tuple[dict[str, list[Any]], keras.KerasOptimizer, Any, list[Any]]:
    """Our path of every variable, with the optimizer, its state and the last variables."""
    clock = Clock()
    tx = optimizer(case, clock) if tx is None else tx
    dtype = dtype or CASES[case].get("dtype", "float32")
    variables = [jnp.asarray(DENSE[f"initial/{k}"], dtype) for k in VARIABLES]
    state = keras.build(tx, variables)
    path: dict[str, list[Any]] = {k: [] for k in VARIABLES}
    for step in range(stop):
        clock.step = step
        pairs = list(zip(gradients(case, step, dtype), variables, strict=True))
        variables, state = keras.apply_gradients(tx, pairs, state)
        for k, v in zip(VARIABLES, variables, strict=True):
            path[k].append(np.asarray(v, np.float64))
    return path, tx, state, variables


def assert_same(actual: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    """Within `tolerance` of the largest element."""
    expected = np.asarray(expected, np.float64)
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, 0, tolerance * scale)


@pytest.fixture(autouse=True)
def _precision(request: pytest.FixtureRequest) -> Any:
    """float64 variables where the case has them."""
    case = getattr(request.node, "callspec", None)
    wide = case is not None and "float64" in str(case.params.get("case", ""))
    with enable_x64(wide):
        yield


@pytest.mark.parametrize("case", ORDINARY)
def test_the_path_is_that_of_tensorflow(case: str) -> None:
    path, _, state, variables = run(case)
    # Both run in float32; TensorFlow forms 1 - beta**t and the step there by itself.
    tolerance = 1e-14 if "float64" in case else TOLERANCE
    for k in VARIABLES:
        assert_same(path[k], DENSE[f"{case}/{k}"], tolerance)
    assert int(keras.iterations(state)) == STEPS
    if f"{case}/final/w" in DENSE:
        final = keras.finalize_variable_values(state, variables)
        for k, v in zip(VARIABLES, final, strict=True):
            assert_same(v, DENSE[f"{case}/final/{k}"], tolerance)


@pytest.mark.parametrize("case", [case for case in ORDINARY if "callables" not in case])
def test_a_run_goes_on_where_tensorflow_stopped(case: str) -> None:
    """The weights after step 8, in TensorFlow's order, and then our steps."""
    tx = optimizer(case)
    dtype = CASES[case].get("dtype", "float32")
    weights = [
        DENSE[f"{case}/middle/{i}"] for i in range(len(json.loads(str(DENSE[f"{case}/names"]))))
    ]
    variables = [jnp.asarray(DENSE[f"{case}/{k}"][MIDDLE - 1], dtype) for k in VARIABLES]
    state = keras.set_weights(tx, keras.build(tx, variables), weights)
    for given, back in zip(weights, keras.get_weights(tx, state), strict=True):
        np.testing.assert_array_equal(given, back)
    for step in range(MIDDLE, STEPS):
        pairs = list(zip(gradients(case, step, dtype), variables, strict=True))
        variables, state = keras.apply_gradients(tx, pairs, state)
        for k, v in zip(VARIABLES, variables, strict=True):
            assert_same(v, DENSE[f"{case}/{k}"][step])


@pytest.mark.parametrize("case", [c for c in ORDINARY if "callables" not in c and "lr" not in c])
def test_a_configuration_of_tensorflow_is_read(case: str) -> None:
    config = json.loads(str(DENSE[f"{case}/config"]))
    arguments = CASES[case]
    if {"gradient_transformers", "exclude", "adaptive_epsilon"} & set(arguments):
        return  # TensorFlow's configuration does not hold these.
    kind = "AdamW" if case.startswith("currentw") else "Adam"
    tx = keras.from_config(config, kind)
    written = keras.get_config(tx)
    compiled = {} if case.startswith("legacy") else {"jit_compile": False}
    expected = keras.get_config(optimizer(case, name=config["name"], **compiled))
    assert list(expected) == list(written) == list(config)
    for key, x in expected.items():
        if isinstance(x, float):
            # TensorFlow writes numbers as float32 holds them.
            assert np.float32(written[key]) == np.float32(config[key]) == np.float32(x)
            assert len(repr(written[key])) <= len(repr(config[key]))
        elif isinstance(x, dict):
            assert written[key] == config[key]
            assert x["class_name"] == written[key]["class_name"]
            assert x["config"].items() <= written[key]["config"].items()
        else:
            assert written[key] == config[key] == x


@pytest.mark.parametrize("case", sorted(RAISES))
def test_what_tensorflow_refuses(case: str) -> None:
    if case == "current-decay":
        # Only its current class refuses `decay`; here every preset takes it.
        assert "decay is deprecated" in str(DENSE[f"{case}/error"])
        return
    with pytest.raises(ValueError, match="clip"):
        optimizer(case)


def test_two_clips_where_tensorflow_forgets_one() -> None:
    """Its current class takes `clipvalue` together with `clipnorm`, and then ignores the value."""
    np.testing.assert_array_equal(
        DENSE["current-clipvalue_clipnorm/w"], DENSE["current-clipnorm/w"]
    )
    with pytest.raises(ValueError, match="only one of"):
        optimizer("current-clipvalue_clipnorm")


def test_the_default_betas_in_the_current_class() -> None:
    """It raises the float32-rounded beta to a power, but takes `1 - beta` from the exact one.

    Their product is off by up to 6.5e-6 of every step: 1 - 0.999 is 0.001, but 1 minus the
    float32 number nearest to 0.999 is 0.00099998713.  Ours is the exact one, so that the paths
    part; the same run with both from the rounded beta, or from the exact one, is the same run.
    """
    path, *_ = run("current-plain")
    exact, *_ = run("legacy-plain")
    for k in VARIABLES:
        assert_same(path[k], exact[k], 1e-9)
        assert_same(path[k], DENSE[f"legacy-plain/{k}"])  # which is consistent with itself
        moved = np.abs(path[k] - DENSE[f"initial/{k}"])
        off = np.abs(path[k] - DENSE[f"current-plain/{k}"].astype(np.float64))
        assert np.all(off <= 7e-6 * np.maximum(moved, 0.016) + 1.2e-7 * 3)


@pytest.mark.parametrize("case", ["current-plain_float64"])
def test_the_default_betas_in_the_current_class_in_float64(case: str) -> None:
    """The same in float64, where nothing hides it: the rounded power with the exact rest."""
    path, *_ = run(case)
    b1, b2 = float(np.float32(0.9)), float(np.float32(0.999))
    for k in VARIABLES:
        off = np.abs(np.asarray(path[k]) - DENSE[f"{case}/{k}"]).max()
        assert 1e-9 < off < 2e-7
        p, m, v = np.asarray(DENSE[f"initial/{k}"], np.float64), 0.0, 0.0
        for t, g in enumerate(DENSE[f"gradients/{k}"].astype(np.float64), 1):
            m, v = m + (g - m) * (1 - 0.9), v + (g * g - v) * (1 - 0.999)
            alpha = float(np.float32(0.001)) * np.sqrt(1 - b2**t) / (1 - b1**t)
            p = p - alpha * m / (np.sqrt(v) + 1e-7)
            # 1e-8: they also round the epsilon, and the rest of the betas on the way.
            assert_same(p, DENSE[f"{case}/{k}"][t - 1], 1e-8)


def test_bfloat16_variables_do_not_move_in_tensorflow() -> None:
    """It rounds beta_2 = 0.999 to 1 in the variables' dtype; ours are within roundings of exact."""
    still = DENSE["legacy-plain_bfloat16/w"]
    np.testing.assert_array_equal(still, np.broadcast_to(still[0], still.shape))
    ours, *_ = run("legacy-plain_bfloat16")
    exact, *_ = run("legacy-plain_bfloat16", dtype="float32")
    assert np.abs(np.asarray(ours["w"]) - exact["w"]).max() < 0.03


def test_float16_variables_jump_in_tensorflow() -> None:
    """Their v of small gradients is 0, and m is divided by epsilon alone; ours is float32."""
    ours, *_ = run("legacy-small_float16")
    exact, *_ = run("legacy-small_float16", dtype="float32")
    theirs = DENSE["legacy-small_float16/w"].astype(np.float64)
    assert np.abs(np.asarray(ours["w"]) - exact["w"]).max() < 4e-3
    assert not np.abs(theirs - exact["w"]).max() < 1.0


@pytest.mark.parametrize(
    "case", ["legacy-plain_float16", "legacy-float16", "current-float16", "legacy-bfloat16"]
)
def test_low_precision_with_betas_that_it_holds(case: str) -> None:
    """Ours is as near to the float32 path as theirs, and theirs is near where it stays finite.

    On average: both round to nearest, so that single elements fall to either side.
    """
    ours, *_ = run(case)
    exact, *_ = run(case, dtype="float32")
    spacing = 2**-10 if "bfloat16" not in case else 2**-7
    for k in VARIABLES:
        off = np.abs(np.asarray(ours[k]) - exact[k])
        assert off.max() < 4 * spacing
        assert (
            off.mean() <= 1.01 * np.abs(DENSE[f"{case}/{k}"].astype(np.float64) - exact[k]).mean()
        )


def test_a_callable_that_the_current_class_freezes() -> None:
    """Its page promises to call it; it does so once, when the optimizer is made."""
    frozen, *_ = run(
        "current-callables",
        optimizer("current-callables", Clock(), callables=False, learning_rate=0.1),
    )
    read, *_ = run("current-callables")
    for k in VARIABLES:
        assert_same(frozen[k], DENSE[f"current-callables/{k}"])
        assert np.abs(np.asarray(read[k]) - frozen[k]).max() > 0.1


# Sparse gradients.


def sparse_rows(t: int) -> adamx.SparseRows:
    """Those of step t, padded to one number unless there are none: two programs for all steps."""
    ids, values = SPARSE[f"slices/{t}/indices"], SPARSE[f"slices/{t}/values"]
    missing = 6 - len(ids) if len(ids) else 0
    ids = np.pad(ids, (0, missing), constant_values=-1)
    values = np.pad(values, ((0, missing), (0, 0)))
    return adamx.SparseRows(jnp.asarray(ids), jnp.asarray(values), int(SPARSE["num_rows"]))


def sparse_run(case: str, as_rows: bool) -> dict[str, list[Any]]:
    """Our path of every variable."""
    tx = optimizer_of_sparse(case)
    variables = {k: jnp.asarray(SPARSE[f"initial/{k}"]) for k in VARIABLES}
    state = tx.init(variables)
    path: dict[str, list[Any]] = {k: [] for k in VARIABLES}
    for t in range(STEPS):
        rows = sparse_rows(t) if as_rows else jnp.asarray(SPARSE["dense"][t])
        grads = {"w": rows, "b": jnp.asarray(SPARSE["gradients/b"][t])}
        variables, state = keras.apply_gradients(tx, grads, state, variables)
        for k in VARIABLES:
            path[k].append(np.asarray(variables[k]))
    return path


def optimizer_of_sparse(case: str) -> keras.KerasOptimizer:
    arguments = SPARSE_CASES[case]
    preset = "legacy" if case.startswith("legacy") else "tensorflow"
    return keras.Adam(preset=preset, **arguments)


def test_the_slices_are_awkward() -> None:
    numbers = [SPARSE[f"slices/{t}/indices"] for t in range(STEPS)]
    assert [len(ids) for ids in numbers].count(0) == 2
    assert sum(len(ids) > len(set(ids.tolist())) for ids in numbers) >= 5
    for t, ids in enumerate(numbers):
        dense = np.zeros_like(SPARSE["dense"][t])
        np.add.at(dense, ids, SPARSE[f"slices/{t}/values"])
        np.testing.assert_array_equal(dense, SPARSE["dense"][t])


@pytest.mark.parametrize(
    "as_rows",
    one_in(2, [True, False], "one case more of what a quicker test shows"),
    ids=["rows", "dense"],
)
@pytest.mark.parametrize("case", [c for c in SPARSE_CASES if "clip" not in c])
def test_slices_are_equivalent_to_dense_gradients(case: str, as_rows: bool) -> None:
    """Repeated rows are summed before they are squared; no slices at all are a step, too."""
    path = sparse_run(case, as_rows)
    for k in VARIABLES:
        assert_same(path[k], SPARSE[f"{case}/{k}"])


@pytest.mark.parametrize("case", [c for c in SPARSE_CASES if "clip" in c])
def test_tensorflow_clips_slices_before_it_sums_them(case: str) -> None:
    """Two slices of one row are clipped one by one; ours are summed first, as in a dense gradient.

    So the paths part where a row is repeated, and nowhere before.
    """
    rows, dense = sparse_run(case, as_rows=True), sparse_run(case, as_rows=False)
    assert_same(rows["w"], dense["w"])
    first = next(
        t for t in range(STEPS) if np.abs(dense["w"][t] - SPARSE[f"{case}/w"][t]).max() > 1e-5
    )
    ids = SPARSE[f"slices/{first}/indices"]
    assert len(ids) > len(set(ids.tolist()))
