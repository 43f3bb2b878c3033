"""Keras's configurations: dictionaries of JSON, written and read.  Nothing is evaluated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from adamx.core import checks
from adamx.core.fields import Where, check_switch
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.interop.keras.adam import Adam, AdamW
from adamx.interop.keras.adamax import Adamax
from adamx.interop.keras.lamb import Lamb
from adamx.interop.keras.links import DecayThenTrustRatio
from adamx.interop.keras.loss_scale import LossScaleOptimizer
from adamx.interop.keras.nadam import Nadam
from adamx.interop.keras.optimizer import KerasOptimizer, Part, check_optimizer, parts_of
from adamx.interop.keras.rates import KerasSchedule, decomposed, schedule_to_config

_FACTORIES: dict[str, Callable[..., KerasOptimizer]] = {
    factory.__name__: factory for factory in (Adam, AdamW, Nadam, Adamax, Lamb, LossScaleOptimizer)
}
# Keras lowers the name of a class when it reads a configuration, in place.
_CLASSES = {name.lower(): name for name in _FACTORIES}
# The values of arguments that an optimizer does without; all others are None.
_WITHOUT: dict[str, Any] = {
    "decay": 0.0,
    "use_ema": False,
    "ema_momentum": 0.99,
    "jit_compile": True,
    "is_legacy_optimizer": False,
    "amsgrad": False,
}
# Entries that every configuration of these has, and that say nothing.
_IMPLIED: dict[str, dict[str, Any]] = {
    "Nadam": {"decay": 0.004},  # the legacy one's `schedule_decay`
    "Adamax": {"decay": 0.0},
    "Lamb": {"decay": 0.0},
    "LossScaleOptimizer": {
        **dict.fromkeys(("weight_decay", "clipnorm", "global_clipnorm", "clipvalue")),
        **dict.fromkeys(("ema_overwrite_frequency", "loss_scale_factor")),
        "gradient_accumulation_steps": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "dynamic": True,
    },
}
# The entries of a configuration, in Keras's order, by preset; the numbers of the core follow.
_KEYS = {
    "keras": (
        "name",
        "learning_rate",
        "weight_decay",
        "clipnorm",
        "global_clipnorm",
        "clipvalue",
        "use_ema",
        "ema_momentum",
        "ema_overwrite_frequency",
        "loss_scale_factor",
        "gradient_accumulation_steps",
    ),
    "tensorflow": (
        "name",
        "weight_decay",
        "clipnorm",
        "global_clipnorm",
        "clipvalue",
        "use_ema",
        "ema_momentum",
        "ema_overwrite_frequency",
        "jit_compile",
        "is_legacy_optimizer",
        "learning_rate",
    ),
    "legacy": ("name", "clipnorm", "clipvalue", "global_clipnorm", "learning_rate", "decay"),
}


def _plain(value: Any, path: str) -> Any:
    """A number, or a schedule of Keras, as JSON."""
    if isinstance(value, KerasSchedule):
        return schedule_to_config(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    is_array = isinstance(value, (jax.Array, np.ndarray))
    if is_array and not isinstance(value, jax.core.Tracer) and value.ndim == 0:
        return float(value)
    raise TypeError(
        f"get_config: {path} is {value!r}, which a configuration of Keras cannot hold; use a "
        "number or `keras.schedule`, or write `adamx.get_config(tx)`"
    )


def _known(tx: KerasOptimizer) -> dict[str, Any]:
    """Every argument that a configuration can hold."""
    parts = parts_of(tx)
    for name, why in (
        ("aggregate", "a `gradient_aggregator`"),
        ("transform", "`gradient_transformers`"),
    ):
        if name in parts:
            raise TypeError(
                f"get_config: the optimizer has {why}, which a configuration cannot hold"
            )
    if tx.mesh is not None:
        raise TypeError(
            "get_config: the optimizer has a mesh, which a configuration cannot hold; write "
            "`get_config(tx.replace(mesh=None))`"
        )
    decay_link = parts.get("weight_decay", parts["learning_rate"]).link
    if getattr(decay_link, "mask", None) is not None:
        raise TypeError(
            "get_config: the optimizer excludes variables from weight decay, which a "
            "configuration of Keras does not hold; write `adamx.get_config(tx)`"
        )

    def field(name: str, attribute: str, otherwise: Any = None) -> Any:
        part: Part | None = parts.get(name)
        return otherwise if part is None else getattr(part.link, attribute)

    rate, decay = decomposed(field("learning_rate", "learning_rate"))
    legacy_nadam = (tx.kind, tx.preset) == ("Nadam", "legacy")
    decays = isinstance(decay_link, DecayThenTrustRatio) or "weight_decay" in parts
    return {
        "name": tx.name,
        "learning_rate": rate,
        # The legacy Nadam has the decay of its momentum under this name.
        "decay": tx.rules.nadam_decay if legacy_nadam else decay,
        "weight_decay": getattr(decay_link, "weight_decay", None) if decays else None,
        "clipnorm": field("clipnorm", "max_norm"),
        "global_clipnorm": field("global_clipnorm", "max_norm"),
        "clipvalue": field("clipvalue", "max_delta"),
        "use_ema": "ema" in parts,
        "ema_momentum": field("ema", "decay", 0.99),
        "ema_overwrite_frequency": field("ema", "overwrite_every"),
        "loss_scale_factor": field("loss_scale", "scale"),
        "gradient_accumulation_steps": field("accumulate", "every_k_schedule"),
        "jit_compile": tx.jit_compile,
        "is_legacy_optimizer": False,
        "beta_1": field("core", "b1"),
        "beta_2": field("core", "b2"),
        "epsilon": field("core", "eps"),
        "amsgrad": isinstance(parts["core"].link, ScaleByAmsgrad),
    }


def get_config(tx: KerasOptimizer) -> dict[str, Any]:
    """The optimizer as the dictionary that Keras's `get_config` gives.

    The keys and their order are those of the preset: Keras 3's, TensorFlow's, or the legacy ones
    (clips only where they are set).

    Args:
      tx: an optimizer made here.

    Returns:
      Plain JSON; schedules as Keras serialises them.

    Raises:
      TypeError: something that such a dictionary cannot hold: a function, a schedule that is not
        Keras's, a mesh, or what the other presets have and this one has not.

    Example:
      >>> from adamx.interop import keras
      >>> config = keras.get_config(keras.Adam(0.01, clipnorm=1.0))
      >>> config["learning_rate"], config["clipnorm"], config["beta_1"]
      (0.01, 1.0, 0.9)
    """
    scaled = parts_of(check_optimizer("get_config", tx)).get("dynamic_scale")
    if scaled is not None:
        link: Any = scaled.link
        return {
            "name": tx.name,
            "inner_optimizer": _serialised(tx.kind, tx.replace(scope=tx.kind, chain=link.inner)),
            "initial_scale": _plain(link.initial_scale, "initial_scale"),
            "dynamic_growth_steps": int(link.growth_interval),
        }
    known = _known(tx)
    core = ["beta_1", "beta_2", "epsilon"]
    if tx.kind in ("Adam", "AdamW"):
        core.append("amsgrad")
    keys = [*_KEYS[tx.preset], *core]
    adaptive = tx.kind == "Adam" and not getattr(parts_of(tx)["core"].link, "eps_hat", True)
    if adaptive:
        # TensorFlow's own configuration forgets it.
        known["adaptive_epsilon"] = True
        keys.append("adaptive_epsilon")
    for name, value in known.items():
        default = _WITHOUT.get(name)
        if name not in keys and not (value is default or value == default):
            raise TypeError(
                f"get_config: {tx.kind} has {name}={value!r}, which the configuration of "
                f"preset={tx.preset!r} cannot hold"
            )
    config = {key: _plain(known[key], key) for key in keys}
    if tx.preset == "legacy":
        config = {key: x for key, x in config.items() if "clip" not in key or x is not None}
    return config


def _serialised(kind: str, tx: KerasOptimizer) -> dict[str, Any]:
    """As Keras's `serialize` writes it."""
    module = "keras.optimizers"
    return {
        "module": module,
        "class_name": kind,
        "config": get_config(tx),
        "registered_name": None,
    }


def _preset_of(config: Mapping[str, Any]) -> str:
    """The generation of Keras that wrote it."""
    if "is_legacy_optimizer" in config:
        legacy = check_switch(
            Where("from_config", "is_legacy_optimizer"), config["is_legacy_optimizer"]
        )
        return "legacy" if legacy else "tensorflow"
    return "legacy" if {"decay", "lr"} & set(config) else "keras"


def _named_after(name: Any) -> str | None:
    """The class that Keras named an optimizer after: Lamb of `lamb`, of the second one `lamb_1`."""
    return _CLASSES.get(re.sub(r"_\d+$", "", str(name)).lower().replace("_", ""))


def _shortest(value: Any) -> Any:
    """The number as it was written, from the digits that a variable of float32 left of it."""
    if not isinstance(value, float) or float(np.float32(value)) != value:
        return value
    return float(str(np.float32(value)))


def _class_of(config: Mapping[str, Any]) -> str:
    """The class that a dictionary without `class_name` is of, where its name or its keys say so."""
    named = _named_after(config.get("name"))
    if named is not None:
        return named
    if "amsgrad" in config:
        return "Adam"  # AdamW has it too, and does the same with the same numbers
    raise ValueError(
        f"from_config: the dictionary (name={config.get('name')!r}) does not say of which class it "
        f"is; say `class_name=`, one of {', '.join(_FACTORIES)}, or give what "
        "`keras.optimizers.serialize(optimizer)` returns"
    )


def from_config(
    config: Mapping[str, Any], class_name: str | None = None, preset: str | None = None
) -> KerasOptimizer:
    """The optimizer that a dictionary of Keras describes.

    Args:
      config: what `get_config` of an optimizer of Keras or TensorFlow, or the function here,
        returned; also what `keras.optimizers.serialize` returned, with the class in it.
      class_name: Adam, AdamW, Nadam, Adamax, Lamb or LossScaleOptimizer, in any case.  None takes
        it from what `serialize` wrote, else from the name that Keras gives to an optimizer of that
        class (`lamb`, `lamb_1`); under another name only Adam is known, by its key `amsgrad`.
      preset: see `Adam`; None to tell by the keys.

    Returns:
      The optimizer; the dictionary is not changed.  A number with the digits of a float32 variable
        (0.0010000000474974513) is the one that was written (0.001), and a name that Keras gave
        (`adam_1`) is the default one.

    Raises:
      ValueError: an unknown class, or none that could be told; an unknown key (named), or numbers
        outside their range.
      TypeError: no dictionary, or an argument of the wrong kind.

    Example:
      >>> from adamx.interop import keras
      >>> config = {"name": "Adam", "learning_rate": 0.01, "beta_1": 0.8}
      >>> keras.from_config(config) == keras.Adam(0.01, beta_1=0.8)
      True
    """
    owner = "from_config"
    checks.check_depth(owner, config)
    if isinstance(config, Mapping) and "class_name" in config:
        serialised, config = config["class_name"], config.get("config", {})
        if not isinstance(serialised, str):
            raise TypeError(f"{owner}: `class_name` must be a string, got {serialised!r}")
        if class_name is not None and class_name.lower() != serialised.lower():
            raise ValueError(
                f"{owner}: the dictionary is of class {serialised!r}, but "
                f"`class_name={class_name!r}`"
            )
        class_name = serialised
    if not isinstance(config, Mapping):
        raise TypeError(f"{owner}: expected a dictionary, got {config!r}")
    kind = _class_of(config) if class_name is None else _CLASSES.get(str(class_name).lower())
    if kind is None:
        raise ValueError(
            f"{owner}: unknown class {class_name!r}; known are {', '.join(_FACTORIES)}"
        )
    factory = _FACTORIES[kind]
    takes = inspect.signature(factory).parameters
    arguments = {key: _shortest(x) for key, x in config.items()}
    generation = _preset_of(arguments) if preset is None else preset
    arguments.pop("is_legacy_optimizer", None)
    for key, without in _IMPLIED.get(kind, {}).items():
        if key in arguments and arguments[key] == without:
            del arguments[key]
    known = set(takes) - {"preset"}
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise ValueError(
            f"{owner}: unknown key {unknown[0]!r} for {kind}; known are "
            f"{', '.join(sorted({*known, 'is_legacy_optimizer'}))}"
        )
    if _named_after(arguments.get("name")) == kind:
        del arguments["name"]  # Keras's own, not the user's
    if kind == "LossScaleOptimizer":
        inner = arguments.pop("inner_optimizer", None)
        return LossScaleOptimizer(from_config(inner, preset=preset), **arguments)
    if "preset" in takes:
        arguments["preset"] = generation
    if not arguments.get("use_ema", False):
        arguments.pop("ema_momentum", None)
    return factory(**arguments)
