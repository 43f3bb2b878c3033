"""LAMB: Adam with a trust ratio per layer."""

from __future__ import annotations

from adamx.core.chain import Chain, chain
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.mask import MaskLike
from adamx.core.numerics import DTypeLike
from adamx.family.adam import scale_by_adam
from adamx.formats.named import StateFormat
from adamx.transforms.scaling import scale_by_learning_rate
from adamx.transforms.trust_ratio import scale_by_trust_ratio
from adamx.transforms.weight_decay import add_decayed_weights


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-6,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: MaskLike = None,
    *,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    axis_name: AxisName = None,
    state_format: StateFormat = None,
) -> Chain:
    """LAMB: Adam's direction rescaled to the norm of each layer, for large batches.

        u <- m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay * p
        p <- p - learning_rate * (||p|| / ||u||) * u        per leaf

    The chain `scale_by_adam`, `add_decayed_weights`, `scale_by_trust_ratio`,
    `scale_by_learning_rate`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, state_format: see `scale_by_adam`.
      weight_decay, mask: see `add_decayed_weights`; the decay is inside the trust ratio.
      axis_name: see `clip_by_global_norm`.

    Raises:
      ValueError, TypeError: as `scale_by_adam` and `add_decayed_weights`.

    Reference:
      You et al., Large Batch Optimization for Deep Learning, 2020, Algorithm 2.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.lamb(0.1)
      >>> params = jnp.array([3.0, 4.0])
      >>> tx.step(jnp.array([1.0, 0.0]), tx.init(params), params)[0]
      Array([2.5, 4. ], dtype=float32)
    """
    return chain(
        scale_by_adam(
            b1, b2, eps, eps_root, mu_dtype, nu_dtype=nu_dtype, state_format=state_format
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(axis_name=axis_name),
        scale_by_learning_rate(learning_rate),
    )
