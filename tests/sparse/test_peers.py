"""The modes beside the libraries whose they are, through stored golden values.

torch and TensorFlow place epsilon beside the uncorrected root: `eps_hat`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx import SparseRows
from tests.contract.support import precision

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def torch() -> Iterator[Any]:
    with np.load(GOLDEN / "torch_sparse_adam.npz") as golden:
        yield dict(golden)


TORCH = [
    f"D{columns}-b2_{b2}-{dtype}"
    for columns, b2, dtype in (
        (5, 0.999, "float32"),
        (5, 0.95, "float32"),
        (3, 0.999, "float32"),
        (3, 0.95, "float32"),
        (5, 0.999, "float64"),
        (3, 0.95, "float64"),
    )
]


@pytest.mark.parametrize("case", TORCH)
def test_lazy_is_torch_sparse_adam(case: str, torch: dict[str, Any]) -> None:
    """48 steps of skewed, uncoalesced gradients, an empty one among them."""
    numbers = {name: float(torch[name]) for name in ("b1", "eps")}
    dtype = case.rpartition("-")[2]
    with precision(dtype):
        tx = adamx.sparse.adam(
            float(torch["lr"]),
            "lazy",
            b2=float(case.split("_")[1].split("-")[0]),
            eps_hat=True,
            **numbers,
        )
        table = jnp.asarray(torch[f"{case}/initial"], dtype)
        state, step = tx.init(table), jax.jit(tx.step)
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        for t, (ids, values) in enumerate(
            zip(torch[f"{case}/indices"], torch[f"{case}/values"], strict=True)
        ):
            grads = SparseRows(ids, jnp.asarray(values, dtype), len(table))
            table, state = step(grads, state, table)
            moments = {"table": table, "exp_avg": state.mu, "exp_avg_sq": state.nu}
            for name, got in moments.items():
                wanted = torch[f"{case}/{name}"][t]
                scale = max(1.0, np.abs(wanted).max())
                np.testing.assert_allclose(
                    got, wanted, rtol=0, atol=tolerance * scale, err_msg=f"{name}, step {t}"
                )


@pytest.mark.parametrize("case", ["legacy-plain", "current-plain", "current-weight_decay"])
@pytest.mark.parametrize("mode", ["dense", "exact"])
def test_dense_is_tensorflow_adam_on_indexed_slices(case: str, mode: str) -> None:
    """16 steps with repeated indices, two without any; a dense variable beside the table.

    `exact` as well, when it has paid what it owes.
    """
    with np.load(GOLDEN / "tensorflow_sparse.npz") as golden:
        given = json.loads(str(golden["cases"]))[case]
        tx = adamx.sparse.adamw(
            given["learning_rate"],
            {"w": mode},
            given["beta_1"],
            given["beta_2"],
            eps=1e-7,
            weight_decay=given.get("weight_decay", 0.0),
            eps_hat=True,
        )
        params = {name: jnp.asarray(golden[f"initial/{name}"]) for name in ("b", "w")}
        state, step, read_all = tx.init(params), jax.jit(tx.step), jax.jit(adamx.eval_params)
        for t in range(len(golden["gradients/b"])):
            indices, values = (golden[f"slices/{t}/{part}"] for part in ("indices", "values"))
            # Padded, so that one program takes them all.
            missing = 12 - len(indices)
            indices = np.pad(indices, (0, missing), constant_values=-1)
            values = np.pad(values, [(0, missing), (0, 0)], constant_values=np.nan)
            rows = SparseRows(indices, values, int(golden["num_rows"]))
            grads = {"b": jnp.asarray(golden["gradients/b"][t]), "w": rows}
            params, state = step(grads, state, params)
            read = read_all(state, params)
            for name in ("b", "w"):
                np.testing.assert_allclose(read[name], golden[f"{case}/{name}"][t], atol=2e-6)
