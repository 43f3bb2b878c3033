"""A loss scale that finds its size by itself, under Keras's name."""

from __future__ import annotations

from adamx.core import fields
from adamx.core.chain import named_chain
from adamx.core.fields import Where
from adamx.core.hyperparameter import Number
from adamx.interop.keras.building import check_name
from adamx.interop.keras.optimizer import KerasOptimizer, check_optimizer
from adamx.wrappers.loss_scaling import dynamic_loss_scale

_KIND = "LossScaleOptimizer"


def LossScaleOptimizer(
    inner_optimizer: KerasOptimizer,
    initial_scale: Number = 2.0**15,
    dynamic_growth_steps: int = 2000,
    name: str = _KIND,
) -> KerasOptimizer:
    """The optimizer for a loss that is scaled up so that small gradients survive in float16.

    A step with a gradient that is not finite is skipped and the scale halved; after
    `dynamic_growth_steps` good steps in a row it is doubled.  `minimize` and `make_step` multiply
    the loss; in a loop of your own multiply it by `adamx.loss_scale(state)`.

    Args:
      inner_optimizer: an optimizer made here; its `loss_scale_factor` is left out.
      initial_scale: the first scale, > 0.
      dynamic_growth_steps: a whole number >= 1.
      name: of the `jax.named_scope` of all operations, in place of the inner optimizer's.

    Returns:
      The optimizer, for every function here.  Its weights are those of Keras: two that it does not
      use, the good steps, the scale, and those of the inner optimizer.

    Raises:
      ValueError: a number outside its range; an optimizer whose loss is scaled already.
      TypeError: no optimizer made here, or an argument of the wrong kind.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> tx = keras.LossScaleOptimizer(keras.Adam(0.5), initial_scale=1024.0)
      >>> w = jnp.array(2.0)
      >>> w, state = keras.minimize(tx, lambda w: w * jnp.inf, keras.build(tx, w), w)
      >>> print(w, keras.iterations(state), adamx.loss_scale(state))
      2.0 0 512.0
    """
    inner = check_optimizer(_KIND, inner_optimizer)
    check_name(_KIND, name)
    fields.check_number(Where(_KIND, "initial_scale"), initial_scale, fields.POSITIVE)
    fields.check_count(Where(_KIND, "dynamic_growth_steps"), dynamic_growth_steps, 1)
    links = dict(zip(inner.chain.names, inner.chain.links, strict=True))
    if "dynamic_scale" in links:
        raise ValueError(f"{_KIND}: {inner.name} scales the loss already; wrap the one inside it")
    links.pop("loss_scale", None)
    # All devices judge their sum alike.
    before = [("aggregate", links.pop("aggregate"))] if "aggregate" in links else []
    scaled = dynamic_loss_scale(
        named_chain(*links.items()), initial_scale, growth_interval=dynamic_growth_steps
    )
    return inner.replace(scope=name, chain=named_chain(*before, ("dynamic_scale", scaled)))
