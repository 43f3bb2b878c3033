"""Adamax under Keras's name."""

from __future__ import annotations

from typing import Any

from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.family.adamax import scale_by_adamax
from adamx.interop.keras.building import build_optimizer
from adamx.interop.keras.optimizer import KerasOptimizer


def Adamax(
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
    name: str = "Adamax",
    *,
    jit_compile: bool = True,
    preset: str = "keras",
) -> KerasOptimizer:
    """Adamax with the numbers of Keras 3: epsilon beside the maximum.

        m <- beta_1 m + (1 - beta_1) g
        n <- max(beta_2 n, |g|)
        p <- p - learning_rate / (1 - beta_1**t) m / (n + epsilon)

    Args:
      learning_rate, beta_1, beta_2, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
        ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
        name, jit_compile: see `Adam`.
      epsilon: added to the largest gradient so far; None for 1e-7.
      preset: see `Adam`.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      Kingma & Ba, Adam, 2015, Algorithm 2.

    Example:
      >>> from adamx.interop import keras
      >>> keras.Adamax().chain.links[0]
      scale_by_adamax(b1=0.9, b2=0.999, eps=1e-07, eps_outside=True)
    """
    return build_optimizer(
        "Adamax",
        locals(),
        lambda rules, b1, b2, eps: scale_by_adamax(b1, b2, eps, eps_outside=True),
    )
