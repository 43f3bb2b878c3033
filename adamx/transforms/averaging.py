"""Averages of the parameters, kept beside the optimizer (Polyak & Juditsky 1992)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Count,
    Number,
    ScalarOrSchedule,
    Schedule,
    resolve,
    scalar,
    whole,
)
from adamx.core.link import PerLeaf, View, in_precision, run
from adamx.core.mask import MaskLike, resolve_mask
from adamx.core.mask import mask as mask_field
from adamx.core.observer import Observer
from adamx.core.slot import Slot
from adamx.core.transformation import Params, State, Updates

P = TypeVar("P", bound=Params)


class EmaParamsState(NamedTuple):
    """The running average and how much weight it has gathered."""

    count: chex.Array  # int32[], steps taken
    weight: chex.Array  # float32[], total weight of the parameters averaged so far
    ema: Params  # like the parameters; float32 for 16-bit ones, None where nothing is trained

    def eval_params(self, params: Params) -> Params:
        """The average in the parameters' dtypes; `params` themselves before the first step."""

        def average(p: chex.Array, ema: chex.Array | None) -> chex.Array:
            if ema is None:
                return p
            weight = self.weight.astype(numerics.real_dtype(ema))
            mean = jnp.where(weight > 0, ema / jnp.where(weight > 0, weight, 1), p)
            return mean.astype(jax.dtypes.result_type(p))

        checks.check_read("eval_params", params, "average", self.ema)
        return tree.map_leaves(average, params, self.ema)


class _Scalars(NamedTuple):
    decay: Number
    rest: Number


def _mixed(s: _Scalars, old: chex.Array, new: chex.Array) -> chex.Array:
    return s.decay * old + s.rest * new


class RunningMeanDecay(Schedule):
    """The decay that turns an exponential moving average into the plain mean.

        n / (n + 1) with n = max(count - start_step, 0) // every

    Args:
      start_step: where counting starts.
      every: which steps count, at least every first.

    Raises:
      TypeError: an argument that is no whole number.
      ValueError: a negative `start_step`, `every` below 1.

    Reference:
      Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.

    Example:
      >>> import adamx
      >>> [float(adamx.running_mean_decay()(t)) for t in (0, 1, 3)]
      [0.0, 0.5, 0.75]
    """

    start_step: int = fields.count(0, default=0)
    every: int = fields.count(1, default=1)

    def __call__(self, count: Count) -> chex.Array:
        start, every = whole(self.start_step, "start_step"), whole(self.every, "every")
        n = jnp.maximum(jnp.asarray(count) - start, 0) // every
        return jnp.asarray(n, float) / (n + 1)


class EmaParams(Observer):
    """Keeps an exponential moving average of the parameters; read it with `eval_params`.

        ema_0 = p_0,  ema_t = decay * ema_{t-1} + (1 - decay) * p_t

    where p_t are the parameters after step t.  Place it last in a chain: it sees the updates that
    are about to be applied, and passes them on unchanged.  With `debias`, ema_0 = 0 and the
    average is divided by the weight gathered so far, 1 - decay**t for a constant decay.

    `eval_params(state, params)` returns the average and changes nothing: go on training with
    `params`, and nothing has to be swapped back.  At the end of training it is what Keras calls
    finalizing the variables.

    Args:
      decay: a number in [0, 1), a scalar array or a schedule of the 0-based step count.
      debias: start from zero and correct for it, instead of starting from the parameters.
      start_step: until so many steps were taken the average is the parameters themselves.
      every: the average moves at every so many-th step from `start_step` on.
      overwrite_every: every so many steps the parameters are replaced by their average (Keras's
        `ema_overwrite_frequency`); None never.
      mask: which leaves are averaged: a pytree of booleans (or a prefix of one), or a function of
        the parameters that returns one; None for all. The others evaluate as they are.
      only_updated: a leaf whose update is `None` keeps its average, too.

    Returns:
      A transformation with state `EmaParamsState(count, weight, ema)`; `ema` is float32 for
      parameters of fewer bits, and `None` for leaves that are not averaged.

    Raises:
      ValueError: a number outside its range; at `update`, no `params`.
      TypeError: an argument of the wrong kind.

    Reference:
      Polyak & Juditsky, 1992; Kingma & Ba, Adam, 2015, section 7.2.

    Example:
      >>> import adamx
      >>> adamx.chain(adamx.adam(1e-3), adamx.ema_params(0.999)).links[-1]
      ema_params(decay=0.999, start_step=0, every=1)
    """

    decay: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE)
    debias: bool = fields.switch(default=False)
    start_step: int = fields.count(0, default=0, kw_only=True)
    every: int = fields.count(1, default=1, kw_only=True)
    overwrite_every: int | None = fields.limit(1, default=None, kw_only=True)
    mask: MaskLike = mask_field(default=None, kw_only=True)
    only_updated: bool = fields.switch(default=False, kw_only=True)

    def check_together(self) -> None:
        if self.debias and self.only_updated:
            raise ValueError(
                f"{self.public_name}: `debias` corrects all leaves alike, so it cannot go with "
                "`only_updated`"
            )

    def keeps_updates(self) -> bool:
        return self.overwrite_every is None

    def state_type(self) -> type[Any]:
        return EmaParamsState

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("ema", start=0.0 if self.debias else "parameter"),)

    def selected(self, params: Params) -> Any:
        return resolve_mask(self.public_name, self.mask, params)

    def numbers(self) -> dict[str, Any]:
        return {"weight": jnp.asarray(0.0 if self.debias else 1.0, jnp.float32)}

    def _scalars(self, count: chex.Array) -> _Scalars:
        """The weights of the old average and of the new parameters at this step."""
        decay = resolve(self.decay, count, "decay")
        rest = 1.0 - decay
        start, every = whole(self.start_step, "start_step"), whole(self.every, "every")
        before = count < start
        idle = ~before & ((count - start) % every != 0)
        return _Scalars(
            jnp.where(before, 0.0, jnp.where(idle, 1.0, decay)),
            jnp.where(before, 1.0, jnp.where(idle, 0.0, rest)),
        )

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        s = self._scalars(state.count)
        selected, _ = tree.flatten(self.selected(view.params))
        # Exactly 1 forever once it is 1.
        weight = state.weight + jnp.asarray(s.rest, jnp.float32) * (1.0 - state.weight)
        own = [s if chosen else None for chosen in selected]
        return PerLeaf(own), {"weight": weight.astype(jnp.float32)}

    def rule(
        self, s: _Scalars, u: chex.Array, p: chex.Array, ema: chex.Array
    ) -> tuple[chex.Array, chex.Array]:
        return u, _mixed(s, ema, p)

    def observe(self, params: Params, state: State, updates: Updates) -> State:
        # Over the parameters, not the updates: one without an update (`None`) is averaged too.
        seen = params
        if self.only_updated:
            seen = jax.tree.map(
                lambda u, p: None if u is None else p, updates, params, is_leaf=tree.is_leaf
            )
        _, (state,) = run([self], seen, [state], params, {})
        return state

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        updates, state = super().update(updates, state, params, **extra)
        if self.overwrite_every is not None:
            updates = self._overwrite(updates, state, params)
        return updates, state

    def _overwrite(self, updates: Updates, state: EmaParamsState, params: Params) -> Updates:
        """Every so many steps, the updates that turn the parameters into their average."""
        due = state.count % self.overwrite_every == 0

        def toward(u: chex.Array, p: chex.Array, mean: chex.Array) -> chex.Array:
            difference = numerics.widen(jnp.asarray(mean)) - numerics.widen(jnp.asarray(p))
            return jnp.where(due, difference.astype(jnp.asarray(u).dtype), u)

        return tree.map_leaves(toward, updates, params, state.eval_params(params))


running_mean_decay = RunningMeanDecay


ema_params = EmaParams


def incremental_update(new_tensors: P, old_tensors: P, step_size: Number) -> P:
    """One step of an average by hand: `step_size * new + (1 - step_size) * old`.

    In a training loop `ema_params` does it, and `eval_params` reads the average.

    Args:
      new_tensors: the latest parameters, or the parameters of a network that is followed.
      old_tensors: their average so far.
      step_size: the share of the new ones, a number or a scalar array.

    Returns:
      A tree like `old_tensors` in its dtypes, computed in at least float32; what is not trained is
      that of `new_tensors`.

    Raises:
      ValueError: trees or shapes that do not match; an array that is no scalar.
      TypeError: `step_size` is no number; integers, reals and complex numbers mixed up.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.incremental_update(jnp.array(1.0), jnp.array(0.0), step_size=0.25)
      Array(0.25, dtype=float32)
    """
    owner = "incremental_update"
    given = fields.check_number(Where(owner, "step_size"), step_size, fields.REAL)
    share = scalar(given, f"{owner}: step_size")
    checks.check_match(owner, "new tensors", new_tensors, "old tensors", old_tensors)

    def mix(new: Any, old: Any) -> chex.Array:
        wide = numerics.widen(jnp.asarray(old))
        s = in_precision(_Scalars(1.0 - share, share), numerics.real_dtype(wide))
        mixed = _mixed(s, wide, numerics.widen(jnp.asarray(new)))
        return mixed.astype(jax.dtypes.result_type(old))

    result: P = tree.map_leaves(mix, new_tensors, old_tensors)
    return result


def mean_params(start_step: int = 0, every: int = 1, *, mask: MaskLike = None) -> EmaParams:
    """Keeps the plain (Polyak) mean of the parameters; read it with `eval_params`.

        mean_n = mean_{n-1} + (p_n - mean_{n-1}) / n

    over the parameters after every `every`-th step from `start_step` on.  It is `ema_params` with
    the decay n / (n + 1).

    Args:
      start_step: until so many steps were taken the mean is the parameters themselves.
      every: which steps count.
      mask: see `ema_params`.

    Raises:
      ValueError, TypeError: as `ema_params`.

    Reference:
      Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; Izmailov et
      al., Averaging Weights Leads to Wider Optima, 2018, Algorithm 1 (with `every`).

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.chain(adamx.scale(-1.0), adamx.mean_params())
      >>> params, state = jnp.array(0.0), tx.init(jnp.array(0.0))
      >>> for _ in range(3):  # the parameters are -1, -2, -3
      ...     params, state = tx.step(jnp.array(1.0), state, params)
      >>> float(adamx.eval_params(state, params))
      -2.0
    """
    decay = running_mean_decay(start_step, every)
    return ema_params(decay, start_step=start_step, every=every, mask=mask)
