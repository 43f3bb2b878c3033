"""Layer-wise scaling by the ratio of norms (You et al. 2017, 2020)."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import Number, scalar
from adamx.core.norms import safe_sqrt, squared_norm
from adamx.core.rows import SparseRows
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.transforms.scaling import scale_leaves
from adamx.transforms.sharded_norms import Pieces


class ScaleByTrustRatio(GradientTransformation):
    """u * trust_coefficient * ||p|| / (||u|| + eps), leaf by leaf."""

    min_norm: Number = fields.number(fields.NONNEGATIVE)
    trust_coefficient: Number = fields.number(fields.NONNEGATIVE)
    eps: Number = fields.number(fields.NONNEGATIVE)
    axis_name: AxisName = fields.axis_name()

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        tree.require_params(self.public_name, params)
        tree.check_match(self.public_name, "updates", updates, "parameters", params)
        min_norm = scalar(self.min_norm, "min_norm")
        coefficient = scalar(self.trust_coefficient, "trust_coefficient")
        eps = scalar(self.eps, "eps")
        pieces = Pieces(self.axis_name)

        def rescale(u: chex.Array | SparseRows, p: chex.Array) -> Updates:
            p_norm = jnp.maximum(safe_sqrt(pieces.total(squared_norm(p), p)), min_norm)
            u_norm = jnp.maximum(safe_sqrt(pieces.total(squared_norm(u), u)), min_norm)
            # A leaf of zeros, or a step of zeros, has no ratio: take the plain step.
            degenerate = (p_norm == 0.0) | (u_norm == 0.0)
            ratio = coefficient * p_norm / (jnp.where(degenerate, 1.0, u_norm) + eps)
            return scale_leaves(u, jnp.where(degenerate, 1.0, ratio))

        rescaled = jax.tree.map(
            lambda u, p: rescale(u, p) if numerics.is_inexact(u) else u,
            tree.coalesced(updates),
            params,
            is_leaf=tree.is_leaf,
        )
        return rescaled, state


def scale_by_trust_ratio(
    min_norm: Number = 0.0,
    trust_coefficient: Number = 1.0,
    eps: Number = 0.0,
    *,
    axis_name: AxisName = None,
) -> ScaleByTrustRatio:
    """Scales each leaf's update to the norm of the leaf's parameters.

        u <- u * trust_coefficient * max(||p||, min_norm) / (max(||u||, min_norm) + eps)

    and by 1 where either norm is 0.  Norms are per leaf, in at least float32.

    Args:
      min_norm: a lower bound on both norms, >= 0.
      trust_coefficient: a factor, >= 0.
      eps: added to the update's norm, >= 0.
      axis_name: see `clip_by_global_norm`.

    Raises:
      ValueError: a negative argument; at `update`, no `params`.
      TypeError: an argument that is not a number.

    Reference:
      You et al., Large Batch Optimization for Deep Learning (LAMB), 2020, Algorithm 2.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.scale_by_trust_ratio()
      >>> p = jnp.array([3.0, 4.0])
      >>> tx.update(jnp.array([0.0, 2.0]), tx.init(p), p)[0]
      Array([0., 5.], dtype=float32)
    """
    return ScaleByTrustRatio.checked(
        min_norm=min_norm, trust_coefficient=trust_coefficient, eps=eps, axis_name=axis_name
    )
