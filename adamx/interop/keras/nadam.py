"""Nadam under Keras's name."""

from __future__ import annotations

from typing import Any

from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.family.nadam import scale_by_nadam
from adamx.interop.keras.building import build_optimizer
from adamx.interop.keras.optimizer import KerasOptimizer


def Nadam(
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
    name: str = "Nadam",
    *,
    jit_compile: bool = True,
    preset: str = "keras",
) -> KerasOptimizer:
    """Nadam with the numbers of Keras 3: the momentum grows from beta_1 / 2 to beta_1.

        k_t = beta_1 (1 - 0.96**t / 2)         P_t = k_1 k_2 ... k_t
        m_hat = k_{t+1} m_t / (1 - P_{t+1}) + (1 - k_t) g_t / (1 - P_t)
        p <- p - learning_rate m_hat / (sqrt(v_t / (1 - beta_2**t)) + epsilon)

    Args:
      learning_rate, beta_1, beta_2, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
        ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps,
        name, jit_compile: see `Adam`.
      epsilon: added to the root of the corrected v, despite what its page says; None for 1e-7.
      preset: see `Adam`; "legacy" has 0.96**(0.004 t), its `schedule_decay`, in place of 0.96**t.

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      Dozat, Incorporating Nesterov Momentum into Adam, 2016, Algorithm 2.

    Example:
      >>> from adamx.interop import keras
      >>> keras.Nadam().chain.links[0].momentum_decay
      1.0
    """
    return build_optimizer(
        "Nadam",
        locals(),
        lambda rules, b1, b2, eps: scale_by_nadam(b1, b2, eps, momentum_decay=rules.nadam_decay),
    )
