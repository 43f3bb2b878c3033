"""Training in one mode: many steps are one compiled program."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import adamx
from adamx.demo import formats
from adamx.demo.tokens import model
from adamx.demo.tokens.corpus import Corpus
from adamx.demo.tokens.options import Options

# Steps between two moves of the progress bar.
_CHUNK = 20
_TEST_TOKENS = 20_000
MAX_NORM = 1.0
WEIGHT_DECAY = 0.01
EMBEDDINGS = "embed"


class Trained(NamedTuple):
    """The result of training in one mode."""

    mode: str
    tx: adamx.GradientTransformation
    loss: np.ndarray  # float32[steps], before each update, on its batch
    test_loss: float  # of files that were not trained on, with the trained parameters
    step_seconds: float  # the median, without compiling
    parameters: int
    kept: dict[str, int]  # bytes by what they are for, `adamx.kept_bytes`

    @property
    def state_bytes(self) -> int:
        """The bytes of the optimizer's state."""
        return sum(self.kept.values()) - self.kept["params"]

    @property
    def first_bad_step(self) -> int | None:
        """The first step, from 0, whose loss was infinite or not a number."""
        bad = ~np.isfinite(self.loss)
        return int(np.argmax(bad)) if bad.any() else None


def recipe(
    mode: str,
    learning_rate: float,
    steps: int,
    state_format: str = formats.FLOAT32,
    param_format: str = formats.FLOAT32,
) -> adamx.GradientTransformation:
    """AdamW with the embeddings in one of the modes, after clipping."""
    rate = adamx.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps)
    stored = formats.STATE_FORMATS[state_format]
    adamw = adamx.sparse.rows(
        adamx.adamw(rate, weight_decay=WEIGHT_DECAY, state_format=stored), {EMBEDDINGS: mode}
    )
    return formats.with_params(
        param_format, adamx.chain(adamx.clip_by_global_norm(MAX_NORM), adamw)
    )


def places(rng: np.random.Generator, tokens: int, steps: int, batch: int) -> np.ndarray:
    """Which tokens every step predicts: int32[steps, batch]."""
    return rng.integers(model.CONTEXT, tokens, (steps, batch), dtype=np.int32)


def _run(
    tx: adamx.GradientTransformation, params: Any, state: Any, tokens: jax.Array, chosen: jax.Array
) -> tuple[Any, Any, jax.Array]:
    """One update for each row of `chosen`."""
    grad_fn = adamx.sparse.value_and_grad(model.loss, {EMBEDDINGS: model.read_rows})

    def step(carry: tuple[Any, Any], batch: jax.Array) -> tuple[Any, jax.Array]:
        params, state = carry
        loss, grads = grad_fn(params, *model.windows(tokens, batch), state=state)
        return tx.step(grads, state, params), loss

    (params, state), losses = jax.lax.scan(step, (params, state), chosen)
    return params, state, losses


@jax.jit
def _test_loss(params: Any, tokens: jax.Array) -> jax.Array:
    """The loss of evenly spread tokens of the test files."""
    every = max((len(tokens) - model.CONTEXT) // _TEST_TOKENS, 1)
    return model.loss(params, *model.windows(tokens, jnp.arange(model.CONTEXT, len(tokens), every)))


def train(
    mode: str, options: Options, corpus: Corpus, advance: Callable[[int, float], None]
) -> Trained:
    """Trains in one mode; the same options give the same start and the same batches in each.

    Args:
      mode: one of the modes of `adamx.sparse`.
      options: the command line.
      corpus: what to read.
      advance: told the number of steps just made, and the last loss.
    """
    rng = np.random.default_rng(options.seed)
    params = formats.stored(options.param_format, model.init(rng, corpus.vocabulary))
    chosen = places(rng, len(corpus.train), options.steps, options.batch)
    tx = recipe(
        mode,
        options.learning_rate,
        options.steps,
        options.state_format,
        options.param_format,
    )
    state = tx.init(params)
    tokens = jnp.asarray(corpus.train)
    run = jax.jit(functools.partial(_run, tx), donate_argnums=(0, 1))
    programs: dict[int, Any] = {}
    losses, seconds = [], []
    for first in range(0, options.steps, _CHUNK):
        rows = chosen[first : first + _CHUNK]
        if len(rows) not in programs:
            programs[len(rows)] = run.lower(params, state, tokens, rows).compile()
        started = time.perf_counter()
        params, state, loss = programs[len(rows)](params, state, tokens, rows)
        losses.append(np.asarray(loss))
        seconds.append((time.perf_counter() - started) / len(rows))
        advance(len(rows), float(losses[-1][-1]))
    # A table in mode `exact` is behind: this pays what it owes.
    current = jax.jit(adamx.eval_params)(state, params) if mode == "exact" else params
    return Trained(
        mode=mode,
        tx=tx,
        loss=np.concatenate(losses),
        test_loss=float(_test_loss(current, jnp.asarray(corpus.test))),
        step_seconds=float(np.median(seconds)),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        kept=adamx.kept_bytes(tx, params),
    )
