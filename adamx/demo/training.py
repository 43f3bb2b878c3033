"""The training loop: every pass over the data is one compiled program."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

import adamx
from adamx.demo import network

Epoch: TypeAlias = Callable[..., Any]  # the compiled `epoch`, without its `tx`


class Trained(NamedTuple):
    """What a run leaves behind."""

    params: network.Params
    state: Any
    loss: np.ndarray  # float32[steps], before each update, on its batch
    gradient_norm: np.ndarray  # float32[steps], before clipping
    compile_seconds: float
    train_seconds: float  # without compiling


def batches(rng: np.random.Generator, images: int, batch: int, steps: int) -> Iterator[np.ndarray]:
    """The rows of the images in every batch, pass by pass: int32[steps of this pass, batch].

    Each pass takes the images in a new order and leaves out the last few that fill no batch.
    """
    per_pass = images // batch
    for first in range(0, steps, per_pass):
        rows = rng.permutation(images)[: per_pass * batch].astype(np.int32)
        yield rows.reshape(per_pass, batch)[: steps - first]


def epoch(
    tx: adamx.GradientTransformation,
    params: network.Params,
    state: Any,
    images: jax.Array,
    labels: jax.Array,
    rows: jax.Array,
) -> tuple[network.Params, Any, jax.Array, jax.Array]:
    """One update for each row of `rows`; also returns the losses and the norms of the gradients."""

    def step(carry: tuple[Any, Any], batch: jax.Array) -> tuple[Any, Any]:
        params, state = carry
        loss, grads = jax.value_and_grad(network.loss)(params, images[batch], labels[batch])
        return tx.step(grads, state, params), (loss, adamx.global_norm(grads))

    (params, state), (losses, norms) = jax.lax.scan(step, (params, state), rows)
    return params, state, losses, norms


def _compile(tx: adamx.GradientTransformation, *arguments: Any) -> Epoch:
    """`epoch` as a program that updates parameters and state in place."""
    return jax.jit(functools.partial(epoch, tx), donate_argnums=(0, 1)).lower(*arguments).compile()


def train(
    tx: adamx.GradientTransformation,
    params: network.Params,
    images: jax.Array,
    labels: jax.Array,
    passes: Iterable[np.ndarray],
    after_pass: Callable[[int, float], None],
) -> Trained:
    """Trains `params` on the batches of `passes`.

    Args:
      tx: any optimizer.
      params: where to start; their buffers are given away.
      images, labels: float32[n, pixels] and int32[n], placed where the training is to run.
      passes: rows of `images`, int32[steps of the pass, batch] each.
      after_pass: told the number of steps of each finished pass, and its last loss.
    """
    state = tx.init(params)
    programs: dict[int, Epoch] = {}
    losses, norms = [], []
    compile_seconds = train_seconds = 0.0
    for rows in passes:
        started = time.perf_counter()
        # A last pass that is shorter than the others is one more program.
        if len(rows) not in programs:
            programs[len(rows)] = _compile(tx, params, state, images, labels, rows)
        compiled = time.perf_counter()
        params, state, loss, norm = programs[len(rows)](params, state, images, labels, rows)
        losses.append(np.asarray(loss))
        norms.append(np.asarray(norm))
        compile_seconds += compiled - started
        train_seconds += time.perf_counter() - compiled
        after_pass(len(rows), float(losses[-1][-1]))
    return Trained(
        params=params,
        state=state,
        loss=np.concatenate(losses),
        gradient_norm=np.concatenate(norms),
        compile_seconds=compile_seconds,
        train_seconds=train_seconds,
    )
