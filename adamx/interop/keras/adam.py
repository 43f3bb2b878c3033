"""Adam and AdamW under Keras's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from adamx.core.fields import Where, check_switch
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.transformation import GradientTransformation
from adamx.family.adam import scale_by_adam
from adamx.family.amsgrad import scale_by_amsgrad
from adamx.interop.keras.building import (
    Around,
    Core,
    EMAOption,
    GradientsClipOption,
    build_optimizer,
)
from adamx.interop.keras.links import PairFunction
from adamx.interop.keras.optimizer import KerasOptimizer

_LEARNING_RATE = 0.001


def _core(kind: str, amsgrad: Any, hat: bool) -> Core:
    if check_switch(Where(kind, "amsgrad"), amsgrad):
        return lambda rules, b1, b2, eps: scale_by_amsgrad(
            b1, b2, eps, raw_maximum=True, eps_hat=hat
        )
    return lambda rules, b1, b2, eps: scale_by_adam(b1, b2, eps, eps_hat=hat)


def _rate(learning_rate: Any, lr: Any) -> Any:
    """`lr` is the old name of `learning_rate`."""
    if lr is None:
        return learning_rate
    if not (isinstance(learning_rate, float) and learning_rate == _LEARNING_RATE):
        raise ValueError("Adam: give `learning_rate` or its old name `lr`, not both")
    return lr


def _options(
    given: dict[str, Any], clips: GradientsClipOption | None, ema: EMAOption | None
) -> dict[str, Any]:
    """The single arguments that those of the first DTensor optimizers stand for."""
    found: dict[str, Any] = {}
    for name, option, kind in (
        ("gradients_clip_option", clips, GradientsClipOption),
        ("ema_option", ema, EMAOption),
    ):
        if option is None:
            continue
        if not isinstance(option, kind):
            raise TypeError(f"Adam: `{name}` must be a {kind.__name__}, got {option!r}")
        values = option._asdict()
        for field in values:
            if given[field] != Around._field_defaults[field]:
                raise ValueError(f"Adam: give `{field}` or `{name}`, not both")
        if name == "ema_option" and not check_switch(
            Where("EMAOption", "use_ema"), values["use_ema"]
        ):
            continue
        found |= values
    return found


def Adam(
    learning_rate: ScalarOrSchedule | dict[str, Any] = _LEARNING_RATE,
    beta_1: ScalarOrSchedule = 0.9,
    beta_2: ScalarOrSchedule = 0.999,
    epsilon: ScalarOrSchedule | None = 1e-7,
    amsgrad: bool = False,
    name: str = "Adam",
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
    *,
    lr: ScalarOrSchedule | None = None,
    decay: float = 0.0,
    gradient_aggregator: PairFunction | GradientTransformation | None = None,
    gradient_transformers: Sequence[PairFunction] | None = None,
    gradients_clip_option: GradientsClipOption | None = None,
    ema_option: EMAOption | None = None,
    mesh: jax.sharding.Mesh | None = None,
    jit_compile: bool = True,
    adaptive_epsilon: bool = False,
    preset: str = "keras",
) -> KerasOptimizer:
    """Adam with TensorFlow's arguments and numbers.

        m <- beta_1 m + (1 - beta_1) g
        v <- beta_2 v + (1 - beta_2) g**2
        p <- p - learning_rate sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + epsilon)

    with t = 1 on the first step; with `amsgrad`, the largest v so far in place of v.

    Args:
      learning_rate: a number, a scalar array, a schedule of the 0-based step count, a schedule of
        Keras (`schedule`, its serialised dictionary, or an object), or a function of no arguments
        that is called before every step (see `adamx.read_callables`).
      beta_1, beta_2: decay rates in [0, 1); the same kinds.
      epsilon: "epsilon hat", added to the root of the uncorrected v; None for 1e-7.
      amsgrad: never let the denominator shrink.
      name: of the `jax.named_scope` of all operations.
      weight_decay: p <- p - learning_rate * weight_decay * p as well, with the old p.
      clipnorm, clipvalue, global_clipnorm: bounds of the norm of each gradient, of each element,
        and of the norm of all gradients; the preset says which of them go together.
      use_ema, ema_momentum, ema_overwrite_frequency: an average of the parameters, read with
        `finalize_variable_values`; every so many steps it replaces them.
      loss_scale_factor: the gradients are divided by it; `minimize` and `make_step` multiply the
        loss by it.
      gradient_accumulation_steps: one step with the mean of so many gradients; schedules count
        gradients, everything else steps.
      lr: the old name of `learning_rate`.
      decay: learning_rate / (1 + decay * t), with t the steps taken, on top of a schedule, too.
      gradient_aggregator: a function from a list of (gradient, variable) pairs to another, or a
        transformation such as `adamx.psum("data")`; None where gradients are already those of all
        devices.
      gradient_transformers: more such functions, called afterwards; not together with a clip.
      gradients_clip_option, ema_option: the clips and the average, each as one argument.
      mesh: state is created on this mesh, replicated unless its parameter is sharded on it.
      jit_compile: whether `apply_gradients` and `minimize` compile the step.
      adaptive_epsilon: epsilon outside the corrected root, as in Algorithm 1.
      preset: "keras" for Keras 3, "tensorflow" for TF 2.11 and later and DTensor, "legacy" for TF
        1.x to 2.10. They differ in the order of clips, in where the average starts, and in the
        order of weights.

    Returns:
      A transformation with state `KerasOptimizerState(count, inner_state)`.

    Raises:
      ValueError: a number outside its range, or arguments that do not go together.
      TypeError: an argument of the wrong kind.

    References:
      Kingma & Ba, Adam, 2015, end of section 2; Reddi, Kale & Kumar, 2018, Algorithm 2.

    Example:
      >>> from adamx.interop import keras
      >>> keras.Adam(0.1, clipnorm=1.0).chain
      named_chain(
          ('clipnorm', clip_by_norm(max_norm=1.0)),
          ('core', scale_by_adam(b1=0.9, b2=0.999, eps=1e-07, eps_root=0.0, eps_hat=True)),
          ('learning_rate', scale_by_learning_rate(learning_rate=0.1)),
      )
    """
    given = dict(locals())
    given["learning_rate"] = _rate(learning_rate, lr)
    given |= _options(given, gradients_clip_option, ema_option)
    hat = not check_switch(Where("Adam", "adaptive_epsilon"), adaptive_epsilon)
    return build_optimizer("Adam", given, _core("Adam", amsgrad, hat))


def AdamW(
    learning_rate: ScalarOrSchedule | dict[str, Any] = _LEARNING_RATE,
    weight_decay: float = 0.004,
    beta_1: ScalarOrSchedule = 0.9,
    beta_2: ScalarOrSchedule = 0.999,
    epsilon: ScalarOrSchedule | None = 1e-7,
    amsgrad: bool = False,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
    name: str = "AdamW",
    *,
    mesh: jax.sharding.Mesh | None = None,
    jit_compile: bool = True,
    preset: str = "keras",
) -> KerasOptimizer:
    """Adam with decoupled weight decay: `Adam` with `weight_decay=0.004`.

    Args:
      learning_rate, beta_1, beta_2, epsilon, amsgrad, clipnorm, clipvalue, global_clipnorm,
        use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor,
        gradient_accumulation_steps, name, mesh, jit_compile: see `Adam`.
      weight_decay: a number or schedule; not None.
      preset: "keras" or "tensorflow".

    Raises:
      ValueError, TypeError: as `Adam`.

    Reference:
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, Algorithm 2.

    Example:
      >>> from adamx.interop import keras
      >>> keras.AdamW(0.1).chain.links[1]
      add_decayed_weights(weight_decay=0.004)
    """
    if weight_decay is None:
        raise ValueError("AdamW: `weight_decay` must be a number, got None; write `Adam` for none")
    return build_optimizer("AdamW", locals(), _core("AdamW", amsgrad, True))
