"""Guards: a bad step never happened, on any device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import (
    ScalarOrSchedule,
    resolve,
    whole,
)
from adamx.core.norms import global_norm
from adamx.core.transformation import Params, State, Updates
from adamx.core.wrapper import Wrapper
from adamx.transforms.conditional_step import step_if, update_if
from adamx.transforms.mapped_axes import everywhere
from adamx.transforms.norm_statistics import (
    NormStatistics,
    init_statistics,
    threshold,
    update_statistics,
)
from adamx.transforms.sharded_norms import Pieces


class GuardState(NamedTuple):
    """What was skipped, and the state of the guarded transformation."""

    skipped_in_a_row: chex.Array  # int32[]
    skipped_steps: chex.Array  # int32[]
    statistics: Any  # what the guard itself remembers; () if nothing
    inner_state: State

    def metrics(self) -> dict[str, chex.Array]:
        """The counters, for a logger."""
        return {"skipped_steps": self.skipped_steps, "skipped_in_a_row": self.skipped_in_a_row}


class Guard(Wrapper, abstract=True):
    """Runs `inner` where `judge` accepts the gradient, and nothing at all where it does not."""

    axis_name: AxisName = fields.axis_name(default=None, kw_only=True)

    @property
    def max_consecutive_errors(self) -> int | None:
        """How many steps may be skipped in a row, a field of every guard."""
        raise NotImplementedError(type(self).__name__)

    def keeps_updates(self) -> bool:
        return True

    def start(self) -> Any:
        """What the guard remembers before the first step."""
        return ()

    def judge(self, grads: Updates, statistics: Any, extra: dict[str, Any]) -> chex.Array:
        """Whether this device accepts the step."""
        raise NotImplementedError(type(self).__name__)

    def prepare(self, grads: Updates, statistics: Any) -> Updates:
        """The gradient as `inner` is to see it; runs inside the branch that is taken."""
        return grads

    def remember(self, grads: Updates, statistics: Any, accepted: chex.Array) -> Any:
        """What the guard remembers after all devices have decided."""
        return statistics

    def init(self, params: Params) -> State:
        # One array per counter: they are donated separately.
        return GuardState(
            skipped_in_a_row=jnp.zeros((), jnp.int32),
            skipped_steps=jnp.zeros((), jnp.int32),
            statistics=self.start(),
            inner_state=self.inner.init(params),
        )

    def _decide(
        self, grads: Updates, state: State, extra: dict[str, Any]
    ) -> tuple[chex.Array, Callable[[], Updates], State]:
        """Whether all devices accept, the gradient for `inner`, and the state that counts it."""
        tree.check_state(self.public_name, state, GuardState)
        grads = tree.coalesced(grads)
        prepare = functools.partial(self.prepare, grads, state.statistics)
        accepted = everywhere(self.judge(grads, state.statistics, extra), self.axis_name)
        in_a_row = numerics.safe_increment(state.skipped_in_a_row)
        state = state._replace(
            skipped_in_a_row=jnp.where(accepted, 0, in_a_row),
            skipped_steps=jnp.where(
                accepted, state.skipped_steps, numerics.safe_increment(state.skipped_steps)
            ),
            statistics=self.remember(grads, state.statistics, accepted),
        )
        if self.max_consecutive_errors is not None:
            in_a_row = state.skipped_in_a_row
            raise_after = functools.partial(
                _raise_after, self.public_name, self.max_consecutive_errors
            )
            jax.lax.cond(
                in_a_row >= self.max_consecutive_errors,
                lambda: jax.debug.callback(raise_after, in_a_row),
                lambda: None,
            )
        return accepted, prepare, state

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        accepted, prepare, state = self._decide(updates, state, extra)
        new_updates, inner_state, _ = update_if(
            accepted, self.inner, prepare, state.inner_state, params, updates, extra
        )
        return new_updates, state._replace(inner_state=inner_state)

    def step(
        self, grads: Updates, state: State, params: Params, **extra: Any
    ) -> tuple[Params, State]:
        accepted, prepare, state = self._decide(grads, state, extra)
        params, inner_state, _ = step_if(
            accepted, self.inner, prepare, state.inner_state, params, extra
        )
        return params, state._replace(inner_state=inner_state)


def _raise_after(name: str, limit: int, in_a_row: Any) -> None:
    if in_a_row >= limit:
        raise FloatingPointError(
            f"{name}: {int(in_a_row)} steps in a row were skipped "
            f"(`max_consecutive_errors={limit}`); the run has diverged. Parameters and optimizer "
            "state are those of the last accepted step"
        )


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

    Put everything that must stand still inside: `apply_if_finite(chain(clip, adamw, ema_params))`.
    `tx.step` runs the whole step under one conditional and needs no temporary.

    Args:
      inner: the transformation to guard.
      max_consecutive_errors: raise after so many skipped steps in a row; None never raises.  The
        error comes from the device: it surfaces when results of that step are waited for.
      axis_name: named axes of `shard_map` or `pmap` over which every device must agree: if one
        skips, all do.  Under `jit` with shardings nothing needs to be said.

    Returns:
      A transformation with state `GuardState(skipped_in_a_row, skipped_steps, statistics,
      inner_state)`; the counters also appear in `metrics(state)`.

    Raises:
      TypeError: `inner` is no transformation; a limit that is not a whole number.
      ValueError: a limit below 1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.apply_if_finite(adamx.adam(0.1))
      >>> params = jnp.array(1.0)
      >>> params, state = tx.step(jnp.array(jnp.nan), tx.init(params), params)
      >>> float(params), int(state.skipped_steps), int(state.inner_state[0].count)
      (1.0, 1, 0)
    """

    max_consecutive_errors: int | None = fields.limit(default=None)

    def judge(self, grads: Updates, statistics: Any, extra: dict[str, Any]) -> chex.Array:
        return is_finite(grads, extra)


class SkipSpikes(Guard):
    """Skips every step whose gradient is unusually large or not finite.

        skip where ||g|| > mean + num_std * std

    with mean and standard deviation of the norms of the accepted steps, exponentially weighted.
    A skipped step changes nothing, as with `apply_if_finite`; to shorten the gradient instead, use
    `clip_spikes`.  Norms that stay large are skipped for ever: say with `max_consecutive_errors`
    when that is no longer a spike.

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
    max_consecutive_errors: int | None = fields.limit(default=None)

    def start(self) -> NormStatistics:
        return init_statistics()

    def judge(
        self, grads: Updates, statistics: NormStatistics, extra: dict[str, Any]
    ) -> chex.Array:
        num_std = resolve(self.num_std, statistics.count, "num_std")
        warmup_steps = whole(self.warmup_steps, "warmup_steps")
        norm = Pieces(self.axis_name).global_norm(grads)
        usual = norm <= threshold(statistics, num_std, warmup_steps)
        return usual & is_finite(grads, extra)

    def remember(
        self, grads: Updates, statistics: NormStatistics, accepted: chex.Array
    ) -> NormStatistics:
        decay = resolve(self.decay, statistics.count, "decay")
        norm = Pieces(self.axis_name).global_norm(grads)
        updated = update_statistics(statistics, norm, decay)
        kept: NormStatistics = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old), updated, statistics
        )
        return kept


apply_if_finite = ApplyIfFinite


skip_spikes = SkipSpikes
