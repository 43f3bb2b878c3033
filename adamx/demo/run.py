"""One run from the options to the files: load, train, test, report."""

from __future__ import annotations

import contextlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

import adamx
from adamx.demo import digits, formats, metrics, network, plot, processes, report, training
from adamx.demo.checkpoints import Checkpoints
from adamx.demo.devices import Placement, bytes_on_one, is_first, join, placement, put
from adamx.demo.exits import Exit
from adamx.demo.files import make_folder
from adamx.demo.options import PROG, Options, wrong_option
from adamx.demo.recipes import Recipe, recipe
from adamx.demo.result import Result

HIDDEN = (256, 256)


def _check_batch(batch: int, images: int) -> None:
    if batch > images:
        raise wrong_option(
            f"--batch must be at most {images}, the number of training images; got {batch}"
        )


def _train(
    options: Options, made: Recipe, data: digits.Digits, place: Placement
) -> training.Trained:
    """The whole run, or what is left of it."""
    images, labels = put((data.train_images, data.train_labels), place.replicated)
    sizes = (digits.PIXELS, *HIDDEN, digits.CLASSES)
    rng = np.random.default_rng(options.seed)
    begin = formats.stored(options.param_format, network.init(rng, sizes))
    params = put(begin, place.replicated)
    where = place.state(made.tx, params)
    state = adamx.sharding.init(made.tx, params, where)
    begun = training.start(params, state)

    every, saved = options.checkpoint_every, None
    if every is not None:
        saved = Checkpoints(options, every, place)
        if options.resume:
            begun = saved.restore(begun)
        else:
            saved.clear()
    passes = training.batches(rng, len(images), options.batch, options.steps)
    rows = training.segments(passes, every, begun.step)
    shown = report.progress(options.optimizer, options.steps)
    with shown if is_first(options) else contextlib.nullcontext() as advance:
        told = 0

        def after_pass(now: training.Trained) -> None:
            nonlocal told
            if advance is not None:
                advance(now.step - told, float(now.loss[-1]))
            told = now.step
            if saved is not None and saved.is_due(now.step):
                saved.save(now)

        placed = (put(segment, place.rows) for segment in rows)
        return training.train(made.tx, begun, images, labels, placed, after_pass)


def _train_and_test(
    options: Options, made: Recipe, data: digits.Digits, place: Placement
) -> Result:
    trained = _train(options, made, data, place)
    correct = jax.jit(network.correct)
    average = jax.jit(adamx.eval_params, out_shardings=place.replicated)
    averaged = average(trained.state, trained.params)
    return Result(
        options=options,
        recipe=made,
        loss=trained.loss,
        gradient_norm=trained.gradient_norm,
        learning_rate=np.asarray(jax.jit(jax.vmap(made.learning_rate))(jnp.arange(options.steps))),
        train_images=len(data.train_images),
        test_images=len(data.test_images),
        correct=int(correct(trained.params, data.test_images, data.test_labels)),
        correct_averaged=int(correct(averaged, data.test_images, data.test_labels)),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(trained.params)),
        kept=adamx.kept_bytes(made.tx, trained.params),
        state_bytes_per_device=bytes_on_one(trained.state),
        compile_seconds=trained.compile_seconds,
        train_seconds=trained.train_seconds,
        device=jax.devices()[0].device_kind,
        devices=place.mesh.size,
    )


def run(options: Options) -> int:
    """Trains, writes the files, prints the report, and returns the exit status.

    Raises:
      UsageError: an option that does not fit the data, the disk or the devices.
      ResumeError: nothing to go on from.
      FileError: a file that cannot be written.
    """
    data = digits.load()
    _check_batch(options.batch, len(data.train_images))
    if options.processes > 1 and options.coordinator is None:
        make_folder(options.output, PROG)
        return processes.run(options)
    join(options)
    place = placement(options)
    make_folder(options.output, PROG)
    made = recipe(
        options.optimizer,
        options.learning_rate,
        options.steps,
        options.state_format,
        options.param_format,
    )
    result = _train_and_test(options, made, data, place)
    if not is_first(options):
        return Exit.DONE if result.first_bad_step is None else Exit.DIVERGED
    files = [write(result, options.output) for write in (plot.write, metrics.write)]
    report.show(result, files)
    if result.first_bad_step is not None:
        print(
            f"{PROG}: the loss or its gradient was not finite at step {result.first_bad_step}; "
            "try a smaller --learning-rate",
            file=sys.stderr,
        )
        return Exit.DIVERGED
    return Exit.DONE
