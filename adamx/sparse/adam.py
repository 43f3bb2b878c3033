"""Adam, AdamW and AMSGrad for trees that hold large tables beside dense parameters."""

from __future__ import annotations

from typing import Any

from adamx.core import fields
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.link import Link
from adamx.core.mask import MaskLike
from adamx.core.mask import mask as mask_field
from adamx.core.numerics import DTypeLike
from adamx.family.adam import ScaleByAdam
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.sparse.rows import RowsTransformation, check_modes
from adamx.transforms.scaling import HasLearningRate, ScaleByLearningRate
from adamx.transforms.weight_decay import AddDecayedWeights


class AdamOfRows(HasLearningRate, RowsTransformation, abstract=True):
    """The arguments that Adam and its relatives for tables share."""

    modes: Any = fields.static(check_modes, default="lazy")
    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-8)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: DTypeLike | None = fields.dtype(default=None)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)

    def core(self, kind: type[Any], **switches: bool) -> Link:
        """A core, whose fields have the names of these."""
        names = ("b1", "b2", "eps", "eps_root", "mu_dtype", "nu_dtype", "eps_hat")
        built: Link = kind(**{name: getattr(self, name) for name in names}, **switches)
        return built


class SparseAdam(AdamOfRows, name="sparse.adam"):
    """Adam that steps the rows of a table which a batch has touched, and dense parameters too.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) |g|**2
        p <- p - learning_rate * m_hat / (sqrt(v_hat + eps_root) + eps)

    for the rows of a gradient that is `SparseRows`; but in mode `counted`, bias corrections use the
    number of steps taken in all.  What becomes of the other rows is the mode's:

    - `dense`: they step with a gradient of 0, at the cost of the whole table (TensorFlow's Adam);
    - `lazy`: nothing (torch `SparseAdam`, TensorFlow Addons `LazyAdam`);
    - `exact`: what `dense` does to them, paid when they are next read: see `sparse.flush`;
    - `rowwise`: nothing, and v is one number per row, the average of the mean of |g|**2 over the
      row (FBGEMM's partial row-wise Adam);
    - `counted`: nothing, and bias corrections use the number of steps that the row has taken, so
      that the first step of a row that is first read late is one learning rate long.

    A gradient that is an array touches every row: that is the ordinary Adam, except in `rowwise`.
    It is a whole optimizer, learning rate and decay included; links that clip go in front of it.
    With mode `exact`, no link that changes updates may be behind it.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      modes: the name of a mode for all parameters; or a dict from patterns to modes, in which the
        first pattern that is found in a parameter's path decides, as in `label_by_path`, and the
        others are `dense`.
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `scale_by_adam`.

    Returns:
      A transformation with state `SparseAdamState(count, mu, nu, memory)`; updates are
      `SparseRows` where gradients are, but in mode `dense`.

    Raises:
      ValueError: a number outside its range, or with which a mode does not work; an unknown mode;
        not a regular expression.  At `init` and `update`: a pattern that is found in no path; no
        `params`; gradients of another structure or shape.
      TypeError: an argument of the wrong kind; at `update`, another optimizer's state.

    Reference:
      Kingma & Ba, Adam, 2015, Algorithm 1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.sparse.adam(0.1, {"table": "lazy"})
      >>> params = {"bias": jnp.zeros(1), "table": jnp.zeros((4, 1))}
      >>> rows = adamx.SparseRows(jnp.array([2, 2]), jnp.ones((2, 1)), num_rows=4)
      >>> params, state = tx.step({"bias": jnp.ones(1), "table": rows}, tx.init(params), params)
      >>> params["table"].ravel().round(3)
      Array([ 0. ,  0. , -0.1,  0. ], dtype=float32)
    """

    def links(self) -> tuple[Link, ...]:
        return self.core(ScaleByAdam), ScaleByLearningRate(self.learning_rate)


class SparseAdamw(AdamOfRows, name="sparse.adamw"):
    """AdamW for tables: `sparse.adam` with decoupled weight decay.

        p <- p - learning_rate * (m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay * p)

    In modes `lazy` and `rowwise` only touched rows decay, in `dense` and `exact` all do.

    Args:
      learning_rate, modes, b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `sparse.adam`.
      weight_decay, mask: see `add_decayed_weights`.

    Raises:
      ValueError, TypeError: as `sparse.adam`.

    Reference:
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.sparse.adamw(1e-3, {"embed": "exact"}, weight_decay=0.1).modes
      (('embed', 'exact'),)
    """

    weight_decay: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-4)
    mask: MaskLike = mask_field(default=None)

    def links(self) -> tuple[Link, ...]:
        return (
            self.core(ScaleByAdam),
            AddDecayedWeights(self.weight_decay, self.mask),
            ScaleByLearningRate(self.learning_rate),
        )


class SparseAmsgrad(AdamOfRows, name="sparse.amsgrad"):
    """AMSGrad for tables: `sparse.adam` with the largest second moment so far.

        p <- p - learning_rate * m_hat / (sqrt(max over time of v_hat + eps_root) + eps)

    In mode `lazy` and `rowwise` the maximum is over the steps that touched the row.

    Args:
      learning_rate, modes, b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `sparse.adam`.
      raw_maximum: see `scale_by_amsgrad`; not in mode `exact`.

    Raises:
      ValueError, TypeError: as `sparse.adam`.

    Reference:
      Reddi, Kale & Kumar, On the Convergence of Adam and Beyond, 2018, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.sparse.amsgrad(1e-3, "dense").modes
      'dense'
    """

    raw_maximum: bool = fields.switch(default=False, kw_only=True)

    def links(self) -> tuple[Link, ...]:
        core = self.core(ScaleByAmsgrad, raw_maximum=self.raw_maximum)
        return core, ScaleByLearningRate(self.learning_rate)


adam = SparseAdam
adamw = SparseAdamw
amsgrad = SparseAmsgrad
