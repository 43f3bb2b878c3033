"""In how many bits moments and parameters are kept: the rows of the suite `precision`."""

from __future__ import annotations

from typing import NamedTuple

import adamx
from adamx.demo import formats
from benchmarks.recipes import LEARNING_RATE, WEIGHT_DECAY

_MODES = {"float32": "", "bfloat16": "moments bfloat16", "pair": "pair"}


class Stored(NamedTuple):
    """One way to keep them, by the names of the demo."""

    moments: str  # a key of `STATE_FORMATS`
    parameters: str  # a key of `PARAM_FORMATS`

    @property
    def name(self) -> str:
        """In words; what is not said is float32."""
        narrow = self.parameters != formats.FLOAT32
        parts = [_MODES[self.moments], f"parameters {self.parameters}" if narrow else ""]
        return ", ".join(filter(None, parts)) or formats.FLOAT32

    @property
    def dtype(self) -> str:
        """Of the parameters and gradients."""
        return self.parameters.partition("+")[0]

    def adamw(self) -> adamx.GradientTransformation:
        """AdamW that keeps them so."""
        tx = adamx.adamw(
            LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            state_format=formats.STATE_FORMATS[self.moments],
        )
        return formats.with_params(self.parameters, tx)


FLOAT32 = Stored("float32", "float32")
FORMATS = (
    FLOAT32,
    Stored("bfloat16", "float32"),
    Stored("pair", "float32"),
    Stored("float32", "bfloat16"),
    Stored("pair", "bfloat16"),
    Stored("pair", "bfloat16+8"),
    Stored("pair", "bfloat16+16"),
    Stored("float32", "bfloat16+32"),
)
