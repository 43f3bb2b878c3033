"""Noise on the gradient (Neelakantan et al. 2015)."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import Hyperparameter, ScalarOrSchedule
from adamx.core.link import Link, PerLeaf, View
from adamx.core.norms import safe_sqrt
from adamx.core.transformation import State


class AddNoiseState(NamedTuple):
    """How far the noise has been annealed, and the key of what is to come."""

    count: chex.Array  # int32[], steps taken
    rng_key: chex.Array  # uint32[...], the data of a key


_LARGEST_SEED = 2**32 - 1  # JAX drops higher bits, without x64.


def _check_key(where: Where, value: Any) -> Any:
    if isinstance(value, (jax.Array, np.ndarray)) and value.ndim > 0:
        if value.ndim > 1 or value.dtype != jnp.uint32:
            raise where.error(TypeError, "a seed or one key", value)
        return value
    seed = fields.check_count(where, value, 0)
    if isinstance(seed, int) and seed > _LARGEST_SEED:
        raise where.error(ValueError, f"a key, or a seed of at most {_LARGEST_SEED}", value)
    return seed


def _check_impl(where: Where, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise where.error(TypeError, "the name of a random number generator or None", value)
    return value


def _is_key(x: object) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _data_of(seed: Any, impl: str | None) -> chex.Array:
    return jax.random.key_data(jax.random.key(seed, impl=impl))


class AddNoise(Link):
    """u + sqrt(eta / (1 + count)**gamma) * z with z standard normal."""

    elementwise = False

    eta: Hyperparameter = fields.hyperparameter(fields.NONNEGATIVE)
    gamma: Hyperparameter = fields.hyperparameter(fields.NONNEGATIVE)
    key: int | chex.Array = fields.child(_check_key)  # a seed, or the data of a key
    impl: str | None = fields.static(_check_impl, default=None)  # whose data; None for the default

    def check_together(self) -> None:
        if not np.ndim(self.key):
            return
        shape = jax.eval_shape(lambda: _data_of(0, self.impl)).shape
        if np.shape(self.key) != shape:
            raise ValueError(
                f"{self.public_name}: `key` must be the data of one key, of shape {shape}, got "
                f"{np.shape(self.key)}"
            )

    def state_type(self) -> type[Any]:
        return AddNoiseState

    def numbers(self) -> dict[str, Any]:
        if jnp.ndim(self.key):
            return {"rng_key": jnp.array(self.key, copy=True)}
        return {"rng_key": _data_of(self.key, self.impl)}

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        eta, gamma = self.now(state, "eta", "gamma")
        count = jnp.asarray(numerics.safe_increment(state.count), float)
        deviation = safe_sqrt(eta * count**-gamma)
        next_key, key = jax.random.split(jax.random.wrap_key_data(state.rng_key, impl=self.impl))
        # One key per leaf that gets noise: what else is in the tree changes nothing.
        noisy = [numerics.is_inexact(u) and np.size(u) > 0 for u in tree.flatten(view.updates)[0]]
        keys = iter(jax.random.split(key, sum(noisy)) if any(noisy) else ())
        own = [(deviation, next(keys)) if wanted else None for wanted in noisy]
        return PerLeaf(own), {"rng_key": jax.random.key_data(next_key)}

    def rule(self, s: tuple[chex.Array, chex.Array], u: chex.Array, p: None) -> chex.Array:
        deviation, key = s
        return u + deviation * jax.random.normal(key, u.shape, u.dtype)


def add_noise(eta: ScalarOrSchedule, gamma: ScalarOrSchedule, key: chex.Array | int) -> AddNoise:
    """Adds Gaussian noise of decreasing variance to the gradient.

        u <- u + sigma_t z,  z standard normal,  sigma_t**2 = eta / (1 + t)**gamma

    with t the 0-based step count.  Noise is drawn in at least float32; for a complex leaf sigma_t
    is that of real and imaginary part together.  Every step and every leaf has its own noise, the
    same on all devices that hold the same state.

    Args:
      eta: the variance at the first step, >= 0; a number, a scalar array or a schedule.
      gamma: how fast the variance decreases, >= 0; likewise.
      key: a seed, or a key from `jax.random.key` or `jax.random.PRNGKey`.

    Returns:
      A transformation with state `AddNoiseState(count, rng_key)`; `rng_key` is the data of a key
      (`jax.random.wrap_key_data` makes the key of it).

    Raises:
      ValueError: `eta`, `gamma` or a seed that is negative.
      TypeError: not a number, array or schedule; a key that is neither seed nor key.

    Reference:
      Neelakantan et al., Adding Gradient Noise Improves Learning for Very Deep Networks, 2015,
      section 3.

    Example:
      >>> import adamx
      >>> tx = adamx.add_noise(eta=0.01, gamma=0.55, key=0)
      >>> tx.init(None).rng_key
      Array([0, 0], dtype=uint32)
    """
    if _is_key(key):
        return AddNoise(
            eta=eta,
            gamma=gamma,
            key=jax.random.key_data(key),
            impl=str(jax.random.key_impl(key)),
        )
    return AddNoise(eta=eta, gamma=gamma, key=key)
