"""The result of a run that has ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adamx.demo.options import Options
from adamx.demo.recipes import CHOICES, Recipe


class Result(NamedTuple):
    """The numbers of one run; the curves have one entry per step."""

    options: Options
    recipe: Recipe
    loss: np.ndarray  # float32[steps]
    gradient_norm: np.ndarray  # float32[steps], before clipping
    learning_rate: np.ndarray  # float32[steps]
    train_images: int
    test_images: int
    correct: int  # test images read correctly with the trained parameters
    correct_averaged: int  # and with their average
    parameters: int
    kept: dict[str, int]  # bytes by what they are for, `adamx.kept_bytes`
    state_bytes_per_device: int
    compile_seconds: float
    train_seconds: float  # without compiling
    device: str  # what kind
    devices: int  # how many shared each batch

    @property
    def parameter_bytes(self) -> int:
        """The bytes of the parameters."""
        return self.kept["params"]

    @property
    def state_bytes(self) -> int:
        """The bytes of the optimizer's state, on all devices together."""
        return sum(self.kept.values()) - self.parameter_bytes

    @property
    def accuracy(self) -> float:
        """The share of the test images read correctly with the trained parameters."""
        return self.correct / self.test_images

    @property
    def averaged_accuracy(self) -> float:
        """The share of the test images read correctly with the averaged parameters."""
        return self.correct_averaged / self.test_images

    @property
    def average(self) -> str:
        """The kind of average of the parameters."""
        return "schedule-free" if CHOICES[self.options.optimizer].averages else "EMA"

    @property
    def steps_per_second(self) -> float:
        """Updates per second, compiling left out."""
        return self.options.steps / self.train_seconds

    @property
    def first_bad_step(self) -> int | None:
        """The first step, from 0, whose loss or gradient was infinite or not a number."""
        bad = ~(np.isfinite(self.loss) & np.isfinite(self.gradient_norm))
        return int(np.argmax(bad)) if bad.any() else None
