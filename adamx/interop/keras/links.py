"""Links that Keras has and nobody else: functions of pairs, a fixed loss scale, Lamb's decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
    resolve,
    scalar,
)
from adamx.core.link import View
from adamx.core.norms import safe_sqrt, squared_norm
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.transforms.scaling import ScaleByLearningRate, Scaling
from adamx.wrappers.loss_scaling import LossScale

Pairs: TypeAlias = list[tuple[Any, Any]]
PairFunction: TypeAlias = Callable[[Pairs], Any]


def check_pairs(owner: str, given: Any) -> Pairs:
    """A list of pairs (gradient, variable).

    Raises:
      TypeError: something else.
    """
    wanted = f"{owner}: `grads_and_vars` must be a list of pairs (gradient, variable)"
    try:
        pairs = list(given)
    except TypeError:
        raise TypeError(f"{wanted}, got {type(given).__name__}") from None
    for i, pair in enumerate(pairs):
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise TypeError(f"{wanted}, got {pair!r} at position {i}")
        if pair[1] is None:
            raise TypeError(f"{wanted}, got no variable at position {i}")
    return [(gradient, variable) for gradient, variable in pairs]


_OF_PAIRS = "functions of a list of (gradient, variable) pairs"


def check_functions(where: Where, value: Any) -> tuple[PairFunction, ...]:
    """Functions of pairs, as a tuple."""
    if callable(value) or not isinstance(value, Sequence):
        raise where.error(TypeError, f"a list of {_OF_PAIRS}", value)
    return tuple(fields.check_callable(where, f, _OF_PAIRS) for f in value)


class TransformPairs(GradientTransformation):
    """Functions from a list of (gradient, parameter) pairs to another, one after the other."""

    functions: Sequence[PairFunction] = fields.static(check_functions)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.require_params(self.public_name, params)
        checks.check_match(self.public_name, "gradients", updates, "parameters", params)
        gradients, structure = tree.flatten(updates)
        # A variable without a gradient is no pair, as in Keras.
        places = [i for i, g in enumerate(gradients) if numerics.is_inexact(g)]
        variables = tree.flatten(params)[0]
        pairs = [(gradients[i], variables[i]) for i in places]
        for function in self.functions:
            where = Where(self.public_name, "functions")
            returned = fields.call(where, _OF_PAIRS, function, list(pairs))
            changed = check_pairs(self.public_name, returned)
            if [id(v) for _, v in changed] != [id(v) for _, v in pairs]:
                raise ValueError(
                    f"{self.public_name}: {getattr(function, '__qualname__', function)} must "
                    f"return one pair for each of the {len(pairs)} it got, in the same order and "
                    "with the same variables"
                )
            pairs = changed
        for i, (gradient, _) in zip(places, pairs, strict=True):
            gradients[i] = gradient
        updates = structure.unflatten(gradients)
        checks.check_match(self.public_name, "gradients", updates, "parameters", params)
        return updates, state


class FixedLossScale(Scaling):
    """g / scale, for a loss that was multiplied by `loss_scale(state)`."""

    scale: Number = fields.number(fields.POSITIVE)

    def state_type(self) -> type[Any]:
        return LossScale

    def numbers(self) -> dict[str, Any]:
        scale = jnp.asarray(scalar(self.scale, "scale"), jnp.float32)
        return {"scale": scale, "good_steps": jnp.zeros((), jnp.int32)}

    def scalars(self, view: View, state: Any) -> tuple[Number, dict[str, Any]]:
        return 1.0 / scalar(self.scale, "scale"), {}


class DecayThenTrustRatio(ScaleByLearningRate):
    """p <- (1 - rate * decay) p first, and then p <- p - rate * (||p|| / ||u||) u."""

    rows = "dense"
    reads_params = True
    elementwise = False

    weight_decay: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, kw_only=True)

    def scalars(self, view: View, state: Any) -> tuple[Any, dict[str, Any]]:
        (rate,) = self.now(state, "learning_rate")
        return (rate, rate * resolve(self.weight_decay, 0, "weight_decay")), {}

    def rule(self, s: tuple[Number, Number], u: chex.Array, p: chex.Array) -> chex.Array:
        rate, lost = s
        p_norm = jnp.abs(1.0 - lost) * safe_sqrt(squared_norm(p))
        u_norm = safe_sqrt(squared_norm(u))
        degenerate = (p_norm == 0.0) | (u_norm == 0.0)
        ratio = jnp.where(degenerate, 1.0, p_norm / jnp.where(degenerate, 1.0, u_norm))
        return -(lost * p + rate * ratio * u)


def device_placed(state: State, mesh: jax.sharding.Mesh) -> State:
    """The state with everything that is not on the mesh yet replicated over it."""
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def place(x: Any) -> Any:
        if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer):
            return x
        if isinstance(x.sharding, jax.sharding.NamedSharding) and x.sharding.mesh == mesh:
            return x
        return jax.device_put(x, replicated)

    return jax.tree.map(place, state)
