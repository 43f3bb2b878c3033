"""The training loop: every pass over the data is one compiled program."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

import adamx
from adamx.demo import network

Epoch: TypeAlias = Callable[..., Any]  # the compiled `epoch`, without its `tx`


class Trained(NamedTuple):
    """How far a run has come, and what it leaves behind."""

    params: network.Params
    state: Any
    loss: np.ndarray  # float32[steps], before each update, on its batch
    gradient_norm: np.ndarray  # float32[steps], before clipping
    compile_seconds: float
    train_seconds: float  # without compiling

    @property
    def step(self) -> int:
        """How many updates were made."""
        return len(self.loss)


def start(params: network.Params, state: Any) -> Trained:
    """A run that has not made a step."""
    nothing = np.zeros(0, np.float32)
    return Trained(params, state, nothing, nothing, 0.0, 0.0)


def batches(rng: np.random.Generator, images: int, batch: int, steps: int) -> Iterator[np.ndarray]:
    """The rows of the images in every batch, pass by pass: int32[steps of this pass, batch].

    Each pass takes the images in a new order and leaves out the last few that fill no batch.
    """
    per_pass = images // batch
    for first in range(0, steps, per_pass):
        rows = rng.permutation(images)[: per_pass * batch].astype(np.int32)
        yield rows.reshape(per_pass, batch)[: steps - first]


def segments(
    passes: Iterable[np.ndarray], every: int | None, done: int = 0
) -> Iterator[np.ndarray]:
    """The passes, cut also at every multiple of `every` steps, without the first `done` steps.

    What is left of a run is cut where the whole run is, so that it is made of the same programs.
    """
    step = 0
    for rows in passes:
        stops = set() if every is None else {*range(every - step % every, len(rows), every)}
        for first, last in itertools.pairwise([0, *sorted(stops), len(rows)]):
            if step + first >= done:
                yield rows[first:last]
        step += len(rows)


def epoch(
    tx: adamx.GradientTransformation,
    params: network.Params,
    state: Any,
    images: jax.Array,
    labels: jax.Array,
    rows: jax.Array,
    shardings: Any,
) -> tuple[network.Params, Any, jax.Array, jax.Array]:
    """One update for each row of `rows`; also returns the losses and the norms of the gradients.

    Parameters and state are kept where `shardings` has them, also between the steps.
    """

    def step(carry: tuple[Any, Any], batch: jax.Array) -> tuple[Any, Any]:
        params, state = carry
        loss, grads = jax.value_and_grad(network.loss)(params, images[batch], labels[batch])
        stepped = tx.step(grads, state, params)
        kept = jax.lax.with_sharding_constraint(stepped, shardings)
        return kept, (loss, adamx.global_norm(grads))

    (params, state), (losses, norms) = jax.lax.scan(step, (params, state), rows)
    return params, state, losses, norms


def _compile(tx: adamx.GradientTransformation, *arguments: Any) -> Epoch:
    """`epoch` as a program that updates parameters and state in place, where they are."""
    shardings = jax.tree.map(lambda x: x.sharding, arguments[:2])
    program = jax.jit(
        functools.partial(epoch, tx, shardings=shardings),
        donate_argnums=(0, 1),
        # Losses and norms are on every device, as the parameters are.
        out_shardings=(*shardings, *jax.tree.leaves(shardings[0])[:1] * 2),
    )
    return program.lower(*arguments).compile()


def train(
    tx: adamx.GradientTransformation,
    begun: Trained,
    images: jax.Array,
    labels: jax.Array,
    passes: Iterable[Any],
    after_pass: Callable[[Trained], None],
) -> Trained:
    """Goes on with a run on the batches of `passes`.

    Args:
      tx: any optimizer.
      begun: where to start; the buffers of parameters and state are given away.
      images, labels: float32[n, pixels] and int32[n], placed where the training is to run.
      passes: rows of `images`, int32[steps of the pass, batch] each, placed as the batches are.
      after_pass: told after every pass how far the run has come; the next pass updates the arrays
        in place.
    """
    programs: dict[int, Epoch] = {}
    now = begun
    for rows in passes:
        started = time.perf_counter()
        # A last pass that is shorter than the others is one more program.
        if len(rows) not in programs:
            programs[len(rows)] = _compile(tx, now.params, now.state, images, labels, rows)
        compiled = time.perf_counter()
        params, state, loss, norm = programs[len(rows)](now.params, now.state, images, labels, rows)
        now = Trained(
            params=params,
            state=state,
            loss=np.concatenate([now.loss, loss]),
            gradient_norm=np.concatenate([now.gradient_norm, norm]),
            compile_seconds=now.compile_seconds + compiled - started,
            train_seconds=now.train_seconds + time.perf_counter() - compiled,
        )
        after_pass(now)
    return now
