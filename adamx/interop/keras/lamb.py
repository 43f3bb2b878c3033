"""Lamb under Keras's name."""

from __future__ import annotations

from typing import Any

from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.family.adam import scale_by_adam
from adamx.interop.keras.building import build_optimizer
from adamx.interop.keras.optimizer import KerasOptimizer


def Lamb(
    learning_rate: ScalarOrSchedule | dict[str, Any] = 0.001,
    beta_1: ScalarOrSchedule = 0.9,
    beta_2: ScalarOrSchedule = 0.999,
    epsilon: ScalarOrSchedule | None = 1e-7,
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
    name: str = "Lamb",
    *,
    jit_compile: bool = True,
    preset: str = "keras",
) -> KerasOptimizer:
    """Lamb with the numbers of Keras 3: weights decay first, outside of the trust ratio.

        p <- p - learning_rate * weight_decay * p
        u = m_hat / (sqrt(v_hat) + epsilon)
        p <- p - learning_rate * (||p|| / ||u||) * u        per variable

    Args:
      learning_rate, beta_1, beta_2, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
        ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
        name, jit_compile: see `Adam`.
      epsilon: added to the root of the corrected v; None for 1e-7.
      preset: see `Adam`; TensorFlow has no Lamb of its own, only what goes around it.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      You et al., Large Batch Optimization for Deep Learning, 2020, Algorithm 2, whose weight decay
      is inside the trust ratio.

    Example:
      >>> from adamx.interop import keras
      >>> [name for name in keras.Lamb().chain.names]
      ['core', 'trust_ratio', 'learning_rate']
    """
    return build_optimizer("Lamb", locals(), lambda rules, b1, b2, eps: scale_by_adam(b1, b2, eps))
