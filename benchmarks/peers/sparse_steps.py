"""One step of an embedding table, in every way the libraries have."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import adamx
from benchmarks.peers.base import Memory, Prepared
from benchmarks.peers.jax_peer import compile_step, draw, prepared
from benchmarks.peers.torch_peer import torch_device, wait_for
from benchmarks.recipes import LEARNING_RATE
from benchmarks.skewed_rows import Table

MODES = ("lazy", "exact", "rowwise")


def _struct(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype("float32"))


def _gradient(table: Table, seed: int) -> Any:
    values = draw(_struct(table.ids, table.width), seed, 1e-2)
    return adamx.SparseRows(jnp.asarray(table.draw(seed)), values, table.rows)


def _prepare(tx: Any, step: Any, table: Table, gradient: Any, seed: int) -> Prepared:
    weights = draw(_struct(table.rows, table.width), seed + 1, 1.0)
    state = jax.jit(tx.init)(weights)
    compiled = compile_step(step, weights, state, gradient)
    return prepared(step, compiled, weights, state, gradient)


def adamx_step(mode: str, table: Table, seed: int) -> Prepared:
    """adamx in one of its modes, from `SparseRows`."""
    tx = adamx.sparse.adam(LEARNING_RATE, mode)

    def step(weights: Any, state: Any, gradient: Any) -> tuple[Any, Any]:
        return tx.step(gradient, state, weights)

    return _prepare(tx, step, table, _gradient(table, seed), seed)


def optax_dense_step(table: Table, seed: int) -> Prepared:
    """optax with the dense gradient, which is given: making it is not counted."""
    import optax

    tx = optax.adam(LEARNING_RATE)

    def step(weights: Any, state: Any, gradient: Any) -> tuple[Any, Any]:
        updates, state = tx.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state

    return _prepare(
        tx, step, table, jax.jit(adamx.SparseRows.to_dense)(_gradient(table, seed)), seed
    )


def torch_sparse_step(table: Table, seed: int) -> Prepared:
    """`torch.optim.SparseAdam`, which sums repeated rows itself."""
    import torch

    device = torch_device()
    generator = torch.Generator(device).manual_seed(seed)
    weights = torch.nn.Parameter(
        torch.randn(table.rows, table.width, device=device, generator=generator)
    )
    ids = torch.from_numpy(table.draw(seed)).long().to(device)
    values = 1e-2 * torch.randn(table.ids, table.width, device=device, generator=generator)
    weights.grad = torch.sparse_coo_tensor(
        ids[None], values, weights.shape, device=device, check_invariants=True
    )
    optimizer = torch.optim.SparseAdam([weights], lr=LEARNING_RATE)
    memory = Memory(3 * weights.numel() * weights.element_size(), None)
    return Prepared(optimizer.step, wait_for(device), memory)
