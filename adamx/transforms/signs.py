"""Signs: updates made of them, and updates held back where they disagree."""

from __future__ import annotations

from typing import Any

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics, tree, xla
from adamx.core.link import Link
from adamx.core.transformation import GradientTransformation, Params, State, Updates, walk
from adamx.core.wrapper import Wrapper
from adamx.transforms.scaling import HasLearningRate, scale_leaves

# An update is never enlarged more than a thousandfold for the share of it that was held back.
_LEAST_SHARE = 1e-3


def _sign(u: chex.Array) -> chex.Array:
    """-1, 0 or 1; for a complex number u / |u|, found without squaring large numbers."""
    u = jnp.asarray(u)
    if not numerics.is_complex(u):
        return jnp.sign(u)
    largest = jnp.maximum(jnp.abs(u.real), jnp.abs(u.imag))
    nonzero = largest != 0.0
    unit = jnp.where(nonzero, u / jnp.where(nonzero, largest, 1.0), 1.0)
    return jnp.where(nonzero, unit / jnp.abs(unit), 0.0).astype(u.dtype)


class ScaleBySign(Link):
    """Replaces every element by its sign: `u <- sign(u)`.

    0 stays 0 and a NaN stays one; a complex element becomes u / |u|.

    Reference:
      Bernstein et al., signSGD, 2018, Algorithm 1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.scale_by_sign()
      >>> tx.update(jnp.array([-3.0, 0.0, 0.5]), tx.init(None))[0]
      Array([-1.,  0.,  1.], dtype=float32)
    """

    rows = "coalesced"

    def rule(self, s: Any, u: chex.Array, p: None) -> chex.Array:
        return _sign(u)


scale_by_sign = ScaleBySign


def _is_downhill(link: GradientTransformation) -> bool:
    return isinstance(link, HasLearningRate) and link.goes_downhill()


class Cautious(Wrapper):
    """Holds back every element of an update whose sign is not that of the gradient.

        u <- the update of inner for the gradient g
        k <- 1 where u * g > 0, else 0
        u <- u * k / max(mean(k), 1e-3)        per leaf

    so that momentum never moves a parameter uphill; what is left of a leaf is enlarged by the
    share that was held back.  A complex element is held back where Re(u * conj(g)) <= 0, a NaN
    update is passed on.  The proposed update is stored once, as its mean has to be known before
    its first element.

        chain(cautious(scale_by_adam()), add_decayed_weights(0.1), scale_by_learning_rate(lr))

    Args:
      inner: the transformation that makes the update, without the learning rate: its updates point
        uphill, like the gradient.
      flip_sign: `inner` points downhill (it ends in a learning rate); hold back where u * g > 0.

    Returns:
      A transformation with the state of `inner`.

    Raises:
      TypeError: `inner` is no transformation, `flip_sign` no boolean.
      ValueError: `inner` has a `scale_by_learning_rate` that flips the sign, without `flip_sign`.

    Reference:
      Liang et al., Cautious Optimizers: Improving Training with One Line of Code, 2024,
      Algorithm 1; the mean is bounded from below as in the authors' code.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.cautious(adamx.trace(0.5))
      >>> _, state = tx.update(jnp.array([1.0, 4.0]), tx.init(jnp.zeros(2)))
      >>> tx.update(jnp.array([1.0, -1.0]), state)[0]
      Array([3., 0.], dtype=float32)
    """

    flip_sign: bool = fields.switch(default=False, kw_only=True)

    def check_together(self) -> None:
        rates = [v.transformation for v in walk(self.inner) if _is_downhill(v.transformation)]
        if rates and not self.flip_sign:
            raise ValueError(
                f"{self.public_name}: `inner` has a `scale_by_learning_rate` that flips the sign, "
                "so that every good update would be held back; put it behind "
                f"`{self.public_name}`, or pass `flip_sign=True`, got {self.flip_sign}"
            )

    def child_states(self, state: State) -> dict[str, State]:
        return {"inner": state}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return states["inner"]

    def init(self, params: Params) -> State:
        return self.inner.init(params)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        proposed, state = self.inner.update(updates, state, params, **extra)

        def agreement(g: chex.Array, u: chex.Array) -> chex.Array:
            """1, 0, -1 or NaN; of signs, as a product of small numbers would be 0."""
            signs = _sign(numerics.widen(g)) * jnp.conj(_sign(numerics.widen(u)))
            return -jnp.sign(signs.real) if self.flip_sign else jnp.sign(signs.real)

        def hold_back(g: chex.Array, u: chex.Array) -> chex.Array:
            g, u = jnp.asarray(g), jnp.asarray(u)
            if not u.size:
                return u
            with_g = agreement(g, u)
            kept, dropped = xla.count_both(with_g > 0.0, with_g <= 0.0)
            share = kept / jnp.maximum(kept + dropped, 1)
            factor = 1.0 / jnp.maximum(share, _LEAST_SHARE)
            # A NaN is not held back: it is passed on.
            return jnp.where(with_g <= 0.0, 0.0, scale_leaves(u, factor))

        return tree.map_leaves(hold_back, updates, proposed), state


cautious = Cautious
