"""Oracle of Schedule-Free AdamW, which descends three sequences instead of one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .core import Grads, Leaves, Scalar, at, correction, ema, promote, square


def _schedule_free_steps(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar = 0.0025,
    warmup_steps: int | None = None,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
    weight_decay: Scalar = 0.0,
    weight_lr_power: float = 2.0,
) -> Iterator[tuple[Leaves, Leaves]]:
    """The ``(y, x)`` sequences of Defazio et al., 2024 (arXiv:2405.15682), Algorithm 1.

    Three choices of optax's: the step uses the learning rate at ``count`` and the averaging weight
    that at ``count + 1`` (the paper has one value per step), the bias correction divides ``v``
    and is not part of the averaging weight, and the weight is the largest learning rate so far
    to the power ``weight_lr_power`` (2 in the paper).
    """

    def lr_at(count: int) -> np.float64:
        # linear warm-up from zero, constant afterwards
        ramp = 1.0 if warmup_steps is None else min(count / warmup_steps, 1.0)
        return ramp * at(learning_rate, count)

    x = [promote(p) for p in params]
    y, z = list(x), list(x)
    v = [np.zeros_like(p.real) for p in x]
    largest, total = np.float64(0.0), np.float64(0.0)
    for count, step_grads in enumerate(grads):
        lr, beta1, beta2 = lr_at(count), at(b1, count), at(b2, count)
        decay = at(weight_decay, count)
        # weight of this iterate in the average; 0/0 before any learning rate counts as 0
        largest = np.maximum(largest, lr_at(count + 1))
        weight = largest**weight_lr_power
        total = total + weight
        c = weight / total if total > 0 else np.float64(0.0)
        for i, grad in enumerate(step_grads):
            g = promote(grad)
            # momentum-free Adam direction, gradient and decay both taken at y
            v[i] = ema(v[i], square(g), beta2)
            direction = g / (np.sqrt(v[i] / correction(beta2, count + 1)) + eps)
            z[i] = z[i] - lr * (direction + decay * y[i])
            # weighted average of the z iterates
            x[i] = (1 - c) * x[i] + c * z[i]
            # the next gradient is taken between the two
            y[i] = (1 - beta1) * z[i] + beta1 * x[i]
        yield [leaf.copy() for leaf in y], [leaf.copy() for leaf in x]


def schedule_free_adamw(params: Leaves, grads: Grads, *args: Any, **hyper: Any) -> list[Leaves]:
    """Defazio et al., 2024, Algorithm 1: the training parameters ``y`` after each step."""
    return [y for y, _ in _schedule_free_steps(params, grads, *args, **hyper)]


def schedule_free_adamw_eval_params(
    params: Leaves, grads: Grads, *args: Any, **hyper: Any
) -> list[Leaves]:
    """Defazio et al., 2024, Algorithm 1: the evaluation parameters ``x`` after each step."""
    return [x for _, x in _schedule_free_steps(params, grads, *args, **hyper)]
