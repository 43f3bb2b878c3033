"""Learning with fewer bits: the losses of the two demos, over seeds."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import adamx
from adamx.demo import digits, formats, network, recipes, training
from adamx.demo.run import HIDDEN
from adamx.demo.tokens import corpus as tokens_corpus
from adamx.demo.tokens import model
from adamx.demo.tokens import training as tokens_training
from adamx.demo.tokens.options import Options as TokensOptions
from benchmarks.formats import FLOAT32, FORMATS, Stored
from benchmarks.rows import Row

_SUITE = "precision"
_NAME = "adamw"
_BATCH = 128
_SIZES = (digits.PIXELS, *HIDDEN, digits.CLASSES)
_VOCABULARY = 4096
NEAREST = "parameters bfloat16, to nearest"


def _steps(
    tx: adamx.GradientTransformation, params: Any, state: Any, data: Any, rows: jax.Array
) -> Any:
    images, labels = data

    def step(carry: Any, batch: jax.Array) -> Any:
        params, state = carry
        grads = jax.grad(network.loss)(params, images[batch], labels[batch])
        return tx.step(grads, state, params), None

    return jax.lax.scan(step, (params, state), rows)[0]


def digits_losses(
    tx: adamx.GradientTransformation, param_format: str, seeds: Sequence[int], steps: int
) -> list[float]:
    """The loss of the test images after training, for every seed."""
    data = digits.load()
    train, test = (
        (jnp.asarray(images), jnp.asarray(labels))
        for images, labels in (
            (data.train_images, data.train_labels),
            (data.test_images, data.test_labels),
        )
    )
    program = jax.jit(functools.partial(_steps, tx), donate_argnums=(0, 1))
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        params = formats.stored(param_format, network.init(rng, _SIZES))
        state = tx.init(params)
        for rows in training.batches(rng, len(data.train_images), _BATCH, steps):
            params, state = program(params, state, train, rows)
        found.append(float(network.loss(params, *test)))
    return found


def _size(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _rows(shape: str, size: int, case: str, losses: Mapping[str, Sequence[float]]) -> list[Row]:
    """The mean over the seeds, half of their range, and how far the mean is from float32."""

    def extra(of_seeds: Sequence[float]) -> dict[str, float]:
        return {
            "test loss": float(np.mean(of_seeds)),
            "± half of the range": (max(of_seeds) - min(of_seeds)) / 2,
            "above float32": float(np.mean(of_seeds) - np.mean(losses[FLOAT32.name])),
        }

    return [
        Row(suite=_SUITE, shape=shape, size=size, case=case, peer=name, extra=extra(of_seeds))
        for name, of_seeds in losses.items()
    ]


def on_digits(seeds: int, steps: int) -> list[Row]:
    """The digits of `python -m adamx`, in every format; also rounded to nearest, which fails."""
    rate = recipes.CHOICES[_NAME].learning_rate
    wide = recipes.recipe(_NAME, rate, steps).tx
    runs = {
        one.name: (recipes.recipe(_NAME, rate, steps, *one).tx, one.parameters) for one in FORMATS
    }
    runs[NEAREST] = (wide, "bfloat16")
    losses = {name: digits_losses(*run, range(seeds), steps) for name, run in runs.items()}
    shape = f"digits, {steps:,} steps, {seeds} seeds"
    size = _size(network.init(np.random.default_rng(0), _SIZES))
    return _rows(shape, size, "clip + adamw + ema", losses)


def on_tokens(seeds: int, steps: int) -> list[Row]:
    """The text of `python -m adamx tokens`, dense, with a smaller table."""
    read = tokens_corpus.load(_VOCABULARY)

    def losses(one: Stored) -> list[float]:
        return [
            tokens_training.train(
                "dense",
                TokensOptions(
                    mode="dense",
                    vocabulary=_VOCABULARY,
                    steps=steps,
                    seed=seed,
                    state_format=one.moments,
                    param_format=one.parameters,
                ),
                read,
                lambda done, loss: None,
            ).test_loss
            for seed in range(seeds)
        ]

    shape = f"tokens, {steps:,} steps, {seeds} seeds"
    size = _size(model.init(np.random.default_rng(0), read.vocabulary))
    return _rows(shape, size, "clip + adamw", {one.name: losses(one) for one in FORMATS})
