"""The protocol: `init(params) -> state`, `update(updates, state, params) -> (updates, state)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import chex
import jax

from adamx.core import tree
from adamx.core.apply import apply_updates
from adamx.core.value import Value

Params: TypeAlias = chex.ArrayTree
Updates: TypeAlias = chex.ArrayTree
State: TypeAlias = Any


class EmptyState(NamedTuple):
    """The state of a transformation that keeps none."""


class GradientTransformation(Value, abstract=True):
    """A gradient transformation as a value: optax's protocol, on a frozen dataclass.

    Closed over by `jit`, its numbers are constants; passed to `jit` as an argument, they are
    data, so that ten learning rates share one compiled program and `jax.vmap` trains a sweep.

    Example:
      >>> import adamx
      >>> tx = adamx.scale_by_learning_rate(0.1)
      >>> init, update = tx
      >>> update(2.0, init(1.0))[0]
      Array(-0.2, dtype=float32)
    """

    def init(self, params: Params) -> State:
        """The state for `params`, which may also be `jax.ShapeDtypeStruct`s under `eval_shape`."""
        return EmptyState()

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        """Transforms `updates` (gradients at the head of a chain); pure."""
        raise NotImplementedError(type(self).__name__)

    def step(
        self, grads: Updates, state: State, params: Params, **extra: Any
    ) -> tuple[Params, State]:
        """One whole step: `update`, then `apply_updates`. Returns `(params, state)`.

        The updates are rounded to the parameters' dtypes before they are added.

        To update in place, jit a function that takes and returns parameters and state in the same
        order and donate both; JAX pairs donated buffers with results by their order:

            @functools.partial(jax.jit, donate_argnums=(0, 1))
            def train_step(params, state, batch):
                grads = jax.grad(loss)(params, batch)
                return tx.step(grads, state, params)
        """
        updates, state = self.update(grads, state, params, **extra)
        updates = tree.with_dtypes_of("apply_updates", "parameters", params, updates)
        return apply_updates(params, updates), state

    def keeps_updates(self) -> bool:
        """Whether `update` always returns the updates that it was given."""
        return False

    def puts_off_updates(self) -> bool:
        """Whether a part of a step is left out of the updates, and comes with those of later ones.

        A link behind would neither see that part in time nor change what is made up for later.
        """

        def is_part(node: Any) -> bool:
            return node is not self and isinstance(node, GradientTransformation)

        parts = filter(is_part, jax.tree.leaves(self, is_leaf=is_part))
        return any(part.puts_off_updates() for part in parts)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        """Unpacks like optax's pair: `init, update = tx`."""
        yield self.init
        yield self.update
