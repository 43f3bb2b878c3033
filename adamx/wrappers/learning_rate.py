"""The learning rate of any transformation, read from its state."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from adamx.core import boxes
from adamx.core.hyperparameter import Hyperparameter, Schedule, resolve, scalar
from adamx.core.transformation import GradientTransformation, State
from adamx.transforms.scaling import HasLearningRate
from adamx.wrappers.inject import InjectHyperparams
from adamx.wrappers.places import Place, as_state_scalar, named, places_in


def _is_learning_rate(value: object) -> bool:
    return isinstance(value, (HasLearningRate, InjectHyperparams))


def _rates(
    tx: GradientTransformation, state: State, above: tuple[str, ...] = ()
) -> Iterator[Place]:
    """The links that scale by a learning rate, with their states.

    What is injected is called as if it were not.
    """
    for _, place in places_in(tx, state, _is_learning_rate, _is_learning_rate):
        names = (*above, *place.names)
        if isinstance(place.value, HasLearningRate):
            yield place._replace(names=names, field="learning_rate")
        elif place.state is None:
            yield from _rates(place.value.inner, None, names)
        else:
            inner = place.value.current(place.state)
            yield from _rates(inner, place.state.inner_state, names)


def learning_rates(tx: GradientTransformation, state: State) -> dict[str, jax.Array]:
    """The learning rates that the next step will use, by name, as float32 scalars or better.

    `learning_rate` if there is one, else by place as in `inject_hyperparams`.
    """

    def value(name: str, place: Place) -> jax.Array:
        rate: Hyperparameter = place.owner.learning_rate
        if not isinstance(rate, Schedule):
            return as_state_scalar(scalar(rate, name))
        count = place.owner.steps_taken(place.state)
        if count is None:
            raise TypeError(
                f"{name} is scheduled, but the state has no step count for it; was it made by "
                "another optimizer?"
            )
        return as_state_scalar(resolve(rate, count, name))

    found = named([*enumerate(_rates(tx, state))])
    return {name: value(name, place) for name, (_, place) in found.items()}


def learning_rate_names(tx: GradientTransformation) -> list[str]:
    """The keys of `learning_rates(tx, state)`."""
    return [*named([*enumerate(_rates(tx, None))])]


def get_learning_rate(state: State, tx: GradientTransformation) -> jax.Array:
    """The learning rate that the next step will use, whatever it is made of.

    Finds the `scale_by_learning_rate` in `tx` (every optimizer of the family ends with one) and
    reads its number, its schedule at the step count of the state, or what `set_hyperparams` put
    there.  Nothing needs to be wrapped.

    Args:
      state: the state after any number of steps.
      tx: the transformation of adamx that it belongs to.

    Returns:
      A floating-point scalar.

    Raises:
      ValueError: no learning rate in `tx`, or more than one.
      TypeError: `tx` is no adamx transformation, or the state is another one's.

    Example:
      >>> import adamx
      >>> tx = adamx.chain(adamx.adamw(adamx.linear_schedule(1.0, 0.0, 4)))
      >>> state = tx.init(2.0)
      >>> _, state = tx.update(1.0, state, 2.0)
      >>> float(adamx.get_learning_rate(state, tx))
      0.75
    """
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            f"get_learning_rate: expected `(state, tx)` with an adamx transformation, got {tx!r}"
        )
    found = learning_rates(tx, boxes.unboxed(state))
    if len(found) != 1:
        raise ValueError(
            "get_learning_rate: the transformation must have exactly one "
            f"`scale_by_learning_rate`, found {', '.join(found) or 'none'}; for one of several "
            "pass that part of the transformation with its own state"
        )
    return next(iter(found.values()))
