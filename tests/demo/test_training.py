"""The parts of a run: data, batches, loop and plot."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.demo import digits, network, plot, training
from adamx.demo.options import Options
from adamx.demo.recipes import recipe
from adamx.demo.result import Result


def test_digits_are_split_evenly_and_always_alike() -> None:
    data, again = digits.load(), digits.load()
    assert data.train_images.shape == (7185, 64)
    assert data.test_images.shape == (360, 64)
    assert data.train_images.dtype == data.test_images.dtype == np.float32
    assert (data.train_images.min(), data.train_images.max()) == (0.0, 1.0)
    assert all(np.array_equal(a, b) for a, b in zip(data, again, strict=True))
    counts = np.bincount(data.test_labels)
    assert (counts.min(), counts.max()) == (35, 37)


def test_training_images_are_shifted_by_one_pixel() -> None:
    data = digits.load()
    plain, *shifted = data.train_images.reshape(5, 1437, 8, 8)
    offsets = [(1, 0), (-1, 0), (0, 1), (0, -1)]
    for images, offset in zip(shifted, offsets, strict=True):
        moved = np.roll(plain, offset, axis=(1, 2))
        assert np.array_equal(images[:, 1:-1, 1:-1], moved[:, 1:-1, 1:-1])
    tests = {image.tobytes() for image in data.test_images}
    assert not tests & {image.tobytes() for image in data.train_images}


def test_batches_cover_every_pass_without_repeats() -> None:
    passes = list(training.batches(np.random.default_rng(0), images=10, batch=3, steps=7))
    assert [rows.shape for rows in passes] == [(3, 3), (3, 3), (1, 3)]
    assert all(np.unique(rows).size == rows.size for rows in passes)
    assert not np.array_equal(passes[0], passes[1])


def test_segments_of_the_rest_are_those_of_the_whole() -> None:
    def passes() -> list[np.ndarray]:
        return list(training.batches(np.random.default_rng(0), images=10, batch=2, steps=12))

    whole = list(training.segments(passes(), every=4))
    assert [len(rows) for rows in whole] == [4, 1, 3, 2, 2]
    assert np.array_equal(np.concatenate(whole), np.concatenate(passes()))
    rest = list(training.segments(passes(), every=4, done=8))
    assert all(np.array_equal(a, b) for a, b in zip(rest, whole[3:], strict=True))
    assert [len(rows) for rows in training.segments(passes(), every=None)] == [5, 5, 2]


def test_one_pass_is_a_loop_of_steps() -> None:
    tx = recipe("adamw", 0.01, 5).tx
    images = jnp.asarray(np.random.default_rng(2).random((12, 4), np.float32))
    labels = jnp.arange(12) % 3
    passes = list(training.batches(np.random.default_rng(0), 12, 4, 5))

    step = jax.jit(tx.step)
    value_and_grad = jax.jit(jax.value_and_grad(network.loss))
    params = network.init(np.random.default_rng(1), (4, 8, 3))
    state = tx.init(params)
    losses, norms = [], []
    for rows in np.concatenate(passes):
        loss, grads = value_and_grad(params, images[rows], labels[rows])
        losses.append(loss)
        norms.append(adamx.global_norm(grads))
        params, state = step(grads, state, params)

    start = network.init(np.random.default_rng(1), (4, 8, 3))
    told: list[tuple[int, float]] = []
    trained = training.train(
        tx,
        training.start(start, tx.init(start)),
        images,
        labels,
        map(jnp.asarray, passes),
        lambda now: told.append((now.step, now.loss[-1])),
    )
    assert np.allclose(trained.loss, losses, rtol=1e-5)
    assert np.allclose(trained.gradient_norm, norms, rtol=1e-5)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-4, atol=1e-6), trained.params, params)
    )
    assert told == [(3, trained.loss[2]), (5, trained.loss[4])]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(start))  # given away


def test_network_reads_what_it_is_told() -> None:
    params = [{"w": jnp.eye(3), "b": jnp.zeros(3)}]
    images, labels = 9.0 * jnp.eye(3), jnp.array([0, 1, 0])
    assert int(network.correct(params, images, labels)) == 2
    logits = 9.0 * np.eye(3)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(3), [0, 1, 0]]
    assert float(network.loss(params, images, labels)) == pytest.approx(expected.mean(), rel=1e-5)


def made_up(loss: list[float]) -> Result:
    curve = np.array(loss, np.float32)
    return Result(
        options=Options(steps=len(loss)),
        recipe=recipe("adamw", 0.01, len(loss)),
        loss=curve,
        gradient_norm=curve,
        learning_rate=np.ones_like(curve),
        train_images=20,
        test_images=10,
        correct=8,
        correct_averaged=9,
        parameters=3,
        kept={"params": 12, "mu": 36},
        state_bytes_per_device=36,
        compile_seconds=1.0,
        train_seconds=2.0,
        device="cpu",
        devices=1,
    )


@pytest.mark.parametrize(
    "loss", [[0.5], [3.0, 2.0, 1.0], [2.0, np.inf, np.nan], [np.nan] * 3, [0.0] * 30]
)
def test_plot_has_three_labelled_panels(loss: list[float], tmp_path: Path) -> None:
    result = made_up(loss)
    assert plot.write(result, tmp_path).read_bytes().startswith(b"\x89PNG\r\n")
    panels = plot.draw(result).axes
    assert len(panels) == 3
    assert all(panel.get_title() and panel.get_ylabel() for panel in panels)
    assert panels[-1].get_xlabel() == "step"
    assert [list(line.get_ydata()) for line in panels[-1].lines][-1] == [1.0, 1.0]  # the threshold


def test_smoothing_is_an_average_of_what_came_before() -> None:
    assert np.allclose(plot.smooth(np.full(50, 3.0, np.float32)), 3.0)
    assert np.allclose(plot.smooth(np.array([1.0, 2.0], np.float32)), [1.0, (0.9 + 2) / 1.9])


def test_result_knows_where_it_went_wrong() -> None:
    assert made_up([2.0, 1.0]).first_bad_step is None
    assert made_up([2.0, np.inf, 1.0]).first_bad_step == 1
    assert made_up([1.0] * 4).steps_per_second == 2.0
