"""Tables of which a batch reads a few rows: gradients, optimizers, averages and reading.

    tables = {"embed": lambda tokens, targets: tokens}          # where a loss looks rows up
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.sparse.adamw(3e-4, {"embed": "exact"}))
    step = adamx.make_step(loss_fn, tx, tables=tables)

Every transformation takes `SparseRows` in the place of a gradient, with the result of the dense
array.  They stay rows in what leaves rows of zeros alone: scaling, learning rates, schedules, every
clip but `adaptive_grad_clip`, `zero_nans`, `centralize`, `scale_by_sign`, `scale_by_trust_ratio`,
`freeze`, guards, loss scaling, metrics, groups and averages of the parameters.  They become an
array where every row moves: in the cores of the dense family, `trace`, `ema`, `add_noise`,
`add_decayed_weights`, `multi_steps`, and in links of other libraries; an optimizer of this package
behind one of those sees every row touched.
"""

from adamx.core.rows import SparseRows
from adamx.sparse.adam import adam, adamw, amsgrad
from adamx.sparse.averaging import SparseEmaState, ema_params
from adamx.sparse.flushing import flush
from adamx.sparse.gradients import Lookup, lookup, sum_micro_batches, value_and_grad
from adamx.sparse.rows import SparseAdamState, rows

__all__ = [
    "SparseRows",
    "value_and_grad",
    "Lookup",
    "lookup",
    "sum_micro_batches",
    "adam",
    "adamw",
    "amsgrad",
    "rows",
    "ema_params",
    "flush",
    "SparseAdamState",
    "SparseEmaState",
]
