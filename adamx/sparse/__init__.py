"""Tables of which a batch reads a few rows: gradients, optimizers and reading."""

from adamx.core.rows import SparseRows
from adamx.sparse.adam import SparseAdamState, adam, adamw, amsgrad
from adamx.sparse.averaging import SparseEmaState, ema_params
from adamx.sparse.flushing import flush
from adamx.sparse.gradients import Lookup, lookup, sum_micro_batches, value_and_grad

__all__ = [
    "SparseRows",
    "value_and_grad",
    "Lookup",
    "lookup",
    "sum_micro_batches",
    "adam",
    "adamw",
    "amsgrad",
    "ema_params",
    "flush",
    "SparseAdamState",
    "SparseEmaState",
]
