"""Oracles of tables whose gradients touch a few rows: what each mode promises, in float64.

A step is a pair of ids (duplicates are summed, ids outside the table dropped) and values.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import adam as oracles
from .core import Scalar, at, correction, ema, square

Step = tuple[np.ndarray, np.ndarray]  # ids int[n], values float[n, ...]


def dense_gradient(table: np.ndarray, step: Step) -> np.ndarray:
    """The gradient that the ids and values stand for, like the table."""
    ids, values = step
    inside = (ids >= 0) & (ids < len(table))
    gradient = np.zeros(table.shape)
    np.add.at(gradient, ids[inside], values[inside].astype(np.float64))
    return gradient


def _trajectory(table: np.ndarray, leaves: Sequence[list[np.ndarray]]) -> np.ndarray:
    return np.stack([np.asarray(table, np.float64), *(leaf for (leaf,) in leaves)])


def dense(
    table: np.ndarray,
    steps: Sequence[Step],
    learning_rate: Scalar,
    weight_decay: Scalar = 0.0,
    amsgrad: bool = False,
    **hyper: Any,
) -> np.ndarray:
    """AdamW (or AMSGrad) over the whole table: float64[steps + 1, V, ...], the start included."""
    gradients = [[dense_gradient(table, step)] for step in steps]
    if amsgrad:
        return _trajectory(table, oracles.amsgrad([table], gradients, learning_rate, **hyper))
    return _trajectory(
        table,
        oracles.adamw([table], gradients, learning_rate, weight_decay=weight_decay, **hyper),
    )


def _touched_rows_only(
    table: np.ndarray,
    steps: Sequence[Step],
    learning_rate: Scalar,
    weight_decay: Scalar,
    b1: float,
    b2: float,
    eps: float,
    second_moment: Callable[[np.ndarray], np.ndarray],
    by_row: bool = False,
) -> np.ndarray:
    """Adam on the rows that a step touches; the count in the bias corrections is the global one,
    or with `by_row` that of each row's own steps."""
    table = np.array(table, np.float64)
    m, v = np.zeros_like(table), second_moment(np.zeros_like(table))
    trajectory = [table.copy()]
    taken = np.zeros((len(table),) + (1,) * (table.ndim - 1))
    for count, step in enumerate(steps):
        ids = step[0]
        rows = np.unique(ids[(ids >= 0) & (ids < len(table))])
        g = dense_gradient(table, step)[rows]
        taken[rows] += 1
        t = taken[rows] if by_row else count + 1
        # the moments of rows that are not touched stay what they were
        m[rows] = ema(m[rows], g, np.float64(b1))
        v[rows] = ema(v[rows], second_moment(square(g)), np.float64(b2))
        m_hat = m[rows] / correction(np.float64(b1), t)
        v_hat = v[rows] / correction(np.float64(b2), t)
        u = m_hat / (np.sqrt(v_hat) + eps)
        table[rows] -= at(learning_rate, count) * (u + at(weight_decay, count) * table[rows])
        trajectory.append(table.copy())
    return np.stack(trajectory)


def lazy(
    table: np.ndarray,
    steps: Sequence[Step],
    learning_rate: Scalar,
    weight_decay: Scalar = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> np.ndarray:
    """Adam whose untouched rows, moments included, stay as they are (TensorFlow's LazyAdam)."""
    return _touched_rows_only(
        table, steps, learning_rate, weight_decay, b1, b2, eps, lambda squares: squares
    )


def counted(
    table: np.ndarray,
    steps: Sequence[Step],
    learning_rate: Scalar,
    weight_decay: Scalar = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> np.ndarray:
    """``lazy`` with a step count of its own for every row."""
    hyper = learning_rate, weight_decay, b1, b2, eps
    return _touched_rows_only(table, steps, *hyper, lambda squares: squares, by_row=True)


def rowwise(
    table: np.ndarray,
    steps: Sequence[Step],
    learning_rate: Scalar,
    weight_decay: Scalar = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> np.ndarray:
    """``lazy`` with one second moment a row, that of the mean square (FBGEMM's partial Adam)."""
    return _touched_rows_only(
        table,
        steps,
        learning_rate,
        weight_decay,
        b1,
        b2,
        eps,
        lambda squares: squares.mean(axis=tuple(range(1, squares.ndim)), keepdims=True),
    )
