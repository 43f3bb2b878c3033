"""Handwritten digits: 1797 real images of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

PIXELS = 64
CLASSES = 10
_SIDE = 8
_BRIGHTEST = 16.0
_SPLIT_SEED = 0
# Rows and columns to start from in an image with a border of one pixel: itself, and moved by one.
_SHIFTS = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))


class Digits(NamedTuple):
    """The images, split once and for all; brightness from 0 to 1."""

    train_images: np.ndarray  # float32[7185, 64], each image five times: as it is, and shifted
    train_labels: np.ndarray  # int32[7185]
    test_images: np.ndarray  # float32[360, 64], never shifted
    test_labels: np.ndarray  # int32[360]


def _with_shifts(images: np.ndarray) -> np.ndarray:
    """float32[n, 8, 8] -> float32[5 n, 8, 8]: also one pixel down, up, right and left."""
    bordered = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return np.concatenate(
        [bordered[:, row : row + _SIDE, column : column + _SIDE] for row, column in _SHIFTS]
    )


def load() -> Digits:
    """The digits, a fifth of them kept for the test, every class in the same proportion."""
    images, labels = load_digits(return_X_y=True)
    images = (images / _BRIGHTEST).astype(np.float32).reshape(-1, _SIDE, _SIDE)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels.astype(np.int32), test_size=0.2, random_state=_SPLIT_SEED, stratify=labels
    )
    return Digits(
        train_images=_with_shifts(train_images).reshape(-1, PIXELS),
        train_labels=np.tile(train_labels, len(_SHIFTS)),
        test_images=test_images.reshape(-1, PIXELS),
        test_labels=test_labels,
    )
