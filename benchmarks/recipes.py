"""The recipes that every peer is asked for, and the least bytes that a step of each must move.

Per float32 parameter a step of Adam reads g, m, v, p and writes m, v, p: 28 bytes.  A global norm
reads g once more before, an average of the parameters is read and written.
"""

from __future__ import annotations

from typing import NamedTuple

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
MAX_NORM = 1.0
EMA = 0.999


class Recipe(NamedTuple):
    """A training recipe by name; what it is made of is in the peers' files."""

    name: str
    bytes_per_parameter: int
    dtype: str = "float32"  # of the parameters and gradients


ADAMW = Recipe("adamw", 28)
CLIPPED = Recipe("clip + adamw", 32)
AVERAGED = Recipe("clip + adamw + ema", 40)
GUARDED = Recipe("guard(clip + adamw + ema)", 40)
MU_BFLOAT16 = Recipe("adamw, m in bfloat16", 24)
BOTH_BFLOAT16 = Recipe("adamw, m and v in bfloat16", 20)
BFLOAT16_PARAMETERS = Recipe("adamw, bfloat16 parameters, float32 moments", 22, "bfloat16")
