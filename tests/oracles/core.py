"""What all the float64 oracles share: schedules, moving averages, corrections, the descent loop.

Notation: ``count`` is the 0-based step, ``t = count + 1`` the 1-based step of the papers.
"""

from collections.abc import Callable, Sequence

import numpy as np

# A hyper-parameter: a number, or a schedule of the 0-based step count.
Scalar = float | Callable[[int], float]
Leaves = list[np.ndarray]
Grads = Sequence[Sequence[np.ndarray]]
Mask = Sequence[bool] | None
# A rule holds the moments of one leaf; called once per step, it returns the descent direction.
Rule = Callable[[np.ndarray, int], np.ndarray]


def at(value: Scalar, count: int) -> np.float64:
    """Value of a constant or scheduled hyper-parameter at a 0-based step, in float64."""
    return np.float64(value(count) if callable(value) else value)


def promote(leaf: np.ndarray) -> np.ndarray:
    """Copy of a leaf in the widest precision: float64, or complex128 for a complex leaf."""
    return np.array(leaf, dtype=np.complex128 if np.iscomplexobj(leaf) else np.float64)


def square(g: np.ndarray) -> np.ndarray:
    """``|g|**2`` element by element: the plain square of a real array."""
    return g.real**2 + g.imag**2


def correction(beta: np.float64, t: int) -> np.float64:
    """``1 - beta**t`` without cancellation: the total weight of a t-step moving average."""
    with np.errstate(divide="ignore"):
        return -np.expm1(t * np.log(beta))


def ema(average: np.ndarray, new: np.ndarray, beta: np.float64) -> np.ndarray:
    """One step of the exponential moving average that all these papers share."""
    return beta * average + (1 - beta) * new


def numerator(m: np.ndarray, g: np.ndarray, b1: np.float64, t: int, nesterov: bool) -> np.ndarray:
    """Bias-corrected first moment; with ``nesterov``, Dozat (2016), Algorithm 2.

    Dozat's schedule ``mu_t`` is the constant ``b1``, so its products are powers of ``b1`` and the
    look-ahead moment is corrected with exponent ``t + 1``.
    """
    if not nesterov:
        return m / correction(b1, t)
    return b1 * m / correction(b1, t + 1) + (1 - b1) * g / correction(b1, t)


def descend(
    params: Leaves,
    grads: Grads,
    make_rule: Callable[[np.ndarray], Rule],
    learning_rate: Scalar,
    weight_decay: Scalar = 0.0,
    mask: Mask = None,
    layer_scale: Callable[[np.ndarray, np.ndarray], np.float64] | None = None,
) -> list[Leaves]:
    """Run one rule per leaf and step against its direction, with decoupled weight decay.

    The decay is that of Loshchilov & Hutter, 2019 (arXiv:1711.05101), Algorithm 2, line 12, with
    their schedule multiplier and their step size both inside ``learning_rate``, as in optax.
    """
    leaves = [promote(p) for p in params]
    rules = [make_rule(p) for p in leaves]
    decayed = [True] * len(leaves) if mask is None else mask
    trajectory = []
    for count, step_grads in enumerate(grads):
        lr, decay = at(learning_rate, count), at(weight_decay, count)
        for i, (rule, grad) in enumerate(zip(rules, step_grads, strict=True)):
            # the adaptive direction never sees the decay: that is what "decoupled" means
            direction = rule(promote(grad), count)
            # the decay pulls the masked-in leaves towards the origin
            direction = direction + (decay if decayed[i] else 0.0) * leaves[i]
            # LAMB rescales the whole direction of a layer, decay included
            scale = 1.0 if layer_scale is None else layer_scale(leaves[i], direction)
            leaves[i] = leaves[i] - lr * scale * direction
        trajectory.append([leaf.copy() for leaf in leaves])
    return trajectory
