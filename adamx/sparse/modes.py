"""How one table steps: what each mode does with the rows of a gradient.

A `Mode` is called leaf by leaf, and its `LeafState(mu, nu, memory)` holds all that is remembered
about one table; `memory` is the mode's own, None if it needs nothing.  `Step` holds the numbers of
one step, with which the dense one is

    d = mu * c.mu_scale / (sqrt(nu * c.nu_scale + c.eps_root) + c.eps)        c = step.corrections
    table <- table - step.learning_rate * (d + step.weight_decay * table)

("epsilon hat" is already in `c.eps`).  Nothing but the touched rows may be read, computed or
copied: see `move_rows`.

A table may be behind: rows that would have moved, and have not yet.  Then its memory has two more
methods, so that everything else works without knowing the mode or its numbers:

    memory.read(table, mu, nu, ids) -> rows               as they are by now; for ids in the table
    memory.flush(table, mu, nu) -> (table, LeafState)     everything as it is by now
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.adam.formula import Corrections, adam_direction, average
from adamx.core import numerics
from adamx.core.hyperparameter import Hyperparameter, Number, as_dtype
from adamx.core.rows import SparseRows
from adamx.sparse.pieces import Gradient, LeafState, move_rows


class Step(NamedTuple):
    """The numbers of one step."""

    count: chex.Array  # int32[], 1 on the first step
    corrections: Corrections
    learning_rate: Number
    weight_decay: Number  # decoupled; exactly the Python number 0.0 where there is none

    def in_precision_of(self, x: Any) -> Step:
        """With all numbers in the precision in which `x` is computed, so that none promotes it."""
        real = numerics.real_dtype(jnp.result_type(x, jnp.float32))
        return Step(self.count, *jax.tree.map(lambda s: as_dtype(s, real), self[1:]))

    @property
    def decays(self) -> bool:
        """Whether the table itself has to be read."""
        return not (isinstance(self.weight_decay, float) and self.weight_decay == 0.0)


class Mode:
    """What a mode has to say for itself."""

    def check(self, owner: str, b1: Hyperparameter, b2: Hyperparameter, eps_root: Any) -> None:
        """Raises ValueError for numbers with which the mode does not work; knows all of them."""

    def init(self, table: chex.Array, mu_dtype: str | None, nu_dtype: str | None) -> LeafState:
        """Before the first step; also for a `ShapeDtypeStruct` under `eval_shape`."""
        raise NotImplementedError(type(self).__name__)

    def touched(self, rows: SparseRows, state: LeafState) -> Gradient:
        """The same gradient with all rows that the next step writes, each once."""
        return rows.coalesce()

    def update(
        self, step: Step, gradient: Gradient, state: LeafState, table: chex.Array
    ) -> tuple[Gradient, LeafState]:
        """What to add to the table, and the new state.

        `gradient` is what `touched` returns, or an array, one that touches every row.  The change
        is an array where it is one, else the same rows, with zeros where they are not needed.
        """
        raise NotImplementedError(type(self).__name__)


class Lazy(Mode):
    """Touched rows take the ordinary step, bias correction with the global count; others none."""

    def __init__(self, amsgrad: bool) -> None:
        self.amsgrad = amsgrad  # `memory` is then the largest corrected second moment so far

    def nu_shape(self, table: chex.Array) -> tuple[int, ...]:
        """The shape of the second moment."""
        return np.shape(table)

    def square(self, g: chex.Array) -> chex.Array:
        """What the second moment averages."""
        return numerics.squared_magnitude(g)

    def beside(self, nu: chex.Array, g: chex.Array) -> chex.Array:
        """The second moment in a shape that broadcasts against the gradient's."""
        return nu

    def init(self, table: chex.Array, mu_dtype: str | None, nu_dtype: str | None) -> LeafState:
        mu = jnp.zeros_like(table, dtype=numerics.moment_dtype(table, mu_dtype))
        shape = self.nu_shape(table)
        dtype = numerics.magnitude_dtype(table, nu_dtype)
        zeros = [jnp.zeros_like(table, dtype=dtype, shape=shape) for _ in range(2)]
        return LeafState(mu, zeros[0], zeros[1] if self.amsgrad else None)

    def move(
        self, step: Step, g: chex.Array, old: LeafState, p: chex.Array | None
    ) -> tuple[chex.Array, LeafState]:
        """One step of some rows, or of all of them."""
        s = step.corrections
        mu = average(s.b1, s.one_minus_b1, old.mu, g)
        nu = average(s.b2, s.one_minus_b2, old.nu, self.square(g))
        nu_hat = s.nu_scale * nu
        if self.amsgrad:
            nu_hat = jnp.maximum(old.memory, nu_hat)
        u = adam_direction(s, mu, g, self.beside(nu_hat, g))
        if p is not None:
            u = u + step.weight_decay * p
        return -step.learning_rate * u, LeafState(mu, nu, nu_hat if self.amsgrad else None)

    def update(
        self, step: Step, gradient: Gradient, state: LeafState, table: chex.Array
    ) -> tuple[Gradient, LeafState]:
        step = step.in_precision_of(jnp.promote_types(gradient.dtype, table.dtype))

        def move(g: chex.Array, p: chex.Array, old: LeafState) -> tuple[chex.Array, LeafState]:
            return self.move(step, g, old, p if step.decays else None)

        return move_rows(move, gradient, table, state)


class Dense(Lazy):
    """Every row takes the ordinary step, touched or not."""

    def touched(self, rows: SparseRows, state: LeafState) -> Gradient:
        return rows.to_dense()


class Rowwise(Lazy):
    """As `lazy`, but a row has one second moment: the average of the mean of |g|**2 over it."""

    def nu_shape(self, table: chex.Array) -> tuple[int, ...]:
        return (len(table),)

    def square(self, g: chex.Array) -> chex.Array:
        return jnp.mean(numerics.squared_magnitude(g), axis=tuple(range(1, g.ndim)))

    def beside(self, nu: chex.Array, g: chex.Array) -> chex.Array:
        return nu.reshape(nu.shape + (1,) * (g.ndim - nu.ndim))
