"""Oracles of the optimizers with their own second moment, momentum or normalisation."""

from collections.abc import Callable

import numpy as np

from .core import Grads, Leaves, Mask, Rule, Scalar, at, correction, descend, ema, numerator, square


def radam(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
) -> list[Leaves]:
    """Liu et al., 2020 (arXiv:1908.03265), Algorithm 2.

    The paper rectifies where ``rho_t > 4``; optax's test is ``rho_t >= threshold`` with 5. The
    paper's Algorithm 2 has no epsilon; ``eps`` and ``eps_root`` enter as in Adam.
    """

    def make(leaf: np.ndarray) -> Rule:
        m, v = np.zeros_like(leaf), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, v
            t, beta1, beta2 = count + 1, at(b1, count), at(b2, count)
            # moments and bias-corrected momentum as in Adam
            m = ema(m, g, beta1)
            v = ema(v, square(g), beta2)
            m_hat = numerator(m, g, beta1, t, nesterov)
            c2 = correction(beta2, t)
            # maximum and current length of the approximated simple moving average
            rho_inf = 2 / (1 - beta2) - 1
            rho = rho_inf - 2 * t * beta2**t / c2
            if rho < threshold:
                # variance not tractable: un-adapted momentum
                return m_hat
            # variance rectification term
            r = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            return np.sqrt(r) * m_hat / (np.sqrt(v / c2 + eps_root) + eps)

        return rule

    return descend(params, grads, make, learning_rate)


def adabelief(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    *,
    nesterov: bool = False,
) -> list[Leaves]:
    """Zhuang et al., 2020 (arXiv:2010.07468), Algorithm 2.

    The paper's single epsilon is both ``eps_root``, accumulated into ``s`` at each step, and
    ``eps``, outside the root.
    """

    def make(leaf: np.ndarray) -> Rule:
        m, s = np.zeros_like(leaf), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, s
            t, beta1, beta2 = count + 1, at(b1, count), at(b2, count)
            # momentum first: the belief is measured against the new one
            m = ema(m, g, beta1)
            # variance of the gradient around its momentum
            s = ema(s, square(g - m), beta2) + eps_root
            m_hat = numerator(m, g, beta1, t, nesterov)
            return m_hat / (np.sqrt(s / correction(beta2, t)) + eps)

        return rule

    return descend(params, grads, make, learning_rate)


def yogi(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: float = 1e-3,
) -> list[Leaves]:
    """Zaheer et al., 2018 (NeurIPS, "Adaptive Methods for Nonconvex Optimization"), Algorithm 2.

    Both moments start from 1e-6 and are bias-corrected, as in optax; the paper starts the second
    moment from a small constant and corrects neither.
    """
    start = 1e-6

    def make(leaf: np.ndarray) -> Rule:
        m, v = np.full_like(leaf, start), np.full_like(leaf.real, start)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, v
            t, beta1, beta2 = count + 1, at(b1, count), at(b2, count)
            m = ema(m, g, beta1)
            # additive step towards the squared gradient: its size never depends on v
            g2 = square(g)
            v = v - (1 - beta2) * np.sign(v - g2) * g2
            m_hat, v_hat = m / correction(beta1, t), v / correction(beta2, t)
            return m_hat / (np.sqrt(v_hat) + eps)

        return rule

    return descend(params, grads, make, learning_rate)


def adopt(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.9999,
    eps: float = 1e-6,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[int], float] = lambda x: x**0.25,
) -> list[Leaves]:
    """Taniguchi et al., 2024 (arXiv:2411.02853): clipped ADOPT, or ADOPT without clipping.

    The first gradient only initialises the second moment, so the first step moves nothing and
    ``count`` is the paper's ``t``. ``nesterov`` averages the new gradient in a second time, as
    optax does. A complex gradient is clipped by its modulus.
    """

    def make(leaf: np.ndarray) -> Rule:
        m, v = np.zeros_like(leaf), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m, v
            beta1, beta2 = at(b1, count), at(b2, count)
            if count == 0:
                # v_0 = g_0**2 and m_0 = 0
                v = square(g)
                return np.zeros_like(g)
            # normalise with the previous v, which is independent of the current gradient
            scaled = g / np.maximum(np.sqrt(v), eps)
            if use_clipping:
                # |scaled| at most c_t; for real numbers, a clip to [-c_t, c_t]
                bound = at(clip_value_fn, count)
                scaled = scaled * (bound / np.maximum(np.abs(scaled), bound))
            # momentum after the normalisation, the order that gives ADOPT its name
            m = ema(m, scaled, beta1)
            v = ema(v, square(g), beta2)
            return ema(m, scaled, beta1) if nesterov else m

        return rule

    return descend(params, grads, make, learning_rate)


def ademamix(
    params: Leaves,
    grads: Grads,
    learning_rate: Scalar,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    b3: Scalar = 0.9999,
    alpha: Scalar = 5.0,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Scalar = 0.0,
    mask: Mask = None,
) -> list[Leaves]:
    """Pagliardini, Ablin & Grangier, 2024 (arXiv:2409.03137), Algorithm 1."""

    def make(leaf: np.ndarray) -> Rule:
        m1, m2, v = np.zeros_like(leaf), np.zeros_like(leaf), np.zeros_like(leaf.real)

        def rule(g: np.ndarray, count: int) -> np.ndarray:
            nonlocal m1, m2, v
            t, beta1, beta2 = count + 1, at(b1, count), at(b2, count)
            # fast and slow moving averages of the gradient
            m1 = ema(m1, g, beta1)
            m2 = ema(m2, g, at(b3, count))
            v = ema(v, square(g), beta2)
            # the slow average is deliberately not bias-corrected
            mixed = m1 / correction(beta1, t) + at(alpha, count) * m2
            return mixed / (np.sqrt(v / correction(beta2, t) + eps_root) + eps)

        return rule

    return descend(params, grads, make, learning_rate, weight_decay, mask)
