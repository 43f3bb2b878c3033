"""Keras's configurations: dictionaries of JSON, written and read.  Nothing is evaluated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.interop.keras.adam import Adam, AdamW
from adamx.interop.keras.adamax import Adamax
from adamx.interop.keras.lamb import Lamb
from adamx.interop.keras.links import DecayThenTrustRatio
from adamx.interop.keras.nadam import Nadam
from adamx.interop.keras.optimizer import KerasOptimizer, Part, check_optimizer, parts_of
from adamx.interop.keras.rates import KerasSchedule, decomposed, schedule_to_config

_FACTORIES: dict[str, Callable[..., KerasOptimizer]] = {
    factory.__name__: factory for factory in (Adam, AdamW, Nadam, Adamax, Lamb)
}
# What an argument is where an optimizer does without it; all others are None.
_WITHOUT: dict[str, Any] = {
    "decay": 0.0,
    "use_ema": False,
    "ema_momentum": 0.99,
    "jit_compile": True,
    "is_legacy_optimizer": False,
    "amsgrad": False,
}
# What a configuration holds, in Keras's order, by preset; the numbers of the core follow.
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
    decays = isinstance(decay_link, DecayThenTrustRatio) or "weight_decay" in parts
    return {
        "name": tx.name,
        "learning_rate": rate,
        "decay": decay,
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
    known = _known(check_optimizer("get_config", tx))
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


def _preset_of(config: Mapping[str, Any]) -> str:
    """The generation of Keras that wrote it."""
    if "is_legacy_optimizer" in config:
        return "legacy" if config["is_legacy_optimizer"] else "tensorflow"
    return "legacy" if {"decay", "lr"} & set(config) else "keras"


def _class_of(config: Mapping[str, Any]) -> str:
    """The class that a dictionary without `class_name` is of, where its name or its keys say so.

    Keras names an optimizer after its class, with a number from the second one on: `adam_w_1`.
    """
    name = re.sub(r"_\d+$", "", str(config.get("name"))).lower().replace("_", "")
    for known in _FACTORIES:
        if known.lower() == name:
            return known
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
      class_name: Adam, AdamW, Nadam, Adamax or Lamb.  None takes it from what `serialize` wrote,
        else from the name that Keras gives to an optimizer of that class (`lamb`, `lamb_1`); under
        another name only Adam is known, by its key `amsgrad`.
      preset: see `Adam`; None to tell by the keys.

    Returns:
      The optimizer; the dictionary is not changed.

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
    if not isinstance(config, Mapping):
        raise TypeError(f"from_config: expected a dictionary, got {config!r}")
    if "class_name" in config:
        serialised, config = config["class_name"], config.get("config", {})
        if class_name not in (None, serialised):
            raise ValueError(
                f"from_config: the dictionary is of class {serialised!r}, but "
                f"`class_name={class_name!r}`"
            )
        class_name = serialised
    if class_name is None:
        class_name = _class_of(config)
    if class_name not in _FACTORIES:
        raise ValueError(
            f"from_config: unknown class {class_name!r}; known are {', '.join(_FACTORIES)}"
        )
    factory = _FACTORIES[class_name]
    known = set(inspect.signature(factory).parameters) - {"preset"} | {"is_legacy_optimizer"}
    unknown = [key for key in config if key not in known]
    if unknown:
        raise ValueError(
            f"from_config: unknown key {unknown[0]!r} for {class_name}; known are "
            f"{', '.join(sorted(known))}"
        )
    arguments = {key: x for key, x in config.items() if key != "is_legacy_optimizer"}
    if "preset" in inspect.signature(factory).parameters:
        arguments["preset"] = _preset_of(config) if preset is None else preset
    if not arguments.get("use_ema", False):
        arguments.pop("ema_momentum", None)
    return factory(**arguments)
