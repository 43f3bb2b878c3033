"""Guards: a bad step never happened, on any device."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, fields, numerics, tree
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import (
    ScalarOrSchedule,
    resolve,
    whole,
)
from adamx.core.norms import global_norm
from adamx.core.transformation import GradientTransformation, Params, State, Updates, walk
from adamx.transforms.named_axes import on_all_devices
from adamx.transforms.norm_statistics import (
    NormStatistics,
    init_statistics,
    threshold,
    update_statistics,
)
from adamx.transforms.sharded_norms import Shards
from adamx.wrappers.conditional_step import Conditioned, Decision


class GuardState(NamedTuple):
    """The counts of skipped steps, and the state of the guarded transformation."""

    skipped_in_a_row: chex.Array  # int32[]
    skipped_steps: chex.Array  # int32[]
    statistics: Any  # what the guard itself remembers; () if nothing
    inner_state: State

    @property
    def notfinite_count(self) -> chex.Array:
        """optax's name of `skipped_in_a_row`."""
        return self.skipped_in_a_row

    @property
    def total_notfinite(self) -> chex.Array:
        """optax's name of `skipped_steps`."""
        return self.skipped_steps

    @property
    def last_finite(self) -> chex.Array:
        """Whether the last step was taken; optax's name."""
        return self.skipped_in_a_row == 0

    def metrics(self) -> dict[str, chex.Array]:
        """The counters, for a logger."""
        return {"skipped_steps": self.skipped_steps, "skipped_in_a_row": self.skipped_in_a_row}


class Guard(Conditioned, abstract=True):
    """Runs `inner` where `judge` accepts the gradient, and nothing at all where it does not."""

    usually = True

    axis_name: AxisName = fields.axis_name(default=None, kw_only=True)

    @property
    def max_consecutive_errors(self) -> int | None:
        """How many steps may be skipped in a row, a field of every guard."""
        raise NotImplementedError(type(self).__name__)

    def start(self) -> Any:
        """The memory of the guard before the first step."""
        return ()

    def judge(self, grads: Updates, statistics: Any, extra: dict[str, Any]) -> chex.Array:
        """Whether this device accepts the step."""
        raise NotImplementedError(type(self).__name__)

    def prepare(self, grads: Updates, statistics: Any) -> Updates:
        """The gradient as `inner` is to see it; runs inside the branch that is taken."""
        return grads

    def remember(self, grads: Updates, statistics: Any, accepted: chex.Array) -> Any:
        """The memory of the guard after all devices have decided."""
        return statistics

    def init(self, params: Params) -> State:
        # One array per counter: they are donated separately.
        return GuardState(
            skipped_in_a_row=jnp.zeros((), jnp.int32),
            skipped_steps=jnp.zeros((), jnp.int32),
            statistics=self.start(),
            inner_state=self.inner.init(params),
        )

    def decision(
        self, grads: Updates, state: State, params: Params | None, extra: dict[str, Any]
    ) -> Decision:
        """Whether all devices accept, the gradient for `inner`, and the state that counts it."""
        numbers = {
            "skipped_in_a_row": checks.COUNT,
            "skipped_steps": checks.COUNT,
            "statistics": jax.eval_shape(self.start),
        }
        checks.check_state(self.public_name, state, GuardState, numbers)
        checks.check_arrays(self.public_name, "updates", grads)
        grads = tree.coalesced(grads)
        prepare = functools.partial(self.prepare, grads, state.statistics)
        accepted = on_all_devices(self.judge(grads, state.statistics, extra), self.axis_name)
        in_a_row = numerics.safe_increment(state.skipped_in_a_row)
        state = state._replace(
            skipped_in_a_row=jnp.where(accepted, 0, in_a_row),
            skipped_steps=jnp.where(
                accepted, state.skipped_steps, numerics.safe_increment(state.skipped_steps)
            ),
            statistics=self.remember(grads, state.statistics, accepted),
        )
        return Decision(accepted, prepare, state)

    def after(self, state: State, inner_state: State, kept: Any, params: Any) -> State:
        state = super().after(state, inner_state, kept, params)
        self.check(state, params)
        return state

    def check(self, state: GuardState, params: Params | None) -> None:
        """Raises `DivergedError` past the limit; nothing where the count is not known yet."""
        if not isinstance(state.skipped_in_a_row, jax.core.Tracer):
            self.raise_past_limit(state.skipped_in_a_row, params, state)

    def raise_past_limit(self, count: chex.Array, params: Params | None, state: State) -> None:
        """Raises `DivergedError`, which holds `params` and `state`, past the limit."""
        limit = self.max_consecutive_errors
        if limit is not None and (in_a_row := int(np.max(count))) > limit:
            raise DivergedError(self.public_name, in_a_row, limit, params, state)


class DivergedError(FloatingPointError):
    """More steps in a row were skipped than `max_consecutive_errors` allows.

    Args:
      name: the guard.
      in_a_row: how many steps were skipped.
      limit: how many may be.
      params, state: those of the last accepted step; attributes of the error, too.
    """

    def __init__(self, name: str, in_a_row: int, limit: int, params: Params, state: State) -> None:
        super().__init__(
            f"{name}: {in_a_row} steps in a row were skipped (`max_consecutive_errors={limit}`); "
            "the run has diverged. `params` and `state` of this error are those of the last "
            "accepted step"
        )
        self.params, self.state = params, state


def check_guards(tx: GradientTransformation, state: State, params: Params | None = None) -> None:
    """Raises if a guard inside has skipped more steps in a row than it may.

    A compiled step cannot raise.  `make_step` calls this after every step, and so should a loop of
    your own, as often as it can afford to wait for a step to end.

    Args:
      tx: any transformation.
      state: its state after a step.
      params: the parameters after that step, for the error to hold.

    Raises:
      TypeError: `tx` is no adamx transformation, the state another one's; under `jit`.
      DivergedError: past the `max_consecutive_errors` of a guard.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> tx = adamx.apply_if_finite(adamx.adam(0.1), max_consecutive_errors=1)
      >>> step = jax.jit(lambda grads, state, params: tx.step(grads, state, params))
      >>> params, state = jnp.array(1.0), tx.init(jnp.array(1.0))
      >>> try:
      ...     for _ in range(5):
      ...         params, state = step(jnp.array(jnp.nan), state, params)
      ...         adamx.check_guards(tx, state, params)
      ... except adamx.DivergedError as error:
      ...     print(float(error.params), int(state.skipped_steps))
      1.0 2
    """
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            "check_guards: the transformation comes first and its state second, got "
            f"{type(tx).__name__} as the transformation"
        )
    for visit in walk(tx, state):
        guard = visit.transformation
        if isinstance(guard, Guard) and visit.state is not None:
            checks.check_state(guard.public_name, visit.state, GuardState)
            if isinstance(visit.state.skipped_in_a_row, jax.core.Tracer):
                raise TypeError(
                    "check_guards: a compiled step cannot raise; call it on the host, with the "
                    "state that a step has returned"
                )
            guard.raise_past_limit(visit.state.skipped_in_a_row, params, state)


def has_limit(tx: GradientTransformation) -> bool:
    """Whether `check_guards` has anything to check."""
    guards = (v.transformation for v in walk(tx) if isinstance(v.transformation, Guard))
    return any(guard.max_consecutive_errors is not None for guard in guards)


def is_finite(grads: Updates, extra: dict[str, Any]) -> chex.Array:
    """Whether the gradient's norm, and the loss if it was passed as `value=`, are finite."""
    finite = jnp.isfinite(global_norm(grads))
    if extra.get("value") is not None:
        finite &= jnp.all(jnp.isfinite(jnp.asarray(extra["value"])))
    return finite


class ApplyIfFinite(Guard):
    """Skips every step whose gradient or loss is not finite, as if its batch had never come.

    A step is skipped where the global norm of the gradient, computed in float32, is not finite
    (a NaN, an infinity, or finite elements whose squares overflow) or the loss, passed to `update`
    as `value=loss`, is not.  Then nothing changes: parameters, moments, counts, averages.

    Inside of optax's own wrappers `value=` does not arrive, as `optax.chain`, `optax.masked` and
    their like pass extra arguments on to optax's classes only: give them
    `interop.optax.to_optax(tx)`, or use `adamx.chain`.

    Put everything that must stand still inside: `apply_if_finite(chain(clip, adamw, ema_params))`.
    `tx.step` runs the whole step under one conditional and needs no temporary.

    Args:
      inner: the transformation to guard.
      max_consecutive_errors: raise past so many skipped steps in a row, 0 at the first; None never
        raises.  In a compiled step of your own call `check_guards(tx, state, params)` after it.
      axis_name: named axes of `shard_map` or `pmap` over which every device must agree: if one
        skips, all do.  Under `jit` with shardings nothing needs to be said.

    Returns:
      A transformation with state `GuardState(skipped_in_a_row, skipped_steps, statistics,
      inner_state)`; the counters also appear in `metrics(state)`.

    Raises:
      TypeError: `inner` is no transformation; a limit that is not a whole number.
      ValueError: a negative limit.
      DivergedError: past the limit, with parameters and state of the last accepted step.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.apply_if_finite(adamx.adam(0.1))
      >>> params = jnp.array(1.0)
      >>> params, state = tx.step(jnp.array(jnp.nan), tx.init(params), params)
      >>> float(params), int(state.skipped_steps), int(state.inner_state[0].count)
      (1.0, 1, 0)
    """

    max_consecutive_errors: int | None = fields.limit(0, default=None)

    def judge(self, grads: Updates, statistics: Any, extra: dict[str, Any]) -> chex.Array:
        return is_finite(grads, extra)


class SkipSpikes(Guard):
    """Skips every step whose gradient is unusually large or not finite.

        skip where ||g|| > mean + num_std * std

    with mean and standard deviation of the norms of the accepted steps, exponentially weighted.
    A skipped step changes nothing, and the loss is passed as with `apply_if_finite`; to shorten the
    gradient instead, use `clip_spikes`.  Norms that stay large are skipped for ever: say with
    `max_consecutive_errors` when that is no longer a spike.

    Args:
      inner: the transformation to guard.
      num_std: how many standard deviations above the mean are still usual, >= 0.
      decay: decay rate of the statistics, in [0, 1).
      warmup_steps: accepted steps before a spike can be told, at least 1.
      max_consecutive_errors, axis_name: see `apply_if_finite`.

    Returns:
      A transformation with state `GuardState` whose `statistics` are `NormStatistics(count, mean,
      variance)`.

    Raises:
      TypeError, ValueError: as `apply_if_finite`; a number outside its range.

    Reference:
      Chowdhery et al., PaLM, 2022, section 5.1 (skipping the batches around a loss spike).

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.skip_spikes(adamx.scale(-1.0), num_std=3.0, warmup_steps=2)
      >>> params, state = jnp.array(0.0), tx.init(jnp.array(0.0))
      >>> for g in (1.0, 1.1, 50.0, 1.0):
      ...     params, state = tx.step(jnp.array(g), state, params)
      >>> round(float(params), 3), int(state.skipped_steps)
      (-3.1, 1)
    """

    num_std: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=6.0)
    decay: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.99)
    warmup_steps: int = fields.count(1, default=100)
    max_consecutive_errors: int | None = fields.limit(0, default=None)

    def start(self) -> NormStatistics:
        return init_statistics()

    def judge(
        self, grads: Updates, statistics: NormStatistics, extra: dict[str, Any]
    ) -> chex.Array:
        num_std = resolve(self.num_std, statistics.count, "num_std")
        warmup_steps = whole(self.warmup_steps, "warmup_steps")
        norm = Shards(self.axis_name).global_norm(grads)
        usual = norm <= threshold(statistics, num_std, warmup_steps)
        return usual & is_finite(grads, extra)

    def remember(
        self, grads: Updates, statistics: NormStatistics, accepted: chex.Array
    ) -> NormStatistics:
        decay = resolve(self.decay, statistics.count, "decay")
        norm = Shards(self.axis_name).global_norm(grads)
        updated = update_statistics(statistics, norm, decay)
        kept: NormStatistics = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old), updated, statistics
        )
        return kept


apply_if_finite = ApplyIfFinite


skip_spikes = SkipSpikes
