"""torch's Adam family under torch's names, argument order, defaults and arithmetic.

What torch calls `params` is passed to `init` here, and what only chooses an implementation there
(`foreach`, `fused`, `capturable`, `differentiable`) has no counterpart.
`clip_grad_norm_(params, c)` is `adamx.clip_by_global_norm(c)` in front,
up to the 1e-6 that torch adds to the norm.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from adamx.core import fields
from adamx.core.chain import Chain, chain
from adamx.core.fields import Where, check_switch
from adamx.core.hyperparameter import ScalarOrSchedule, check_hyperparameter
from adamx.core.transformation import GradientTransformation
from adamx.family.adam import scale_by_adam
from adamx.family.adamax import scale_by_adamax
from adamx.family.amsgrad import scale_by_amsgrad
from adamx.family.nadam import scale_by_nadam
from adamx.family.radam import scale_by_radam
from adamx.sparse.adam import adam as sparse_adam
from adamx.transforms.scaling import scale, scale_by_learning_rate
from adamx.transforms.weight_decay import add_decayed_weights

Betas: TypeAlias = tuple[ScalarOrSchedule, ScalarOrSchedule]


def _pair(owner: str, betas: Any) -> Betas:
    """The two decay rates."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"{owner}: `betas` must be a pair of decay rates, got {betas!r}")
    b1, b2 = (
        check_hyperparameter(Where(owner, f"betas[{i}]"), b, fields.DECAY_RATE)
        for i, b in enumerate(betas)
    )
    return b1, b2


def _uphill(owner: str, maximize: Any) -> list[GradientTransformation]:
    return [scale(-1.0)] if check_switch(Where(owner, "maximize"), maximize) else []


def _recipe(
    owner: str,
    core: GradientTransformation,
    lr: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule,
    maximize: Any,
    decoupled: Any = False,
) -> Chain:
    """torch's order: the sign, L2, the core, then the learning rate with the decoupled decay."""
    decay = [add_decayed_weights(weight_decay)]
    if isinstance(weight_decay, (int, float)) and weight_decay == 0:
        decay = []
    decoupled = check_switch(Where(owner, "decoupled_weight_decay"), decoupled)
    return chain(
        *_uphill(owner, maximize),
        *([] if decoupled else decay),
        core,
        *(decay if decoupled else []),
        scale_by_learning_rate(check_hyperparameter(Where(owner, "lr"), lr, fields.NONNEGATIVE)),
    )


def Adam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> Chain:
    """`torch.optim.Adam`.

        g <- -g                                 with maximize
        g <- g + weight_decay p                 L2, unless decoupled
        p <- p - lr (m_hat / (sqrt(v_hat) + eps) + weight_decay p if decoupled)

    m_hat and v_hat as in `scale_by_adam`.  With `amsgrad`, v_hat is the maximum of the raw v so
    far, corrected by today's 1 - b2**t (optax takes the maximum of the corrected v).

    Args:
      lr: the learning rate: a number >= 0, a scalar array or a schedule of the 0-based step count.
      betas: the two decay rates.
      eps: added outside the root after the bias correction, >= 0.
      weight_decay: >= 0; part of the gradient, so that it goes through the moments.
      amsgrad: keep the largest second moment.
      maximize: go uphill.  The sign is turned before L2 is added: the decay pulls to 0 all the
        same.
      decoupled_weight_decay: decay beside the moments instead: `AdamW`.

    Raises:
      ValueError: a number outside its range.
      TypeError: an argument of the wrong kind.

    Reference:
      torch 2.13, `torch.optim.Adam`.

    Example:
      >>> from adamx.interop import torch
      >>> torch.Adam(1e-3, weight_decay=0.1)
      chain(
          add_decayed_weights(weight_decay=0.1),
          scale_by_adam(b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0),
          scale_by_learning_rate(learning_rate=0.001),
      )
    """
    b1, b2 = _pair("Adam", betas)
    core: GradientTransformation
    if check_switch(Where("Adam", "amsgrad"), amsgrad):
        core = scale_by_amsgrad(b1, b2, eps, raw_maximum=True)
    else:
        core = scale_by_adam(b1, b2, eps)
    return _recipe("Adam", core, lr, weight_decay, maximize, decoupled_weight_decay)


def AdamW(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> Chain:
    """`torch.optim.AdamW`: `Adam` with decoupled weight decay, 1e-2 by default.

    torch first multiplies p by 1 - lr weight_decay and then takes the step, which is the same up
    to rounding.

    Args:
      lr, betas, eps, weight_decay, amsgrad, maximize: see `Adam`.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      torch 2.13, `torch.optim.AdamW`.

    Example:
      >>> import adamx
      >>> from adamx.interop import torch
      >>> torch.AdamW() == adamx.adamw(1e-3, weight_decay=1e-2)
      True
    """
    return Adam(
        lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
    )


def NAdam(
    lr: ScalarOrSchedule = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    momentum_decay: ScalarOrSchedule = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> Chain:
    """`torch.optim.NAdam`: the core is `scale_by_nadam`.

    Args:
      lr, betas, eps, weight_decay, decoupled_weight_decay, maximize: see `Adam`.
      momentum_decay: see `scale_by_nadam`.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      torch 2.13, `torch.optim.NAdam`.

    Example:
      >>> from adamx.interop import torch
      >>> torch.NAdam().links[0].momentum_decay
      0.004
    """
    core = scale_by_nadam(*_pair("NAdam", betas), eps, momentum_decay=momentum_decay)
    return _recipe("NAdam", core, lr, weight_decay, maximize, decoupled_weight_decay)


def RAdam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
) -> Chain:
    """`torch.optim.RAdam`: the core is `scale_by_radam` with epsilon hat, beside the raw sqrt(v).

    torch adapts where rho_t > 5, `scale_by_radam` where rho_t >= 5.

    Args:
      lr, betas, eps, weight_decay, decoupled_weight_decay, maximize: see `Adam`.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      torch 2.13, `torch.optim.RAdam`.

    Example:
      >>> from adamx.interop import torch
      >>> torch.RAdam().links[0]
      scale_by_radam(b1=0.9, b2=0.999, eps=1e-08, eps_root=0.0, threshold=5.0, eps_hat=True)
    """
    core = scale_by_radam(*_pair("RAdam", betas), eps, eps_hat=True)
    return _recipe("RAdam", core, lr, weight_decay, maximize, decoupled_weight_decay)


def Adamax(
    lr: ScalarOrSchedule = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    *,
    maximize: bool = False,
) -> Chain:
    """`torch.optim.Adamax`: the core is `scale_by_adamax`, with eps inside the maximum.

    Args:
      lr, betas, eps, weight_decay, maximize: see `Adam`.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      torch 2.13, `torch.optim.Adamax`.

    Example:
      >>> from adamx.interop import torch
      >>> torch.Adamax().links[0]
      scale_by_adamax(b1=0.9, b2=0.999, eps=1e-08)
    """
    core = scale_by_adamax(*_pair("Adamax", betas), eps)
    return _recipe("Adamax", core, lr, weight_decay, maximize)


def SparseAdam(
    lr: ScalarOrSchedule = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    maximize: bool = False,
) -> Chain:
    """`torch.optim.SparseAdam`: the mode `lazy` of `adamx.sparse.adam`, with epsilon hat.

    Rows that a gradient does not touch stay as they are, moments included; the step that the bias
    correction counts is the optimizer's, and goes on where a gradient has no rows.  Gradients that
    are arrays, which torch refuses, touch every row.

    Args:
      lr, betas, eps, maximize: see `Adam`.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      torch 2.13, `torch.optim.SparseAdam`.

    Example:
      >>> from adamx.interop import torch
      >>> torch.SparseAdam().links[0].modes
      'lazy'
    """
    lr = check_hyperparameter(Where("SparseAdam", "lr"), lr, fields.NONNEGATIVE)
    core = sparse_adam(lr, "lazy", *_pair("SparseAdam", betas), eps, eps_hat=True)
    return chain(*_uphill("SparseAdam", maximize), core)
