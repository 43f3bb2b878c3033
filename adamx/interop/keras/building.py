"""Keras's arguments as links of a chain, in the order in which Keras acts on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax

from adamx.core import fields
from adamx.core.chain import NamedChain, named_chain
from adamx.core.fields import Where, check_switch
from adamx.core.transformation import GradientTransformation
from adamx.interop.keras.links import (
    DecayThenTrustRatio,
    FixedLossScale,
    PairFunction,
    TransformPairs,
    check_functions,
)
from adamx.interop.keras.optimizer import KerasOptimizer
from adamx.interop.keras.presets import PRESETS, Preset
from adamx.interop.keras.rates import as_hyperparameter, composed
from adamx.transforms.averaging import ema_params
from adamx.transforms.clipping import clip, clip_by_global_norm, clip_by_norm
from adamx.transforms.scaling import scale_by_learning_rate
from adamx.transforms.trust_ratio import scale_by_trust_ratio
from adamx.transforms.weight_decay import add_decayed_weights
from adamx.wrappers.accumulation import multi_steps

# Arguments checked under the names they were given; the links check again under their own.
_RANGES = {
    "learning_rate": fields.NONNEGATIVE,
    "decay": fields.NONNEGATIVE,
    "beta_1": fields.DECAY_RATE,
    "beta_2": fields.DECAY_RATE,
    "epsilon": fields.NONNEGATIVE,
    "weight_decay": fields.NONNEGATIVE,
    "clipnorm": fields.POSITIVE,
    "clipvalue": fields.POSITIVE,
    "global_clipnorm": fields.POSITIVE,
    "ema_momentum": fields.DECAY_RATE,
    "loss_scale_factor": fields.POSITIVE,
}
_MAY_BE_NONE = {*_RANGES} - {"learning_rate", "decay", "beta_1", "beta_2", "ema_momentum"}
_CLIPS: dict[str, Any] = {
    "clipvalue": clip,
    "clipnorm": clip_by_norm,
    "global_clipnorm": clip_by_global_norm,
}


# The core of a preset with beta_1, beta_2 and epsilon.
Core: TypeAlias = Callable[[Preset, Any, Any, Any], GradientTransformation]


class GradientsClipOption(NamedTuple):
    """The clips of the first DTensor optimizers, as one argument; at most one may be set.

    Example:
      >>> from adamx.interop import keras
      >>> tx = keras.Adam(gradients_clip_option=keras.GradientsClipOption(clipnorm=1.0))
      >>> tx == keras.Adam(clipnorm=1.0)
      True
    """

    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None


class EMAOption(NamedTuple):
    """The average of the parameters of the first DTensor optimizers, as one argument.

    Example:
      >>> from adamx.interop import keras
      >>> option = keras.EMAOption(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=10)
      >>> tx = keras.Adam(ema_option=option)
      >>> tx == keras.Adam(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=10)
      True
    """

    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = 100


class Around(NamedTuple):
    """Everything that goes around the core, under Keras's names."""

    learning_rate: Any
    name: str
    weight_decay: float | None = None
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    loss_scale_factor: float | None = None
    gradient_accumulation_steps: int | None = None
    decay: float = 0.0
    gradient_aggregator: PairFunction | GradientTransformation | None = None
    gradient_transformers: Sequence[PairFunction] | None = None
    mesh: jax.sharding.Mesh | None = None
    jit_compile: bool = True
    preset: str = "keras"


def check_name(kind: str, name: Any) -> None:
    """Raises for a name that cannot be a scope's, such as an argument in its place."""
    if not isinstance(name, str) or not name:
        raise TypeError(
            f"{kind}: `name` must be a string, got {name!r}; give the arguments after it by keyword"
        )


def check_numbers(kind: str, values: Mapping[str, Any]) -> None:
    """Raises for a number outside its range, and for what is neither a number nor a schedule."""
    for name in filter(values.__contains__, _RANGES):
        where = Where(kind, name)
        value = as_hyperparameter(values[name], where)
        if not (callable(value) or (value is None and name in _MAY_BE_NONE)):
            wanted = "a number, a scalar array, a schedule or a function of no arguments"
            fields.check_number(where, value, _RANGES[name], wanted)


def _hyperparameters(rules: Preset, beta_1: Any, beta_2: Any, epsilon: Any) -> list[Any]:
    """Ready for a core: numbers, schedules, and what stands for an epsilon of None and of 0."""
    if epsilon is None:
        epsilon = 1e-7
    elif isinstance(epsilon, (int, float)) and epsilon == 0.0:
        epsilon = rules.zero_epsilon
    return [as_hyperparameter(value) for value in (beta_1, beta_2, epsilon)]


def _clips(kind: str, around: Around, rules: Preset) -> Iterator[tuple[str, Any]]:
    """Value, norm per variable, global norm, in this order."""
    limits = {name: getattr(around, name) for name in _CLIPS}
    given = [name for name, limit in limits.items() if limit is not None]
    both_norms = "clipnorm" in given and "global_clipnorm" in given
    if len(given) > 1 and (both_norms or not rules.several_clips):
        norm = _CLIPS[given[-1]].public_name
        remedy = f"leave one out, or put `adamx.{norm}` in a chain before {kind}"
        if around.preset == "tensorflow" and not both_norms:
            remedy = "TensorFlow forgets `clipvalue` beside a norm: leave it out for its numbers"
        raise ValueError(
            f"{kind}: only one of {', '.join(_CLIPS)} can be set, got {' and '.join(given)}; "
            f"{remedy}"
        )
    if given and around.gradient_transformers:
        raise ValueError(
            f"{kind}: `{given[0]}` and `gradient_transformers` cannot both be set; clip in one of "
            "the functions, or chain `adamx.clip_by_norm` before the optimizer"
        )
    for name in given:
        yield name, _CLIPS[name](limits[name])


def _aggregation(kind: str, around: Around) -> Iterator[tuple[str, Any]]:
    aggregator = around.gradient_aggregator
    if isinstance(aggregator, GradientTransformation):
        yield "aggregate", aggregator
    elif aggregator is not None:
        where = Where(kind, "gradient_aggregator")
        wanted = "a function of (gradient, variable) pairs or a transformation"
        fields.check_callable(where, aggregator, wanted)
        yield "aggregate", TransformPairs(functions=[aggregator])
    if around.gradient_transformers is not None:
        where = Where(kind, "gradient_transformers")
        if functions := check_functions(where, around.gradient_transformers):
            yield "transform", TransformPairs(functions=functions)


def _average(kind: str, around: Around, rules: Preset, every: int) -> Iterator[tuple[str, Any]]:
    if not check_switch(Where(kind, "use_ema"), around.use_ema):
        if around.ema_overwrite_frequency is not None:
            raise ValueError(f"{kind}: `ema_overwrite_frequency` has no effect without `use_ema`")
        return
    if every > 1 and around.ema_overwrite_frequency is not None:
        raise ValueError(
            f"{kind}: `ema_overwrite_frequency` together with `gradient_accumulation_steps` would "
            "overwrite the parameters in every micro-batch of a step; give up one of them"
        )
    frequency = around.ema_overwrite_frequency
    if frequency is not None:
        fields.check_count(Where(kind, "ema_overwrite_frequency"), frequency, 1)
    yield (
        "ema",
        ema_params(
            around.ema_momentum,
            start_step=rules.ema_start * every,
            overwrite_every=frequency,
            only_updated=not rules.ema_of_all,
        ),
    )


def _moves(kind: str, around: Around, every: int) -> Iterator[tuple[str, Any]]:
    """From the direction of the core to the update."""
    rate = composed(around.learning_rate, around.decay, every)
    if kind != "Lamb":
        if around.weight_decay is not None:
            yield "weight_decay", add_decayed_weights(around.weight_decay)
        yield "learning_rate", scale_by_learning_rate(rate)
    elif around.weight_decay is None:
        yield "trust_ratio", scale_by_trust_ratio()
        yield "learning_rate", scale_by_learning_rate(rate)
    else:
        yield (
            "learning_rate",
            DecayThenTrustRatio(learning_rate=rate, weight_decay=around.weight_decay),
        )


def _chain(kind: str, core: GradientTransformation, around: Around, rules: Preset) -> NamedChain:
    every = around.gradient_accumulation_steps
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 2):
        raise ValueError(
            f"{kind}: `gradient_accumulation_steps` must be a whole number >= 2 or None, got "
            f"{every!r}"
        )
    step = [*_clips(kind, around, rules), ("core", core), *_moves(kind, around, every or 1)]
    if every is not None:
        step = [("accumulate", multi_steps(named_chain(*step), every))]
    scale = around.loss_scale_factor
    unscaled = [] if scale is None else [("loss_scale", FixedLossScale(scale=scale))]
    average = _average(kind, around, rules, every or 1)
    return named_chain(*unscaled, *_aggregation(kind, around), *step, *average)


def build_optimizer(kind: str, given: Mapping[str, Any], core: Core) -> KerasOptimizer:
    """The core with everything around it, from the arguments of a factory by their names."""
    around = Around(**{name: given[name] for name in Around._fields if name in given})
    if not isinstance(around.preset, str) or around.preset not in PRESETS:
        raise ValueError(
            f"{kind}: `preset` must be one of {', '.join(PRESETS)}, got {around.preset!r}"
        )
    check_name(kind, around.name)
    check_numbers(kind, given)
    rules = PRESETS[around.preset]
    numbers = _hyperparameters(rules, given["beta_1"], given["beta_2"], given["epsilon"])
    return KerasOptimizer(
        kind=kind,
        scope=around.name,
        preset=around.preset,
        jit_compile=around.jit_compile,
        mesh=around.mesh,
        chain=_chain(kind, core(rules, *numbers), around, rules),
    )
