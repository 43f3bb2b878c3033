"""The table in docs/keras.md: no row without a test, no documented name without a row."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from adamx.interop import keras

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests" / "interop").glob("test_keras_*.py"))
PAGES = ("TF 1.x", "TF 2.0", "TF 2.4", "TF 2.8", "DTensor", "Keras 3")

# What the pages document.
COMMON = {"learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad", "name"}
METHODS_V2 = {
    "add_slot",
    "add_weight",
    "apply_gradients",
    "from_config",
    "get_config",
    "get_gradients",
    "get_slot",
    "get_slot_names",
    "get_updates",
    "get_weights",
    "minimize",
    "set_weights",
    "variables",
}
DOCUMENTED = {
    "TF 1.x": {"lr", "beta_1", "beta_2", "epsilon", "decay", "amsgrad", "clipnorm", "clipvalue"}
    | {"get_gradients", "get_updates", "get_config", "from_config", "get_weights", "set_weights"},
    "TF 2.0": COMMON
    | METHODS_V2
    | {"clipnorm", "clipvalue", "lr", "decay", "iterations", "weights", "var_list", "grad_loss"},
    "TF 2.4": {
        "global_clipnorm",
        "gradient_aggregator",
        "gradient_transformers",
        "experimental_aggregate_gradients",
        "tape",
        "iterations",
        "learning_rate",
    },
    "TF 2.8": COMMON
    | {"clipnorm", "clipvalue", "global_clipnorm"}
    | {"apply_gradients", "minimize", "get_weights", "set_weights"},
    "DTensor": COMMON
    | {"gradients_clip_option", "ema_option", "mesh"}
    | {"weight_decay", "clipnorm", "clipvalue", "global_clipnorm"}
    | {"use_ema", "ema_momentum", "ema_overwrite_frequency", "jit_compile"}
    | {"iterations", "variables", "build", "update_step", "minimize", "apply_gradients"}
    | {"add_variable", "add_variable_from_reference", "aggregate_gradients", "compute_gradients"}
    | {"finalize_variable_values", "exclude_from_weight_decay", "get_config", "from_config"},
    "Keras 3": {"Adam", "AdamW", "Nadam", "Adamax", "Lamb", "LossScaleOptimizer"}
    | {"loss_scale_factor", "gradient_accumulation_steps", "get_config", "from_config"},
}
ARGUMENTS = set().union(*DOCUMENTED.values()) & (
    COMMON
    | {"lr", "decay", "clipnorm", "clipvalue", "global_clipnorm", "weight_decay", "use_ema"}
    | {"ema_momentum", "ema_overwrite_frequency", "loss_scale_factor", "mesh", "jit_compile"}
    | {"gradient_accumulation_steps", "gradient_aggregator", "gradient_transformers"}
    | {"gradients_clip_option", "ema_option"}
)
# Written in other words here; the row says how.
ELSEWHERE = {
    "weights",
    "var_list",
    "grad_loss",
    "tape",
    "experimental_aggregate_gradients",
}


def rows() -> list[list[str]]:
    """The cells of every row below the head of the one table."""
    lines = (ROOT / "docs" / "keras.md").read_text().splitlines()
    start = lines.index("| page | documented | here | shown by |") + 2
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in lines[start:]
        if line.startswith("|")
    ]


ROWS = rows()


def names(cell: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`]+)`", cell))


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


TESTS = {file.name: functions_of(file) for file in FILES}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:2]))
def test_every_row_has_tests_that_exist(row: list[str]) -> None:
    page, documented, here, shown = row
    assert page in PAGES
    assert documented
    assert here
    found = names(shown)
    assert found, "a row without a test"
    for name in found:
        file, _, test = name.partition("::")
        assert test.startswith("test_")
        assert test in TESTS[file], f"there is no test {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_documented_name_has_a_row(page: str) -> None:
    found = set().union(*(names(row[1]) for row in ROWS if row[0] == page))
    assert DOCUMENTED[page] <= found


def test_every_documented_name_exists() -> None:
    arguments = set(inspect.signature(keras.Adam).parameters)
    assert arguments >= ARGUMENTS
    functions = set().union(*DOCUMENTED.values()) - ARGUMENTS - ELSEWHERE
    assert functions <= set(keras.__all__)


def test_what_the_rows_call_exists() -> None:
    for row in ROWS:
        for name in re.findall(r"`(?:\w+ = )?keras\.(\w+)", row[2]):
            assert name in keras.__all__


def test_no_row_stands_twice() -> None:
    keys = [(row[0], row[1]) for row in ROWS]
    assert len(set(keys)) == len(keys)


def test_the_first_lines_of_the_page_run() -> None:
    text = (ROOT / "docs" / "keras.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    found: dict[str, Any] = {}
    exec(code, found)
    assert float(found["var1"]) == pytest.approx(9.9, abs=1e-6)
