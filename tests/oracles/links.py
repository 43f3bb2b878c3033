"""Float64 oracles of the links around the core, written from their definitions.

Each takes and returns lists of leaves. What a link remembers is recomputed from the whole history
instead of being carried along: an average is a weighted sum, a spike is told from all norms so far.

Nothing here imports the library under test, JAX or optax.
"""

from collections.abc import Sequence

import numpy as np

from .core import Grads, Leaves, promote, square


def norm(leaves: Leaves) -> np.float64:
    """Euclidean norm over all leaves together."""
    return np.sqrt(sum(square(promote(u)).sum() for u in leaves))


def shrink(u: np.ndarray, size: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """``u`` as it is where ``size <= limit``, else along its own direction down to the limit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > limit, u / size * limit, u)


def clip(leaves: Leaves, max_delta: float) -> Leaves:
    return [shrink(promote(u), np.abs(promote(u)), np.float64(max_delta)) for u in leaves]


def clip_by_norm(leaves: Leaves, max_norm: float) -> Leaves:
    return [shrink(promote(u), norm([u]), np.float64(max_norm)) for u in leaves]


def clip_by_block_rms(leaves: Leaves, threshold: float) -> Leaves:
    """Shazeer & Stern, 2018 (arXiv:1804.04235), Algorithm 4, line 9."""
    return [
        shrink(promote(u), np.sqrt(square(promote(u)).mean()), np.float64(threshold))
        for u in leaves
    ]


def clip_by_global_norm(leaves: Leaves, max_norm: float) -> Leaves:
    """Pascanu et al., 2013 (arXiv:1211.5063), Algorithm 1."""
    return [shrink(promote(u), norm(leaves), np.float64(max_norm)) for u in leaves]


def units(u: np.ndarray) -> np.ndarray:
    """The norm of the unit of every element, one output at a time, for up to five axes."""
    if sum(n > 1 for n in u.shape) <= 1:
        return np.full(u.shape, norm([u]))
    result = np.empty(u.shape)
    inputs = 1 if u.ndim <= 3 else u.ndim - 1
    for output in np.ndindex(u.shape[inputs:]):
        index = (slice(None),) * inputs + output
        result[index] = norm([u[index]])
    return result


def adaptive_grad_clip(leaves: Leaves, params: Leaves, clipping: float, eps: float) -> Leaves:
    """Brock et al., 2021 (arXiv:2102.06171), equation 3."""
    return [
        shrink(promote(u), units(u), clipping * np.maximum(units(p), eps))
        for u, p in zip(leaves, params, strict=True)
    ]


def statistics(norms: Sequence[float], decay: float) -> tuple[np.float64, np.float64]:
    """Mean and variance of the norms, the latest with weight 1, each earlier one ``decay`` less."""
    x = np.asarray(norms, np.float64)
    weights = np.float64(decay) ** np.arange(len(x))[::-1]
    weights = weights / weights.sum()
    mean = (weights * x).sum()
    return mean, (weights * (x - mean) ** 2).sum()


def clip_spikes(
    grads: Grads, num_std: float, decay: float, warmup_steps: int
) -> tuple[list[Leaves], list[float]]:
    """The clipped gradients of all steps, and their norms: those that the statistics are of."""
    clipped, seen = [], []
    for leaves in grads:
        limit = np.inf
        if len(seen) >= warmup_steps:
            mean, variance = statistics(seen, decay)
            limit = mean + num_std * np.sqrt(variance)
        clipped.append(clip_by_global_norm(leaves, limit))
        if np.isfinite(norm(leaves)):
            seen.append(float(min(norm(leaves), limit)))
    return clipped, seen


def ema(grads: Grads, decay: float, debias: bool) -> list[Leaves]:
    """Kingma & Ba, 2015 (arXiv:1412.6980), section 3: weights (1 - decay) decay**age."""
    result = []
    for t in range(1, len(grads) + 1):
        weights = (1 - decay) * np.float64(decay) ** np.arange(t)[::-1]
        weights = weights / weights.sum() if debias else weights
        columns = zip(*grads[:t], strict=True)
        result.append(
            [sum(w * promote(g) for w, g in zip(weights, c, strict=True)) for c in columns]
        )
    return result


def trace(grads: Grads, decay: float, nesterov: bool) -> list[Leaves]:
    """Sutskever et al., 2013: weights decay**age; with ``nesterov`` one step further."""
    result = []
    for t in range(1, len(grads) + 1):
        age = np.arange(t)[::-1]
        weights = np.float64(decay) ** age
        if nesterov:
            # g_t + decay * trace_t
            weights = decay * weights + (age == 0)
        columns = zip(*grads[:t], strict=True)
        result.append(
            [sum(w * promote(g) for w, g in zip(weights, c, strict=True)) for c in columns]
        )
    return result


def centralize(leaves: Leaves) -> Leaves:
    """Yong et al., 2020 (arXiv:2004.01461), equation 1."""
    return [
        promote(u) if u.ndim < 2 else np.stack([promote(row) - promote(row).mean() for row in u])
        for u in leaves
    ]


def scale_by_sign(leaves: Leaves) -> Leaves:
    def sign(z: complex) -> complex:
        return z / abs(z) if z else z

    return [np.vectorize(sign, otypes=[promote(u).dtype])(promote(u)) for u in leaves]


def cautious(proposed: Leaves, grads: Leaves, least_share: float = 1e-3) -> Leaves:
    """Liang et al., 2024 (arXiv:2411.16085), Algorithm 1, with the authors' lower bound."""
    result = []
    for u, g in zip(map(promote, proposed), map(promote, grads), strict=True):
        mask = (u * np.conj(g)).real > 0
        result.append(u * mask / max(mask.mean(), least_share))
    return result
