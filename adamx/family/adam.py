"""Adam, AdamW and Nadam: the formula with its switches."""

from __future__ import annotations

from typing import Any

from adamx.core import fields, numerics
from adamx.core.chain import Chain, chain
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.link import View
from adamx.core.mask import MaskLike
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import State
from adamx.family.formula import corrections
from adamx.family.moments import Core
from adamx.family.words import with_words
from adamx.formats.named import StateFormat, check_state_format
from adamx.transforms.scaling import scale_by_learning_rate
from adamx.transforms.weight_decay import add_decayed_weights


class ScaleByAdam(Core):
    """Rescales gradients by running averages of their first and second moments.

    With t = 1 on the first step:

        m_t = b1 m_{t-1} + (1 - b1) g_t             m_hat = m_t / (1 - b1**t)
        v_t = b2 v_{t-1} + (1 - b2) |g_t|**2        v_hat = v_t / (1 - b2**t)
        u_t = m_hat / (sqrt(v_hat + eps_root) + eps)

    With `nesterov`, m_hat = b1 m_t / (1 - b1**(t+1)) + (1 - b1) g_t / (1 - b1**t).  With `eps_hat`,
    u_t = m_hat sqrt(1 - b2**t) / (sqrt(v_t + eps_root) + eps), TensorFlow's placing of epsilon.

    Args:
      b1, b2: decay rates in [0, 1): numbers, scalar arrays or schedules of the 0-based step
        count. A scheduled rate enters its bias correction as b_t**t.
      eps: added outside the root, >= 0.
      eps_root: added inside the root, >= 0; positive if you differentiate through the update.
      mu_dtype: dtype in which m is stored; by default the parameter's, at least float32.
      nesterov: Dozat's look-ahead.
      nu_dtype: dtype in which v is stored; by default the parameter's, at least float32.
      eps_hat: epsilon beside the uncorrected root instead of the corrected one.
      state_format: how both moments are stored instead: `"bfloat16"`, see `bfloat16_format`, or
        `"pair"`, see `pair_format`; or a dict from patterns to these and `"float32"`, of which the
        first that is found in the path of a leaf counts.

    Returns:
      A transformation with state `ScaleByAdamState(count, mu, nu)`.  It computes in at least
      float32 and returns updates in the wider of the gradient's and the parameter's dtype; a
      chain rounds to the parameter's at its end.

    Raises:
      ValueError: a number outside its range; at `update`, gradients of another structure or shape.
      TypeError: an argument of the wrong kind; at `update`, another optimizer's state.

    References:
      Kingma & Ba, Adam, 2015, Algorithm 1 and (epsilon hat) the end of section 2.
      Dozat, Incorporating Nesterov Momentum into Adam, 2016, Algorithm 2.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.scale_by_adam()
      >>> grads = jnp.array([0.5, -4.0, 0.0])
      >>> updates, state = tx.update(grads, tx.init(grads))
      >>> updates.round(5)  # the first step is sign(g)
      Array([ 1., -1.,  0.], dtype=float32)
    """

    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-08)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: DTypeLike | None = fields.dtype(default=None)
    nesterov: bool = fields.switch(default=False, kw_only=True)
    nu_dtype: DTypeLike | None = fields.dtype(default=None, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)
    state_format: StateFormat = fields.static(check_state_format, default=None, kw_only=True)

    takes_pairs = True

    def scalars(self, view: View, state: State) -> tuple[Any, dict[str, Any]]:
        count = numerics.safe_increment(state.count)
        numbers = self.now(state, "b1", "b2", "eps", "eps_root")
        s = corrections(count, *numbers, nesterov=self.nesterov, eps_hat=self.eps_hat)
        return with_words(self, s, view, state), {}


scale_by_adam = ScaleByAdam


def adam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    nu_dtype: DTypeLike | None = None,
    eps_hat: bool = False,
    state_format: StateFormat = None,
) -> Chain:
    """Adam: adaptive moment estimation.

        p <- p - learning_rate * m_hat / (sqrt(v_hat + eps_root) + eps)

    The chain `scale_by_adam`, `scale_by_learning_rate`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype, eps_hat, state_format: see
        `scale_by_adam`.

    Raises:
      ValueError, TypeError: as `scale_by_adam`.

    Reference:
      Kingma & Ba, Adam: A Method for Stochastic Optimization, 2015, Algorithm 1.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> tx = adamx.adam(0.1)
      >>> params = jnp.array([1.0, -2.0])
      >>> state = tx.init(params)
      >>> for _ in range(3):
      ...     grads = jax.grad(lambda p: jnp.sum(p**2))(params)
      ...     params, state = tx.step(grads, state, params)
      >>> print(params.round(3))
      [ 0.702 -1.7010001]
    """
    return chain(
        scale_by_adam(
            b1,
            b2,
            eps,
            eps_root,
            mu_dtype,
            nesterov=nesterov,
            nu_dtype=nu_dtype,
            state_format=state_format,
            eps_hat=eps_hat,
        ),
        scale_by_learning_rate(learning_rate),
    )


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: MaskLike = None,
    *,
    nesterov: bool = False,
    nu_dtype: DTypeLike | None = None,
    eps_hat: bool = False,
    state_format: StateFormat = None,
) -> Chain:
    """Adam with decoupled weight decay.

        p <- p - learning_rate * (m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay * p)

    The chain `scale_by_adam`, `add_decayed_weights`, `scale_by_learning_rate`.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype, eps_hat, state_format: see
        `scale_by_adam`.
      weight_decay, mask: see `add_decayed_weights`.

    Raises:
      ValueError, TypeError: as `scale_by_adam` and `add_decayed_weights`.

    Reference:
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, Algorithm 2 with the
      schedule multiplier folded into the learning rate.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.adamw(0.1, weight_decay=0.5)
      >>> params = jnp.array(2.0)
      >>> float(tx.step(jnp.array(0.0), tx.init(params), params)[0])
      1.899999976158142
    """
    return chain(
        scale_by_adam(
            b1,
            b2,
            eps,
            eps_root,
            mu_dtype,
            nesterov=nesterov,
            nu_dtype=nu_dtype,
            state_format=state_format,
            eps_hat=eps_hat,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def nadam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    nu_dtype: DTypeLike | None = None,
    eps_hat: bool = False,
    state_format: StateFormat = None,
) -> Chain:
    """Adam with Nesterov's look-ahead: `adam` with `nesterov=True`.

        p <- p - learning_rate * (b1 m_t / (1 - b1**(t+1)) + (1 - b1) g_t / (1 - b1**t))
                               / (sqrt(v_hat + eps_root) + eps)

    Args:
      learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype, eps_hat, state_format:
        see `adam`.

    Raises:
      ValueError, TypeError: as `adam`.

    Reference:
      Dozat, Incorporating Nesterov Momentum into Adam, 2016, Algorithm 2 with constant b1 and
      without its extra factor b2 on v_hat.

    Example:
      >>> import adamx
      >>> adamx.nadam(1e-3) == adamx.adam(1e-3, nesterov=True)
      True
    """
    return adam(
        learning_rate,
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        nesterov=nesterov,
        nu_dtype=nu_dtype,
        state_format=state_format,
        eps_hat=eps_hat,
    )


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: MaskLike = None,
    *,
    nesterov: bool = True,
    nu_dtype: DTypeLike | None = None,
    eps_hat: bool = False,
    state_format: StateFormat = None,
) -> Chain:
    """AdamW with Nesterov's look-ahead: `adamw` with `nesterov=True`.

    Args:
      learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov, nu_dtype, eps_hat, state_format:
        see `adam`.
      weight_decay, mask: see `add_decayed_weights`.

    Raises:
      ValueError, TypeError: as `adamw`.

    References:
      Dozat, 2016, Algorithm 2; Loshchilov & Hutter, 2019, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.nadamw(1e-3) == adamx.adamw(1e-3, nesterov=True)
      True
    """
    return adamw(
        learning_rate,
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        weight_decay,
        mask,
        nesterov=nesterov,
        nu_dtype=nu_dtype,
        state_format=state_format,
        eps_hat=eps_hat,
    )
