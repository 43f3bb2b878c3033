"""Row ids as language has them: a few very often, most hardly ever."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Of 8,192 ids of a table of a million rows about 2,500 are distinct, of 65,536 about 14,000.
_EXPONENT = 1.15


class Table(NamedTuple):
    """An embedding table and how many ids a step reads from it."""

    rows: int
    width: int
    ids: int

    @property
    def parameters(self) -> int:
        return self.rows * self.width

    def draw(self, seed: int) -> np.ndarray:
        """Zipf-distributed ids, int32, spread over the whole table."""
        random = np.random.default_rng(seed)
        weights = np.arange(1, self.rows + 1, dtype=float) ** -_EXPONENT
        cumulative = np.cumsum(weights / weights.sum())
        ranks = np.minimum(np.searchsorted(cumulative, random.random(self.ids)), self.rows - 1)
        return random.permutation(self.rows)[ranks].astype(np.int32)

    def least_bytes(self, seed: int) -> int:
        """The bytes that a sparse step has to move: the rows, and 24 bytes per touched element.

        The table and both moments, read and written.
        """
        touched = len(np.unique(self.draw(seed)))
        return self.ids * (4 + 4 * self.width) + 24 * touched * self.width
