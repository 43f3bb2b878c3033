"""Schedule-free learning: averaging instead of a decaying learning rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, numerics, tree
from adamx.core.chain import chain
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.format import Float
from adamx.core.hyperparameter import (
    Number,
    ScalarOrSchedule,
    check_hyperparameter,
    resolve,
    scalar,
)
from adamx.core.link import each_leaf
from adamx.core.numerics import DTypeLike
from adamx.core.slot import Slot
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.family.rms import scale_by_rms
from adamx.schedules.warmup import warmup_constant_schedule
from adamx.transforms.scaling import scale_by_learning_rate
from adamx.transforms.weight_decay import add_decayed_weights


class ScheduleFreeState(NamedTuple):
    """The base sequence z and the weights of its average."""

    b1: chex.Array  # float32[], the interpolation that eval_params undoes
    weight_sum: chex.Array  # float32[], total weight of the average
    step_count: chex.Array  # int32[], 1 before the first step
    max_lr: chex.Array  # float32[], the largest learning rate so far
    base_optimizer_state: State
    z: Params  # like the parameters; float32 for 16-bit ones, None where nothing is trained

    def eval_params(self, params: Params) -> Params:
        """x = (y - (1 - b1) z) / b1, the average of the z's."""

        def average(y: chex.Array, z: chex.Array) -> chex.Array:
            b1 = self.b1.astype(numerics.real_dtype(z))
            return ((y - (1.0 - b1) * z) / b1).astype(jax.dtypes.result_type(y))

        checks.check_read("eval_params", params, "optimizer state", self.z)
        return tree.map_leaves(average, params, self.z)


_NUMBERS = {
    "b1": checks.NUMBER,
    "weight_sum": checks.NUMBER,
    "step_count": checks.COUNT,
    "max_lr": checks.NUMBER,
}


class _Scalars(NamedTuple):
    b1: Number
    one_minus_b1: Number
    share: chex.Array


def _interpolate(
    s: _Scalars, u: chex.Array, y: chex.Array, z: chex.Array
) -> tuple[chex.Array, chex.Array]:
    # y' - y with x' = (1 - share) x + share z' and x = (y - (1 - b1) z) / b1 put in: no division
    # by b1, and no difference of two nearly equal parameters.
    after = z + u
    move = s.share * (s.b1 * after + s.one_minus_b1 * z - y) + s.one_minus_b1 * u
    return move, after


class ScheduleFree(GradientTransformation):
    """Replaces the momentum of an optimizer by interpolation with an average.

        y_t     = (1 - b1) z_t + b1 x_t         where the gradient is taken: the parameters
        z_{t+1} = z_t + base step at y_t
        x_{t+1} = (1 - c_t) x_t + c_t z_{t+1}    what to evaluate: `eval_params(state, params)`
        c_t     = w_t / sum of all w so far,     w_t = max(learning rates so far)**weight_lr_power

    Args:
      base_optimizer: an optimizer without momentum, learning rate included.
      learning_rate: the learning rate that `base_optimizer` uses; it weighs the average. A
        schedule should warm up and not decay; it is read at counts from 1.
      b1: the share of the average in y, in (0, 1).
      weight_lr_power: the exponent of the weights.
      state_dtype: dtype in which z is stored; by default the parameter's, at least float32.

    Returns:
      A transformation with state `ScheduleFreeState`.

    Raises:
      ValueError: a number outside its range; at `update`, no `params`.
      TypeError: an argument of the wrong kind; at `update`, another optimizer's state.

    Reference:
      Defazio et al., The Road Less Scheduled, 2024, equations 3 to 5 and section 4.3.

    Example:
      >>> import adamx
      >>> adamx.schedule_free(adamx.scale(-0.1), 0.1).init(0.0).step_count
      Array(1, dtype=int32)
    """

    base_optimizer: GradientTransformation = fields.child(as_transformation)
    learning_rate: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)
    b1: Number = fields.number(fields.Interval(0.0, 1.0, includes_low=False), default=0.9)
    weight_lr_power: Number = fields.number(default=2.0)
    state_dtype: DTypeLike | None = fields.dtype(default=None)

    count_field = "step_count"

    def children(self) -> dict[str, GradientTransformation]:
        return {"base_optimizer": self.base_optimizer}

    def child_states(self, state: State) -> dict[str, State]:
        return {"base_optimizer": state.base_optimizer_state}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return state._replace(base_optimizer_state=states["base_optimizer"])

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("z", format=Float(self.state_dtype), start="parameter"),)

    def init(self, params: Params) -> State:
        (z,) = self.slots()
        return ScheduleFreeState(
            b1=jnp.asarray(scalar(self.b1, "b1"), jnp.float32),
            weight_sum=jnp.zeros((), jnp.float32),
            step_count=jnp.ones((), jnp.int32),
            max_lr=jnp.zeros((), jnp.float32),
            base_optimizer_state=self.base_optimizer.init(params),
            z=z.init(params),
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_state(self.public_name, state, ScheduleFreeState, _NUMBERS)
        checks.require_params(self.public_name, params)
        rate = resolve(self.learning_rate, state.step_count, "learning_rate")
        max_lr = jnp.maximum(state.max_lr, jnp.asarray(rate, jnp.float32))
        weight = max_lr ** scalar(self.weight_lr_power, "weight_lr_power")
        weight_sum = (state.weight_sum + weight).astype(jnp.float32)
        # While the learning rate is still 0 nothing has any weight.
        share = jnp.where(
            weight_sum > 0.0, weight / jnp.where(weight_sum > 0.0, weight_sum, 1.0), 0.0
        )
        updates, base_state = self.base_optimizer.update(
            updates, state.base_optimizer_state, params, **extra
        )
        b1 = scalar(self.b1, "b1")
        moves, (z,) = each_leaf(
            self.public_name,
            _interpolate,
            _Scalars(b1, 1.0 - b1, share),
            tree.widened(updates),
            self.slots(),
            [state.z],
            params,
        )
        return tree.rounded(moves, updates, params), state._replace(
            weight_sum=weight_sum,
            step_count=numerics.safe_increment(state.step_count),
            max_lr=max_lr,
            base_optimizer_state=base_state,
            z=z,
        )


schedule_free = ScheduleFree


def schedule_free_adamw(
    learning_rate: ScalarOrSchedule = 0.0025,
    warmup_steps: int | None = None,
    b1: Number = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_lr_power: Number = 2.0,
    state_dtype: DTypeLike | None = None,
    *,
    nu_dtype: DTypeLike | None = None,
) -> ScheduleFree:
    """Schedule-free AdamW: `schedule_free` around AdamW without its first moment.

    Evaluate with `eval_params(state, params)`, not with `params`.

    Args:
      learning_rate: a number >= 0, or a schedule that warms up and does not decay.
      warmup_steps: the length of a linear rise of `learning_rate` from 0; None for none.
      b1, weight_lr_power, state_dtype: see `schedule_free`.
      b2, eps, nu_dtype: see `scale_by_adam`.
      weight_decay: see `add_decayed_weights`.

    Raises:
      ValueError: a number outside its range.
      TypeError: an argument of the wrong kind; `warmup_steps` for a learning rate that is already
        a schedule.

    Reference:
      Defazio et al., The Road Less Scheduled, 2024, Algorithm 1.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> tx = adamx.schedule_free_adamw(0.5)
      >>> params = jnp.array([1.0, -2.0])
      >>> state = tx.init(params)
      >>> for _ in range(40):
      ...     params, state = tx.step(2 * params, state, params)
      >>> bool(jnp.sum(adamx.eval_params(state, params) ** 2) < 0.05)
      True
    """
    if warmup_steps is not None:
        if callable(learning_rate):
            raise TypeError(
                "schedule_free_adamw: `warmup_steps` needs a number as `learning_rate`; "
                "a schedule brings its own warm-up"
            )
        learning_rate = warmup_constant_schedule(0.0, learning_rate, warmup_steps)
    decay = check_hyperparameter(Where("schedule_free_adamw", "b2"), b2, fields.DECAY_RATE)
    base = chain(
        scale_by_rms(decay, eps, eps_in_sqrt=False, bias_correction=True, nu_dtype=nu_dtype),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(learning_rate),
    )
    return schedule_free(base, learning_rate, b1, weight_lr_power, state_dtype)


def schedule_free_eval_params(state: State, params: Params) -> Params:
    """optax's name for `eval_params` of a `ScheduleFreeState`: x = (y - (1 - b1) z) / b1.

    Args:
      state: the state of `schedule_free` or `schedule_free_adamw`.
      params: the parameters being trained, y.

    Raises:
      TypeError: `state` has no `b1` and `z`.

    Example:
      >>> import adamx
      >>> tx = adamx.schedule_free_adamw()
      >>> float(adamx.schedule_free_eval_params(tx.init(2.0), 2.0))
      2.0
    """
    checks.check_state("schedule_free_eval_params", state, ScheduleFreeState, _NUMBERS)
    return tree.unshared(ScheduleFreeState(*state).eval_params(params), params)
