"""The log of a training run: recorded inside the step, collected from the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import boxes, checks, fields, tree
from adamx.core.fields import AxisName, Where
from adamx.core.foreign import EXTRA_UNDER_OPTAX, name_of
from adamx.core.hyperparameter import scalar
from adamx.core.norms import bounded
from adamx.core.paths import near_misses, path_string
from adamx.core.protocols import Reports, offers
from adamx.core.transformation import GradientTransformation, P, Params, State, Updates
from adamx.core.wrapper import Wrapper
from adamx.transforms.sharded_norms import Shards
from adamx.wrappers.learning_rate import learning_rate_names, learning_rates

_KNOWN = ("grad_norm", "update_norm", "param_norm", "update_ratio", "learning_rate", "value")
_READ_PARAMS = {"param_norm", "update_ratio"}
_READ_UPDATES = {"update_norm", "update_ratio"}


class RecordMetricsState(NamedTuple):
    """The metrics of the last step; 0 before the first one."""

    recorded: dict[str, chex.Array]  # float32[] each
    inner_state: State

    def metrics(self) -> dict[str, chex.Array]:
        """The records."""
        return dict(self.recorded)


def _check_names(where: Where, value: object) -> tuple[str, ...]:
    names = fields.items(where, "names of metrics", value)
    if not names:
        raise ValueError(f"{where.owner}: say what to record: {', '.join(_KNOWN)}")
    for name in names:
        if not isinstance(name, str):
            raise where.error(TypeError, "names of metrics (strings)", name)
        if name not in _KNOWN:
            raise ValueError(f"{where.owner}: unknown metric {name!r}; {near_misses(name, _KNOWN)}")
    return names


class RecordMetrics(Wrapper):
    """Runs `inner` and keeps a few numbers about it."""

    names: tuple[str, ...] = fields.static(_check_names)
    axis_name: AxisName = fields.axis_name(default=None)

    def check_together(self) -> None:
        if "learning_rate" in self.names and not learning_rate_names(self.inner):
            raise ValueError(
                f"{self.public_name}: there is no 'learning_rate' to record, as "
                f"{name_of(self.inner)} has no `scale_by_learning_rate`"
            )

    def keeps_updates(self) -> bool:
        return True

    def init(self, params: Params) -> State:
        rates = learning_rate_names(self.inner) if "learning_rate" in self.names else []
        names = [*(name for name in self.names if name != "learning_rate"), *rates]
        return RecordMetricsState(
            recorded={name: jnp.zeros((), jnp.float32) for name in names},
            inner_state=self.inner.init(params),
        )

    def _measure(
        self,
        grads: Updates,
        updates: Updates,
        state: State,
        params: Params | None,
        extra: dict[str, Any],
    ) -> dict[str, chex.Array]:
        """The metrics of a step from `state`, the state of `inner` before it."""
        norm = Shards(self.axis_name).global_norm
        found: dict[str, Any] = {}
        if "grad_norm" in self.names:
            found["grad_norm"] = norm(grads)
        if _READ_UPDATES & {*self.names}:
            found["update_norm"] = norm(updates)
        if _READ_PARAMS & {*self.names}:
            checks.require_params(self.public_name, params)
            found["param_norm"] = norm(params)
        if "update_ratio" in self.names:
            size, update = bounded(found["param_norm"]), bounded(found["update_norm"])
            some = size > 0.0
            found["update_ratio"] = jnp.where(some, update / jnp.where(some, size, 1.0), 0.0)
        if "learning_rate" in self.names:
            found.update(learning_rates(self.inner, state))
        if "value" in self.names:
            if extra.get("value") is None:
                raise ValueError(
                    f"{self.public_name} records the loss as 'value': call "
                    f"`tx.update(grads, state, params, value=loss)`{EXTRA_UNDER_OPTAX}"
                )
            found["value"] = scalar(extra["value"], f"{self.public_name}: `value`")
        return {name: jnp.array(x, jnp.float32) for name, x in found.items()}

    def _record(self, state: State, inner_state: State, measured: dict[str, chex.Array]) -> State:
        recorded = {name: measured[name] for name in state.recorded}
        return RecordMetricsState(recorded, inner_state)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_state(self.public_name, state, RecordMetricsState)
        updates = tree.coalesced(updates)
        new_updates, inner_state = self.inner.update(updates, state.inner_state, params, **extra)
        measured = self._measure(updates, new_updates, state.inner_state, params, extra)
        return new_updates, self._record(state, inner_state, measured)

    def step(self, grads: Updates, state: State, params: P, **extra: Any) -> tuple[P, State]:
        """The inner step, as long as nothing asks for the updates that it would not keep."""
        if _READ_UPDATES & {*self.names}:
            return super().step(grads, state, params, **extra)
        checks.check_state(self.public_name, state, RecordMetricsState)
        grads = tree.coalesced(grads)
        new_params, inner_state = self.inner.step(grads, state.inner_state, params, **extra)
        measured = self._measure(grads, None, state.inner_state, params, extra)
        return new_params, self._record(state, inner_state, measured)

    def recipe_arguments(self) -> list[str]:
        arguments = [repr(self.inner), *map(repr, self.names)]
        return (
            arguments if self.axis_name is None else [*arguments, f"axis_name={self.axis_name!r}"]
        )


def record_metrics(
    inner: GradientTransformation, *names: str, axis_name: AxisName = None
) -> RecordMetrics:
    """Records numbers about every step in the state, for `metrics(state)` to collect.

    - `grad_norm`: the global norm of what comes in;
    - `update_norm`: the global norm of the updates that come out;
    - `param_norm`: the global norm of the parameters before the step;
    - `update_ratio`: `update_norm / param_norm`, 0 where all parameters are 0;
    - `learning_rate`: the one that the step used, scheduled or not; if `inner` has several, one
      number for each, called by its place as in `inject_hyperparams`;
    - `value`: the loss, as passed to `update(..., value=loss)`.

    Everything is a float32 scalar, 0 before the first step.  Put it around the whole chain.  The
    updates are never in memory otherwise: asking for `update_norm` or `update_ratio` takes a
    temporary of the gradient's size, `param_norm` one of the largest leaf's; the rest is free.

    Args:
      inner: the transformation to observe; what it does is unchanged.
      *names: what to record, from the list above.
      axis_name: named axes of `shard_map`, `pmap` or `vmap` over which gradients and parameters
        are sharded: norms are those of all shards together.

    Returns:
      A transformation with state `RecordMetricsState(recorded, inner_state)`.

    Raises:
      TypeError: `inner` is no transformation; a name that is no string; at `update`, another
        optimizer's state.
      ValueError: an unknown name or none at all; `learning_rate` where there is none; at
        `update`, no `params` or no `value=`, if they are asked for.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.record_metrics(adamx.scale_by_learning_rate(0.5), "grad_norm", "update_norm")
      >>> grads = jnp.array([3.0, 4.0])
      >>> _, state = tx.update(grads, tx.init(grads))
      >>> {name: float(x) for name, x in adamx.metrics(state).items()}
      {'grad_norm': 5.0, 'update_norm': 2.5}
    """
    return RecordMetrics(inner=inner, names=names, axis_name=axis_name)


def _has_metrics(node: object) -> bool:
    return offers(node, Reports)


def _reports(state: State, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, str, jax.Array]]:
    """Every metric in a state, also inside others: the path of its node, its name, its value."""
    if _has_metrics(state):
        here = path_string(above)
        yield from ((here, name, value) for name, value in state.metrics().items())
    inside, _ = jax.tree_util.tree_flatten_with_path(
        state, is_leaf=lambda node: node is not state and _has_metrics(node)
    )
    for path, node in inside:
        if _has_metrics(node):
            yield from _reports(node, (*above, *path))


def metrics(state: State) -> dict[str, jax.Array]:
    """Everything that a state has to report, as one flat dictionary for a logger.

    Asks every node of the state that has a method `metrics() -> dict`: those of `record_metrics`,
    of guards, of accumulation and of clipping with `report=True`.  A name that several nodes
    report is preceded by the path of each in the state, as in
    `inner_states/biases/0/clip_by_global_norm/norm_before`.

    Reading a number waits for the step that computes it; log every so many steps.

    Args:
      state: the state of any transformation, nested as deeply as you like.

    Returns:
      Scalars by name, which outlive the donation of the state; empty if nothing reports.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> rate = adamx.linear_schedule(1.0, 0.0, 4)
      >>> tx = adamx.record_metrics(adamx.adam(rate), "value", "learning_rate", "grad_norm")
      >>> @jax.jit
      ... def train_step(params, state):
      ...     loss, grads = jax.value_and_grad(lambda w: jnp.sum(w**2))(params)
      ...     return tx.step(grads, state, params, value=loss)
      >>> params = jnp.array([0.0, 2.0])
      >>> state = tx.init(params)
      >>> for step in range(2):
      ...     params, state = train_step(params, state)
      ...     print(step, {name: round(float(x), 3) for name, x in adamx.metrics(state).items()})
      0 {'grad_norm': 4.0, 'learning_rate': 1.0, 'value': 4.0}
      1 {'grad_norm': 2.0, 'learning_rate': 0.75, 'value': 1.0}
    """
    state = boxes.unboxed(state)
    reports = [*_reports(state)]
    times = Counter(name for _, name, _ in reports)
    found = {
        f"{path}/{name}" if times[name] > 1 and path else name: value
        for path, name, value in reports
    }
    own: dict[str, chex.Array] = tree.unshared(found, state)
    return own
