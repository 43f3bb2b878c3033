"""Functions without arguments inside a transformation: read on the host, passed on as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import chex
import jax

from adamx.core.checks import check_depth
from adamx.core.hyperparameter import CallableNumber

T = TypeVar("T")


def _is_reader(node: object) -> bool:
    return isinstance(node, CallableNumber)


def readings(tx: object) -> list[chex.Array | None]:
    """The result of every function without arguments inside `tx`, when it was read."""
    return [x.value for x in jax.tree.leaves(tx, is_leaf=_is_reader) if _is_reader(x)]


def read_callables(tx: T) -> T:
    """The same transformation with every function without arguments called once, now.

    A hyperparameter may be a function without arguments whose number changes between steps, as in
    Keras.  `make_step` reads them before every step.  In a training loop of your own read them
    there, and pass the transformation to the compiled function as an argument: the numbers are
    data, and a new one compiles nothing.

    Args:
      tx: a transformation, a schedule, or any pytree of them.

    Returns:
      The same value; the numbers are arrays of at least 32 bits.

    Raises:
      TypeError: a function that returns something else than a number, or a traced one.
      ValueError: a number outside the hyperparameter's range, as if it had been given directly.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> rate = [0.5]
      >>> tx = adamx.adam(lambda: rate[0])
      >>> step = jax.jit(lambda tx, g, state, p: tx.step(g, state, p))
      >>> p, state = jnp.array(2.0), tx.init(jnp.array(2.0))
      >>> p, state = step(adamx.read_callables(tx), jnp.array(1.0), state, p)
      >>> rate[0] = 0.25
      >>> p, state = step(adamx.read_callables(tx), jnp.array(1.0), state, p)
      >>> float(p)
      1.25
    """
    check_depth("read_callables", tx)
    read: T = jax.tree.map(lambda x: x.read() if _is_reader(x) else x, tx, is_leaf=_is_reader)
    return read


def with_readings(tx: T, values: Sequence[chex.Array | None]) -> T:
    """The transformation with these readings in place of its own."""
    remaining = iter(values)

    def put(x: Any) -> Any:
        if not _is_reader(x):
            return x
        return x.replace(value=next(remaining))

    changed: T = jax.tree.map(put, tx, is_leaf=_is_reader)
    return changed
