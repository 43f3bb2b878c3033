"""An optimizer's settings, read and changed: a changed one is a new value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import chex

from adamx.core.fields import Where
from adamx.core.hyperparameter import Schedule
from adamx.core.paths import mask_by_path, near_misses
from adamx.interop.arguments import check_names
from adamx.interop.keras.building import check_numbers
from adamx.interop.keras.optimizer import (
    KerasOptimizer,
    KerasOptimizerState,
    check_optimizer,
    parts_of,
    with_links,
)
from adamx.interop.keras.rates import as_hyperparameter, decomposed, with_rate
from adamx.wrappers.learning_rate import get_learning_rate


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
    return get_learning_rate(state, check_optimizer("learning_rate", tx))


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
    return _changed("set_learning_rate", tx, {"learning_rate": learning_rate})


def set_hyperparameters(tx: KerasOptimizer, **values: Any) -> KerasOptimizer:
    """The optimizer with other numbers: what `opt.beta_1 = 0.6` does in TensorFlow.

    The state fits as before, so that a run goes on with it.

    Args:
      tx: an optimizer made here.
      **values: numbers by Keras's names, in place of numbers: learning_rate, decay, beta_1, beta_2,
        epsilon, weight_decay, clipnorm, clipvalue, global_clipnorm, ema_momentum.

    Raises:
      TypeError: the old or the new value is a schedule or a function; another optimizer.
      ValueError: a number outside its range; a name that there is not or that `tx` does without.

    Example:
      >>> from adamx.interop import keras
      >>> keras.set_hyperparameters(keras.Adam(0.5), beta_1=0.6) == keras.Adam(0.5, beta_1=0.6)
      True
    """
    return _changed("set_hyperparameters", tx, values)


# The part and the argument in it that Keras's name stands for.
_PLACES = {
    "learning_rate": ("learning_rate", "learning_rate"),
    "decay": ("learning_rate", "learning_rate"),
    "beta_1": ("core", "b1"),
    "beta_2": ("core", "b2"),
    "epsilon": ("core", "eps"),
    "weight_decay": ("weight_decay", "weight_decay"),
    "clipnorm": ("clipnorm", "max_norm"),
    "clipvalue": ("clipvalue", "max_delta"),
    "global_clipnorm": ("global_clipnorm", "max_norm"),
    "ema_momentum": ("ema", "decay"),
}


def _changed(owner: str, tx: KerasOptimizer, values: dict[str, Any]) -> KerasOptimizer:
    """The optimizer with numbers in place of numbers."""
    tx = check_optimizer(owner, tx)
    unknown = [name for name in values if name not in _PLACES]
    if unknown:
        raise ValueError(f"{owner}: {near_misses(unknown[0], _PLACES)}, got {unknown[0]!r}")
    check_numbers(owner, values)
    if values.get("epsilon") == 0.0:
        values = {**values, "epsilon": tx.rules.zero_epsilon}
    for name, new in values.items():
        parts = parts_of(tx)
        part, argument = _PLACES[name]
        if name == "weight_decay" and part not in parts:  # Lamb's is beside its learning rate.
            part = "learning_rate"
        link: Any = parts[part].link if part in parts else None
        old = getattr(link, argument, None)
        if name in ("learning_rate", "decay"):
            rate, decay = decomposed(old)
            old = rate if name == "learning_rate" else decay or None
        if old is None or new is None:
            raise ValueError(
                f"{owner}: `{name}` can be changed from one number to another, not "
                f"{'switched off' if old is not None else f'added to {tx.kind}'}; make a new "
                "optimizer, whose state is another one"
            )
        if isinstance(old, Schedule) or callable(as_hyperparameter(new, Where(owner, name))):
            raise TypeError(
                f"{owner}: only a number can be replaced by a number, got {new!r} for `{name}`; "
                "the state of a schedule or a function is another one, so make a new optimizer"
            )
        if name in ("learning_rate", "decay"):
            new = with_rate(getattr(link, argument), **{name.removeprefix("learning_"): new})
        tx = with_links(tx, {part: link.replace(**{argument: new})})
    return tx


def exclude_from_weight_decay(
    tx: KerasOptimizer,
    var_names: Sequence[str] | None = None,
    mask: Any = None,
    *,
    var_list: Sequence[str] | None = None,
) -> KerasOptimizer:
    """The optimizer with some variables excluded from weight decay.

    Args:
      tx: an optimizer made here with `weight_decay`.
      var_names: regular expressions that are searched in the paths of the variables ("b" is also
        found in "embedding"); paths do not end in the ":0" of TensorFlow's names.
      mask: instead, a pytree of booleans, True where weights decay.
      var_list: the variables themselves, by their whole paths as `adamx.leaf_paths` writes them,
        since arrays of JAX have no names.

    Raises:
      ValueError: no weight decay in `tx`; nothing excluded, or a mask beside names; a pattern that
        is no regular expression.  When the state is built: a name that no variable has.
      TypeError: another optimizer; names that are no list of strings.

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
    if (var_names is None and var_list is None) == (mask is None):
        raise ValueError(f"{owner}: give either `var_names`, `var_list` or `mask`")
    if mask is None:
        patterns = [] if var_names is None else [*check_names(owner, "var_names", var_names)]
        paths = [] if var_list is None else check_names(owner, "var_list", var_list)
        patterns += [f"^{re.escape(path)}$" for path in paths]
        mask = mask_by_path(*patterns, exclude=True)
    return with_links(tx, {"weight_decay": part.link.replace(mask=mask)})
