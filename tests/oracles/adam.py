"""Oracles of Adam itself and of the optimizers that reuse its direction or its moments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .core import Grads, Leaves, Mask, Rule, Scalar, at, correction, descend, ema, numerator, square


def _adam_rule(
    b1: Scalar,
    b2: Scalar,
    eps: float,
    eps_root: float,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> Callable[[np.ndarray], Rule]:
    """Direction of Kingma & Ba, 2015 (arXiv:1412.6980), Algorithm 1.

    ``eps_hat`` selects the reordered computation of the last paragraph of Section 2, where the
    constant is added to the root of the uncorrected second moment.
    """

    def make(leaf: np.ndarray) -> Rule:
        m, v = np.zeros_like(leaf), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, v
            t, beta1, beta2 = count + 1, at(b1, count), at(b2, count)
            # biased first and second raw moment estimates
            m = ema(m, g, beta1)
            v = ema(v, square(g), beta2)
            # bias-corrected first moment, with the Nesterov blend where asked for
            m_hat = numerator(m, g, beta1, t, nesterov)
            c2 = correction(beta2, t)
            if eps_hat:
                # Section 2: the correction of v moves from the denominator to the step size
                return np.sqrt(c2) * m_hat / (np.sqrt(v + eps_root) + eps)
            # Algorithm 1: bias-corrected second moment under the root
            return m_hat / (np.sqrt(v / c2 + eps_root) + eps)

        return rule

    return make


def adam(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> list[Leaves]:
    """Kingma & Ba, 2015 (arXiv:1412.6980), Algorithm 1; ``eps_hat``: end of Section 2."""
    return descend(
        params, grads, _adam_rule(b1, b2, eps, eps_root, nesterov, eps_hat), learning_rate
    )


def adamw(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Scalar = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
) -> list[Leaves]:
    """Loshchilov & Hutter, 2019 (arXiv:1711.05101), Algorithm 2 (AdamW)."""
    rule = _adam_rule(b1, b2, eps, eps_root, nesterov, eps_hat)
    return descend(params, grads, rule, learning_rate, weight_decay, mask)


def nadam(params: Leaves, grads: Grads, learning_rate: Scalar, **hyper: Any) -> list[Leaves]:
    """Dozat, 2016, Algorithm 2 (Nadam), without its extra factor ``b2`` on the second moment.

    That factor is left out by optax and by most other implementations, as it is here.
    """
    return adam(params, grads, learning_rate, nesterov=True, **hyper)


def nadamw(params: Leaves, grads: Grads, learning_rate: Scalar, **hyper: Any) -> list[Leaves]:
    """Nadam's direction with the decay of Loshchilov & Hutter, 2019, Algorithm 2."""
    return adamw(params, grads, learning_rate, nesterov=True, **hyper)


def amsgrad(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    eps_hat: bool = False,
) -> list[Leaves]:
    """Reddi, Kale & Kumar, 2018 (arXiv:1904.09237), Algorithm 2.

    The paper corrects no bias; both flags ``False`` give its form, plus ``eps``. By default the
    maximum is taken over the bias-corrected second moment, as optax does. ``eps_hat`` moves the
    correction of the second moment out of the root as for Adam, so that with both epsilons zero
    it changes nothing.
    """

    def make(leaf: np.ndarray) -> Rule:
        m, v, v_max = np.zeros_like(leaf), np.zeros_like(leaf.real), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, v, v_max
            t, beta1, beta2 = count + 1, at(b1, count), at(b2, count)
            # moments as in Adam
            m = ema(m, g, beta1)
            v = ema(v, square(g), beta2)
            # bias corrections, each one optional
            m_hat = m / (correction(beta1, t) if bias_correction_mu else 1.0)
            c2 = correction(beta2, t) if bias_correction_nu else np.float64(1.0)
            # the running maximum keeps the effective step size from growing
            v_max = np.maximum(v_max, v / c2)
            if eps_hat:
                # undo the correction under the root and put it on the step size instead
                return np.sqrt(c2) * m_hat / (np.sqrt(c2 * v_max + eps_root) + eps)
            return m_hat / (np.sqrt(v_max + eps_root) + eps)

        return rule

    return descend(params, grads, make, learning_rate)


def _adamax_rule(b1: Scalar, b2: Scalar, eps: float) -> Callable[[np.ndarray], Rule]:
    """Direction of Kingma & Ba, 2015, Algorithm 2, with optax's ``eps`` inside the maximum."""

    def make(leaf: np.ndarray) -> Rule:
        m, u = np.zeros_like(leaf), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, u
            beta1, beta2 = at(b1, count), at(b2, count)
            # biased first moment
            m = ema(m, g, beta1)
            # exponentially weighted infinity norm; it needs no bias correction
            u = np.maximum(beta2 * u, np.abs(g) + eps)
            return m / correction(beta1, count + 1) / u

        return rule

    return make


def adamax(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
) -> list[Leaves]:
    """Kingma & Ba, 2015 (arXiv:1412.6980), Section 7.1, Algorithm 2."""
    return descend(params, grads, _adamax_rule(b1, b2, eps), learning_rate)


def adamaxw(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
    weight_decay: Scalar = 1e-4,
    mask: Mask = None,
) -> list[Leaves]:
    """AdaMax's direction with the decay of Loshchilov & Hutter, 2019, Algorithm 2."""
    return descend(params, grads, _adamax_rule(b1, b2, eps), learning_rate, weight_decay, mask)


def lamb(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: Scalar = 0.0,
    mask: Mask = None,
) -> list[Leaves]:
    """You et al., 2020 (arXiv:1904.00962), Algorithm 2, with the identity for ``phi``."""

    def trust_ratio(p: np.ndarray, direction: np.ndarray) -> np.float64:
        # Euclidean norms over the whole leaf, which is the paper's layer
        p_norm, d_norm = np.sqrt(square(p).sum()), np.sqrt(square(direction).sum())
        # a zero norm leaves the step unscaled, so that zero parameters can move
        return p_norm / d_norm if p_norm > 0 and d_norm > 0 else np.float64(1.0)

    rule = _adam_rule(b1, b2, eps, eps_root)
    return descend(params, grads, rule, learning_rate, weight_decay, mask, trust_ratio)
