"""One run from the options to the files: load, train, test, report."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import adamx
from adamx.demo import digits, metrics, network, plot, report, training
from adamx.demo.arguments import make_folder
from adamx.demo.options import PROG, Options, wrong_option
from adamx.demo.recipes import Recipe, recipe
from adamx.demo.result import Result

HIDDEN = (256, 256)


def _check_batch(batch: int, images: int) -> None:
    if batch > images:
        raise wrong_option(
            f"--batch must be at most {images}, the number of training images; got {batch}"
        )


def _size(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def _train_and_test(options: Options, made: Recipe, data: digits.Digits) -> Result:
    images, labels = jnp.asarray(data.train_images), jnp.asarray(data.train_labels)
    sizes = (digits.PIXELS, *HIDDEN, digits.CLASSES)
    rng = np.random.default_rng(options.seed)
    params = network.init(rng, sizes)
    passes = training.batches(rng, len(images), options.batch, options.steps)
    with report.progress(options.optimizer, options.steps) as after_pass:
        trained = training.train(made.tx, params, images, labels, passes, after_pass)

    correct = jax.jit(network.correct)
    averaged = jax.jit(adamx.eval_params)(trained.state, trained.params)
    return Result(
        options=options,
        recipe=made,
        loss=trained.loss,
        gradient_norm=trained.gradient_norm,
        learning_rate=np.asarray(jax.jit(jax.vmap(made.learning_rate))(jnp.arange(options.steps))),
        train_images=len(images),
        test_images=len(data.test_images),
        correct=int(correct(trained.params, data.test_images, data.test_labels)),
        correct_averaged=int(correct(averaged, data.test_images, data.test_labels)),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(trained.params)),
        parameter_bytes=_size(trained.params),
        state_bytes=_size(trained.state),
        compile_seconds=trained.compile_seconds,
        train_seconds=trained.train_seconds,
        device=jax.devices()[0].device_kind,
    )


def run(options: Options) -> int:
    """Trains, writes the files, prints the report, and returns the exit status.

    Raises:
      UsageError: an option that does not fit the data or the disk.
    """
    data = digits.load()
    _check_batch(options.batch, len(data.train_images))
    make_folder(options.output, PROG)
    made = recipe(options.optimizer, options.learning_rate, options.steps)
    result = _train_and_test(options, made, data)
    files = [write(result, options.output) for write in (plot.write, metrics.write)]
    report.show(result, files)
    if result.first_bad_step is not None:
        print(
            f"{PROG}: the loss or its gradient was not finite at step {result.first_bad_step}; "
            "try a smaller --learning-rate",
            file=sys.stderr,
        )
        return 1
    return 0
