"""Layer-wise scaling by the ratio of norms (You et al. 2017, 2020)."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import Number
from adamx.core.link import PerLeaf, View
from adamx.core.norms import bounded, safe_sqrt, squared_norm
from adamx.core.rows import SparseRows
from adamx.core.transformation import State
from adamx.transforms.scaling import Scaling
from adamx.transforms.sharded_norms import Shards


class ScaleByTrustRatio(Scaling):
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

    rows = "coalesced"
    elementwise = False
    reads_params = True

    min_norm: Number = fields.number(fields.NONNEGATIVE, default=0.0)
    trust_coefficient: Number = fields.number(fields.NONNEGATIVE, default=1.0)
    eps: Number = fields.number(fields.NONNEGATIVE, default=0.0)
    axis_name: AxisName = fields.axis_name(default=None, kw_only=True)

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        min_norm, coefficient, eps = self.now(state, "min_norm", "trust_coefficient", "eps")
        shards = Shards(self.axis_name)

        def ratio(u: chex.Array | SparseRows, p: chex.Array) -> chex.Array | None:
            if not numerics.is_inexact(u):
                return None
            norms = (safe_sqrt(shards.total(squared_norm(x), x)) for x in (p, u))
            p_norm, u_norm = (jnp.maximum(bounded(norm), min_norm) for norm in norms)
            # A leaf of zeros, or a step of zeros, has no ratio: take the plain step.
            degenerate = (p_norm == 0.0) | (u_norm == 0.0)
            quotient = coefficient * p_norm / (jnp.where(degenerate, 1.0, u_norm) + eps)
            return jnp.where(degenerate, 1.0, quotient)

        updates, params = (tree.flatten(x)[0] for x in (view.updates, view.params))
        return PerLeaf([*map(ratio, updates, params)]), {}


scale_by_trust_ratio = ScaleByTrustRatio
