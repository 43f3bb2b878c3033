"""Writes torch_adam.npz: trajectories of torch 2.13's Adam family, and a state_dict in mid-run.

    pip install torch==2.13.0 numpy
    python tests/golden/torch_adam.py

Two parameters, `w` [3, 2] and `b` [4], get 16 gradients; every case is named
`<optimizer>-<variant>-<dtype>`, its arguments stand in `arguments` (JSON).

    gradients/<p>                [16, ...]  float32, the same for all cases
    initial/<p>                             float32
    <case>/params/<p>            [16, ...]  after each step
    <case>/state/<p>/<key>                  torch's state after step 8
    <case>/group                            JSON of the one param_group of that state_dict
"""

import json
from pathlib import Path

import numpy as np
import torch

STEPS, MIDDLE = 16, 8
SHAPES = {"w": (3, 2), "b": (4,)}
ARGUMENTS = {
    "Adam-plain": {},
    "Adam-l2": {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    "Adam-l2_maximize": {"lr": 0.05, "weight_decay": 0.1, "maximize": True},
    "Adam-amsgrad": {"lr": 0.05, "betas": (0.9, 0.95), "eps": 1e-2, "amsgrad": True},
    "Adam-decoupled": {"lr": 0.05, "weight_decay": 0.5, "decoupled_weight_decay": True},
    "AdamW-plain": {"lr": 0.05},
    "AdamW-maximize": {"lr": 0.05, "weight_decay": 0.5, "maximize": True},
    "AdamW-amsgrad": {"lr": 0.05, "betas": (0.9, 0.9), "weight_decay": 0.3, "amsgrad": True},
    "NAdam-plain": {"lr": 0.05},
    "NAdam-l2": {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.5, "eps": 1e-3},
    "NAdam-decoupled": {"weight_decay": 0.5, "decoupled_weight_decay": True, "maximize": True},
    "RAdam-plain": {"lr": 0.05, "betas": (0.9, 0.95)},
    "RAdam-l2": {"lr": 0.05, "eps": 1e-2, "weight_decay": 0.1},
    "RAdam-decoupled": {"lr": 0.05, "weight_decay": 0.5, "decoupled_weight_decay": True},
    "Adamax-plain": {"lr": 0.05},
    "Adamax-l2": {"lr": 0.05, "betas": (0.8, 0.7), "weight_decay": 0.1, "eps": 1e-2},
    "Adamax-maximize": {"maximize": True},
}


def data():
    """Initial parameters, and gradients that shrink by five orders of magnitude."""
    rng = np.random.default_rng(20141222)
    initial = {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
    size = np.geomspace(10.0, 1e-4, STEPS)
    gradients = {
        k: (rng.standard_normal((STEPS, *s)) * size.reshape(-1, *[1] * len(s))).astype(np.float32)
        for k, s in SHAPES.items()
    }
    return initial, gradients


def run(case, dtype):
    initial, gradients = data()
    params = {
        k: torch.nn.Parameter(torch.tensor(x, dtype=getattr(torch, dtype)))
        for k, x in initial.items()
    }
    kind = getattr(torch.optim, case.partition("-")[0])
    optimizer = kind(list(params.items()), **ARGUMENTS[case])
    out = {f"params/{k}": [] for k in params}
    for step in range(STEPS):
        for k, p in params.items():
            p.grad = torch.tensor(gradients[k][step], dtype=p.dtype)
        optimizer.step()
        for k, p in params.items():
            out[f"params/{k}"].append(p.detach().numpy().copy())
        if step + 1 == MIDDLE:
            state_dict = optimizer.state_dict()
            names = state_dict["param_groups"][0]["param_names"]
            for i, name in enumerate(names):
                for key, x in state_dict["state"][i].items():
                    out[f"state/{name}/{key}"] = x.numpy().copy()
            out["group"] = json.dumps(state_dict["param_groups"][0])
    return out


if __name__ == "__main__":
    initial, gradients = data()
    golden = {"arguments": json.dumps(ARGUMENTS)}
    golden |= {f"initial/{k}": x for k, x in initial.items()}
    golden |= {f"gradients/{k}": x for k, x in gradients.items()}
    for case in ARGUMENTS:
        for dtype in ("float32", "float64"):
            for name, array in run(case, dtype).items():
                golden[f"{case}-{dtype}/{name}"] = np.asarray(array)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **golden)
