"""An optimizer's settings, read and changed: a changed one is a new value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chex

from adamx.core.hyperparameter import Schedule
from adamx.interop.keras.optimizer import (
    KerasOptimizer,
    KerasOptimizerState,
    check_optimizer,
    parts_of,
    with_links,
)
from adamx.interop.keras.rates import as_hyperparameter, decomposed, with_rate
from adamx.transforms.learning_rate import get_learning_rate
from adamx.transforms.paths import mask_by_path


def learning_rate(tx: KerasOptimizer, state: KerasOptimizerState) -> chex.Array:
    """The learning rate of the next step.

    Args:
      tx: an optimizer made here.
      state: its state.

    Raises:
      TypeError: another optimizer or another one's state.

    Example:
      >>> from adamx.interop import keras
      >>> tx = keras.Adam(0.5, decay=1.0)
      >>> print(keras.learning_rate(tx, tx.init(1.0)))
      0.5
    """
    return get_learning_rate(check_optimizer("learning_rate", tx), state)


def set_learning_rate(tx: KerasOptimizer, learning_rate: Any) -> KerasOptimizer:
    """The optimizer with another learning rate; its state fits as before.

    For one that changes often without compiling anew give a function of no arguments.

    Args:
      tx: an optimizer made here, whose learning rate is a number.
      learning_rate: a number.

    Raises:
      TypeError: the old or the new learning rate is a schedule or a function.
      ValueError: a number outside its range.

    Example:
      >>> from adamx.interop import keras
      >>> keras.set_learning_rate(keras.Adam(0.5), 0.25) == keras.Adam(0.25)
      True
    """
    link: Any = parts_of(check_optimizer("set_learning_rate", tx))["learning_rate"].link
    old, _ = decomposed(link.learning_rate)
    new = as_hyperparameter(learning_rate)
    if isinstance(old, Schedule) or callable(new):
        raise TypeError(
            "set_learning_rate: only a number can be replaced by a number; the state of a "
            "schedule or a function is another one, so make a new optimizer"
        )
    changed = link.replace(learning_rate=with_rate(link.learning_rate, new))
    return with_links(tx, {"learning_rate": changed})


def exclude_from_weight_decay(
    tx: KerasOptimizer, var_names: Sequence[str] | None = None, mask: Any = None
) -> KerasOptimizer:
    """The optimizer with some variables excluded from weight decay.

    Args:
      tx: an optimizer made here with `weight_decay`.
      var_names: regular expressions that are searched in the paths of the variables ("b" is also
        found in "embedding").
      mask: instead, a pytree of booleans, True where weights decay (Keras's `var_list` says where
        they do not).

    Raises:
      ValueError: no weight decay in `tx`; not exactly one of `var_names` and `mask`.
      TypeError: another optimizer.

    Example:
      >>> from adamx.interop import keras
      >>> tx = keras.exclude_from_weight_decay(keras.AdamW(), ["bias$"])
      >>> tx.chain.links[1]
      add_decayed_weights(weight_decay=0.004, mask=mask_by_path('bias$', exclude=True))
    """
    owner = "exclude_from_weight_decay"
    part = parts_of(check_optimizer(owner, tx)).get("weight_decay")
    if part is None:
        raise ValueError(f"{owner}: {tx.name} has no weight decay that could exclude variables")
    if (var_names is None) == (mask is None):
        raise ValueError(f"{owner}: give either `var_names` or `mask`")
    mask = mask_by_path(*var_names, exclude=True) if var_names is not None else mask
    return with_links(tx, {"weight_decay": part.link.replace(mask=mask)})
