"""torchao: AdamW with both moments in blocks of 8 bits."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.base import Memory, Prepared, Unsupported, version
from benchmarks.peers.torch_peer import torch_device, wait_for
from benchmarks.recipes import LEARNING_RATE, WEIGHT_DECAY

NAME = "torchao, moments of 8 bits"
_BLOCK = 256  # Moments of another size it keeps in float32.


def _nbytes(x: Any) -> int:
    """The bytes of a tensor, or of all that one in blocks is made of."""
    inner = getattr(x, "__tensor_flatten__", None)
    if inner is None:
        return int(x.numel() * x.element_size())
    return sum(_nbytes(getattr(x, name)) for name in inner()[0])


def prepare(size: int, seed: int) -> Prepared:
    """One step of one leaf; the first, in which torch compiles it, is taken."""
    if version("torchao") is None:
        raise Unsupported(f"{NAME}: torchao is not installed")
    if size % _BLOCK:
        raise Unsupported(f"{NAME}: {size:,} is no multiple of {_BLOCK}")
    import torch
    from torchao.optim import AdamW8bit

    device = torch_device()
    generator = torch.Generator(device).manual_seed(seed)
    p = torch.nn.Parameter(torch.randn(size, device=device, generator=generator))
    p.grad = 1e-2 * torch.randn(size, device=device, generator=generator)
    optimizer = AdamW8bit([p], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    optimizer.step()
    state = [x for slots in optimizer.state.values() for x in slots.values()]
    kept = sum(_nbytes(x) for x in [p.detach(), *state])
    return Prepared(optimizer.step, wait_for(device), Memory(kept, None))
