"""Tables of which a batch reads a few rows: gradients, optimizers and reading."""

from adamx.core.rows import SparseRows
from adamx.sparse.adam import SparseAdamState, adam, adamw, amsgrad

__all__ = [
    "SparseRows",
    "adam",
    "adamw",
    "amsgrad",
    "SparseAdamState",
]
