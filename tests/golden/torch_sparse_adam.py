"""Writes torch_sparse_adam.npz: torch 2.13's `SparseAdam`, step by step, float32 and float64.

    pip install torch==2.13.0 numpy
    python tests/golden/torch_sparse_adam.py

A table of 17 rows gets 48 gradients whose rows are skewed (low ids are frequent), repeated and
not coalesced; step 20 has no rows at all.  For every case, named `D<columns>-b2_<b2>-<dtype>`:

    <case>/initial     [17, D]       the table before the first step
    <case>/indices     [48, 12]      row ids of each step, padded with -1
    <case>/values      [48, 12, D]   rows of each step, 0 where the id is -1
    <case>/table       [48, 17, D]   the table after each step
    <case>/exp_avg     [48, 17, D]   first moment after each step
    <case>/exp_avg_sq  [48, 17, D]   second moment after each step

and once `lr`, `b1`, `eps`, `empty_step` (0-based).  torch counts the empty step: every later bias
correction is one step further on.
"""

from pathlib import Path

import numpy as np
import torch

ROWS, STEPS, MOST, EMPTY_STEP = 17, 48, 12, 20
LR, B1, EPS = 0.05, 0.9, 1e-8
CASES = [
    (5, 0.999, "float32"),
    (5, 0.95, "float32"),
    (3, 0.999, "float32"),
    (3, 0.95, "float32"),
    (5, 0.999, "float64"),
    (3, 0.95, "float64"),
]


def gradients(columns):
    """Ids and rows of every step, float32; the last id of the table is drawn rarely."""
    rng = np.random.default_rng(20260717)
    probabilities = 1.0 / np.arange(1, ROWS + 1) ** 1.2
    probabilities /= probabilities.sum()
    indices = np.full((STEPS, MOST), -1, np.int64)
    values = np.zeros((STEPS, MOST, columns), np.float32)
    for step in range(STEPS):
        n = 0 if step == EMPTY_STEP else int(rng.integers(1, MOST + 1))
        indices[step, :n] = rng.choice(ROWS, size=n, p=probabilities)
        values[step, :n] = rng.standard_normal((n, columns)) * 10 ** rng.uniform(-3, 1, (n, 1))
    return indices, values


def run(columns, b2, dtype):
    indices, values = gradients(columns)
    initial = np.random.default_rng(1).standard_normal((ROWS, columns)).astype(np.float32)
    table = torch.nn.Parameter(torch.tensor(initial, dtype=getattr(torch, dtype)))
    optimizer = torch.optim.SparseAdam([table], lr=LR, betas=(B1, b2), eps=EPS)
    after = {"table": [], "exp_avg": [], "exp_avg_sq": []}
    for ids, rows in zip(indices, values, strict=True):
        n = int((ids >= 0).sum())
        table.grad = torch.sparse_coo_tensor(
            torch.tensor(ids[None, :n]),
            torch.tensor(rows[:n], dtype=table.dtype),
            (ROWS, columns),
            check_invariants=True,
        )
        assert n < 2 or not table.grad.is_coalesced()
        optimizer.step()
        state = optimizer.state[table]
        after["table"].append(table.detach().numpy().copy())
        after["exp_avg"].append(state["exp_avg"].numpy().copy())
        after["exp_avg_sq"].append(state["exp_avg_sq"].numpy().copy())
    assert int(state["step"]) == STEPS
    trajectory = {name: np.stack(steps) for name, steps in after.items()}
    return {"initial": initial, "indices": indices, "values": values, **trajectory}


if __name__ == "__main__":
    golden = {"lr": LR, "b1": B1, "eps": EPS, "empty_step": EMPTY_STEP}
    for columns, b2, dtype in CASES:
        for name, array in run(columns, b2, dtype).items():
            golden[f"D{columns}-b2_{b2}-{dtype}/{name}"] = array
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)
