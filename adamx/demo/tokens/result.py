"""The result of a run that has ended."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adamx.demo.tokens.corpus import Corpus
from adamx.demo.tokens.options import Options
from adamx.demo.tokens.training import Trained


class Result(NamedTuple):
    """Training in one mode or in each."""

    options: Options
    corpus: Corpus
    trained: list[Trained]
    device: str

    @property
    def dense(self) -> Trained | None:
        """The mode that the others are compared with, if it was trained."""
        return next((each for each in self.trained if each.mode == "dense"), None)

    def distance(self, trained: Trained) -> np.ndarray | None:
        """|loss - loss of dense| / loss of dense at every step; None without dense."""
        if self.dense is None or trained.mode == "dense":
            return None
        return np.asarray(np.abs(trained.loss - self.dense.loss) / self.dense.loss)
