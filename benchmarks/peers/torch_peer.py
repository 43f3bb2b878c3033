"""PyTorch: `torch.optim.AdamW`, fused or foreach, with the tools its documentation names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from benchmarks import recipes
from benchmarks.cores import cores
from benchmarks.models import Model
from benchmarks.peers.base import Compiled, Memory, Prepared, Unsupported
from benchmarks.recipes import EMA, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, Recipe

CLIPPING = (recipes.CLIPPED, recipes.AVERAGED, recipes.GUARDED)
AVERAGING = (recipes.AVERAGED, recipes.GUARDED)


def torch_device() -> Any:
    """The kind of device that JAX runs on, with as many threads as there are cores."""
    import torch

    torch.set_num_threads(cores())
    if jax.default_backend() == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Unsupported("torch: this build does not see the accelerator")
    return torch.device("cuda")


def wait_for(device: Any) -> Callable[[], object]:
    """Returns when a device has nothing more to do."""
    import torch

    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


class Torch:
    """One implementation of its AdamW."""

    package = "torch"

    def __init__(self, implementation: str) -> None:
        self.name = f"torch {implementation}"
        self._option = {implementation: True}

    def compile(self, recipe: Recipe, model: Model) -> Compiled:
        raise Unsupported(f"{self.name}: compiles nothing")

    def prepare(self, recipe: Recipe, model: Model, seed: int) -> Prepared:
        if recipe.dtype != "float32" or recipe in (recipes.MU_BFLOAT16, recipes.BOTH_BFLOAT16):
            raise Unsupported(f"torch: no {recipe.name}")
        import torch
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        device = torch_device()
        generator = torch.Generator(device).manual_seed(seed)
        params = []
        for leaf in jax.tree.leaves(model.leaves):
            p = torch.randn(*leaf.shape, device=device, generator=generator)
            params.append(torch.nn.Parameter(p))
            params[-1].grad = 1e-2 * torch.randn(*leaf.shape, device=device, generator=generator)
        optimizer = torch.optim.AdamW(
            params, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, **self._option
        )
        averages = [p.detach().clone() for p in params] if recipe in AVERAGING else []
        average = get_ema_multi_avg_fn(EMA)

        def step() -> None:
            if recipe in CLIPPING:
                norm = torch.nn.utils.clip_grad_norm_(params, MAX_NORM)
                if recipe == recipes.GUARDED and not bool(torch.isfinite(norm)):
                    return
            optimizer.step()
            if averages:
                average(averages, [p.detach() for p in params], 1)

        step()  # Its state is made by the first step.
        state = [x for slots in optimizer.state.values() for x in slots.values()]
        persistent = sum(x.numel() * x.element_size() for x in [*params, *averages, *state])
        return Prepared(step, wait_for(device), Memory(persistent, None))
