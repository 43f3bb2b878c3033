"""The source files of Python's standard library as a sequence of tokens."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adamx.demo.exits import UsageError

# Words and numbers, single signs, and the ends of lines.
_TOKEN = re.compile(r"\w+|[^\w\s]|\n")
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
# Every so many-th file is kept for the test.
_EVERY = 20
RARE = 0


class Corpus(NamedTuple):
    """Tokens by rank: 1 the most frequent, and 0 for all those outside of the vocabulary."""

    train: np.ndarray  # int32[n]
    test: np.ndarray  # int32[n], of files that are not trained on
    files: int
    vocabulary: int  # how many ranks there are, 0 included


def _sources(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*.py"))
    return sorted(path for path in found if not _LEFT_OUT & {*path.relative_to(folder).parts})


def load(vocabulary: int) -> Corpus:
    """Reads the library of the running Python.

    Args:
      vocabulary: how many tokens to tell apart at most, the rare ones counted as one.

    Raises:
      UsageError: a Python without its source files.
    """
    folder = Path(os.__file__).parent
    files = _sources(folder)
    if len(files) < _EVERY:
        raise UsageError(f"found no source files of the standard library in '{folder}'")
    texts = [_TOKEN.findall(path.read_text("utf-8", errors="replace")) for path in files]
    test = texts[::_EVERY]
    train = [text for i, text in enumerate(texts) if i % _EVERY]
    counts = Counter(itertools.chain.from_iterable(train))
    ranked = sorted(counts, key=lambda token: (-counts[token], token))[: vocabulary - 1]
    ranks = {token: rank for rank, token in enumerate(ranked, start=RARE + 1)}

    def encode(texts: list[list[str]]) -> np.ndarray:
        tokens = itertools.chain.from_iterable(texts)
        return np.fromiter((ranks.get(token, RARE) for token in tokens), np.int32)

    return Corpus(encode(train), encode(test), len(files), len(ranks) + 1)
