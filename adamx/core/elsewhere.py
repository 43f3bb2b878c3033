"""Names of optax that are not here: their errors say where they are."""

from __future__ import annotations

import difflib
import importlib.util
import types
from collections.abc import Sequence
from typing import Any

# The counterparts of optax's names here.
_HERE = {
    "ApplyIfFiniteState": "is `adamx.GuardState`",
    "GradientTransformationExtraArgs": (
        "is `adamx.GradientTransformation`: every one takes extra arguments"
    ),
    "InjectStatefulHyperparamsState": "is `adamx.InjectHyperparamsState`",
    "MaskOrFn": "is `adamx.typing.MaskLike`",
    "MaskedNode": "is `None` here, in the place of a parameter that is left out",
    "MultiSteps": "is `adamx.multi_steps(tx, k)`, a transformation",
    "MultiTransformState": "is `adamx.PartitionState`",
    "NonNegativeParamsState": "is `adamx.EmptyState`",
    "ScalarOrSchedule": "is `adamx.typing.ScalarOrSchedule`",
    "apply_every": "is `adamx.multi_steps(tx, k, use_grad_mean=False)` around what is to wait",
    "contrib": "has its Adams in `adamx` itself, such as `adamx.schedule_free_adamw`",
    "inject_stateful_hyperparams": "is `adamx.inject_hyperparams(tx)`",
    "lookahead": "is no link of a chain: keep `optax.lookahead` around it",
    "rmsprop": "is `adamx.chain(adamx.scale_by_rms(), adamx.scale_by_learning_rate(rate))`",
    "safe_int32_increment": "is `adamx.safe_increment`",
    "selective_transform": "is `adamx.multi_transform` with `adamx.freeze()` for one label",
    "skip_large_updates": "is `adamx.skip_spikes(tx)`",
    "skip_not_finite": "is `adamx.apply_if_finite(tx)`",
    "with_extra_args_support": "is not needed: every transformation takes extra arguments",
}
_ELSEWHERE = (
    "losses, projections, trees and other optimizers are optax's: keep `import optax` for them; "
    "its transformations go into `adamx.chain` as they are"
)


def missing(name: str, known: Sequence[str]) -> AttributeError:
    """The error of a name that the package has not, which says where it is."""
    if name in _HERE:
        return AttributeError(f"`adamx` has no {name!r}: optax's `{name}` {_HERE[name]}", name=name)
    package = __name__.partition(".")[0]
    if importlib.util.find_spec(f"{package}.{name}") is not None:
        return AttributeError(
            f"`{package}.{name}` is not imported with `{package}`: write "
            f"`import {package}.{name}`, or import what you need from it",
            name=name,
        )
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
    hint = f" did you mean {' or '.join(map(repr, near))}?" if near else ""
    return AttributeError(f"`adamx` has no {name!r};{hint} {_ELSEWHERE}", name=name)


def also_in(package: types.ModuleType, names: Sequence[str], of: dict[str, Any]) -> None:
    """Lets the public names be written with a package in front, as optax's may be."""

    def find(name: str) -> Any:
        if name in names:
            return of[name]
        raise missing(name, names)

    package.__dict__["__getattr__"] = find
