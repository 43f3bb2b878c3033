"""The protocol: `init(params) -> state`, `update(updates, state, params) -> (updates, state)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import chex

from adamx.core.slot import Slot
from adamx.core.value import Value
from adamx.core.writer import write

Params: TypeAlias = chex.ArrayTree
Updates: TypeAlias = chex.ArrayTree
State: TypeAlias = Any


class EmptyState(NamedTuple):
    """The state of a transformation that keeps none."""


if TYPE_CHECKING:
    # For type checkers ours is optax's pair: it fits wherever optax's annotations ask for one.
    from optax import GradientTransformationExtraArgs as _Pair
else:
    _Pair = object

P = TypeVar("P")


class GradientTransformation(Value, _Pair, abstract=True):  # type: ignore[misc]
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

    bound_once = ("init", "update", "step")
    # The field of the state that counts steps, if it has it: schedules are read there.
    count_field: ClassVar[str] = "count"

    def init(self, params: Params) -> State:
        """The state for `params`, which may also be `jax.ShapeDtypeStruct`s under `eval_shape`."""
        return EmptyState()

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        """Transforms `updates` (gradients at the head of a chain); pure."""
        raise NotImplementedError(type(self).__name__)

    def step(self, grads: Updates, state: State, params: P, **extra: Any) -> tuple[P, State]:
        """One whole step: `update`, then `apply_updates`. Returns `(params, state)`.

        Parameters plus updates are rounded to the parameters' dtypes once.

        To update in place, jit a function that takes and returns parameters and state in the same
        order and donate both; JAX pairs donated buffers with results by their order:

            @functools.partial(jax.jit, donate_argnums=(0, 1))
            def train_step(params, state, batch):
                grads = jax.grad(loss)(params, batch)
                return tx.step(grads, state, params)
        """
        updates, state = self.update(grads, state, params, **extra)
        return write("apply_updates", params, updates), state

    def slots(self) -> tuple[Slot, ...]:
        """The fields of the state that are trees like the parameters."""
        return ()

    def steps_taken(self, state: State) -> chex.Array | None:
        """The steps that the state has counted, at which schedules are read; None if it has not."""
        # Not `hasattr`: every tuple has a method called `count`.
        is_there = self.count_field in getattr(type(state), "_fields", ())
        return getattr(state, self.count_field) if is_there else None

    def children(self) -> dict[str, GradientTransformation]:
        """The transformations inside this one, by name; together with `child_states` the one
        relation by which everything walks transformations and states."""
        return {}

    def child_states(self, state: State) -> dict[str, State]:
        """The states of the children in the state of this transformation."""
        return {}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        """The state with others in the place of `child_states`."""
        return state

    def keeps_updates(self) -> bool:
        """Whether the updates of the children reach the parameters unchanged, or not at all."""
        return False

    def why_final(self) -> str:
        """Why nothing may change the updates, and what to write instead; "" where anything may.

        A table in mode `exact` moves its rows later and by itself, and `bfloat16_params` has
        rounded what the updates lead to.
        """
        return next(filter(None, (child.why_final() for child in self.children().values())), "")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_final()

    def _check_final(self) -> None:
        if self.keeps_updates():
            return
        for child in self.children().values():
            if why := child.why_final():
                raise ValueError(
                    f"{self.public_name}: it changes the updates of {child.public_name}, {why}"
                )

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        """Unpacks like optax's pair: `init, update = tx`."""
        yield self.init
        yield self.update

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Callable[..., Any]:
        """`tx[0]` is `init` and `tx[1]` is `update`, as of optax's pair."""
        return (self.init, self.update)[index]


class Visit(NamedTuple):
    """A transformation inside another one."""

    names: tuple[str, ...]  # of the children on the way to it
    transformation: GradientTransformation
    state: State  # None if it is not known


def walk(
    root: GradientTransformation, state: State = None, names: tuple[str, ...] = ()
) -> Iterator[Visit]:
    """A transformation and everything inside it, from the outside in."""
    yield Visit(names, root, state)
    states = {} if state is None else root.child_states(state)
    for name, child in root.children().items():
        yield from walk(child, states.get(name), (*names, name))
