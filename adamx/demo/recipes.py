"""The optimizers that can be chosen by name, as recipes for a run of a given length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import adamx
from adamx.demo import formats

MAX_NORM = 1.0
EMA_DECAY = 0.99
WEIGHT_DECAY = 0.01


class Choice(NamedTuple):
    """One name: its factory, and what suits the digits."""

    factory: Callable[..., adamx.GradientTransformation]
    learning_rate: float  # the peak, unless the command line says otherwise
    decays_weights: bool = False
    averages: bool = False  # keeps an average of the parameters of its own
    state_formats: Sequence[str] = (*formats.STATE_FORMATS,)


# Other moments than the two averages of Adam do not fit a pair.
_NO_PAIRS = (formats.FLOAT32, "bfloat16")

CHOICES = {
    "adam": Choice(adamx.adam, 0.005),
    "adamw": Choice(adamx.adamw, 0.005, decays_weights=True),
    "amsgrad": Choice(adamx.amsgrad, 0.005, state_formats=_NO_PAIRS),
    "nadam": Choice(adamx.nadam, 0.005),
    "nadamw": Choice(adamx.nadamw, 0.005, decays_weights=True),
    "adamax": Choice(adamx.adamax, 0.01, state_formats=_NO_PAIRS),
    "adamaxw": Choice(adamx.adamaxw, 0.01, decays_weights=True, state_formats=_NO_PAIRS),
    "radam": Choice(adamx.radam, 0.02),
    "adabelief": Choice(adamx.adabelief, 0.005, state_formats=_NO_PAIRS),
    "yogi": Choice(adamx.yogi, 0.01, state_formats=_NO_PAIRS),
    "lamb": Choice(adamx.lamb, 0.01, decays_weights=True),
    "adopt": Choice(adamx.adopt, 0.005, state_formats=_NO_PAIRS),
    "ademamix": Choice(adamx.ademamix, 0.005, decays_weights=True, state_formats=_NO_PAIRS),
    "schedule_free_adamw": Choice(
        adamx.schedule_free_adamw,
        0.01,
        decays_weights=True,
        averages=True,
        state_formats=(formats.FLOAT32,),
    ),
}


class Recipe(NamedTuple):
    """A whole optimizer and the learning rate inside it, which the report draws."""

    tx: adamx.GradientTransformation
    learning_rate: adamx.Schedule


def recipe(
    name: str,
    learning_rate: float,
    steps: int,
    state_format: str = formats.FLOAT32,
    param_format: str = formats.FLOAT32,
) -> Recipe:
    """The optimizer of a run: clipping, one of the family, and an average of the parameters.

    The learning rate rises over the first tenth of the run and falls along half a cosine; a
    schedule-free optimizer keeps it at its peak and brings the average itself.

    Args:
      name: a key of `CHOICES`.
      learning_rate: the peak, > 0.
      steps: the length of the run, at least 1.
      state_format, param_format: keys of `STATE_FORMATS` and `PARAM_FORMATS`.
    """
    choice = CHOICES[name]
    warmup = steps // 10
    extra: dict[str, Any] = {"weight_decay": WEIGHT_DECAY} if choice.decays_weights else {}
    if state_format != formats.FLOAT32:
        extra["state_format"] = formats.STATE_FORMATS[state_format]
    clip = adamx.clip_by_global_norm(MAX_NORM)
    schedule: adamx.Schedule
    if choice.averages:
        schedule = adamx.warmup_constant_schedule(0.0, learning_rate, warmup)
        tx = adamx.chain(clip, choice.factory(schedule, **extra))
        return Recipe(formats.with_params(param_format, tx), schedule)
    schedule = adamx.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, steps)
    # Corrected for its start, so that even a run of a few steps has a sensible average.
    average = adamx.ema_params(EMA_DECAY, debias=True)
    tx = adamx.chain(clip, choice.factory(schedule, **extra), average)
    return Recipe(formats.with_params(param_format, tx), schedule)
