"""A multiplier for each part of a network, chosen by the parameters' paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adamx.core import fields
from adamx.core.fields import Where
from adamx.core.hyperparameter import (
    Hyperparameter,
    ScalarOrSchedule,
    resolve,
)
from adamx.core.link import PerLeaf, ScaleByScheduleState, View
from adamx.core.paths import by_path, check_pairs, check_patterns, split_rules
from adamx.core.transformation import Params, State
from adamx.transforms.scaling import Scaling

_check_multiplier = fields.hyperparameter(fields.NONNEGATIVE).metadata[fields.KIND].check


def _check_multipliers(where: Where, value: object) -> tuple[Hyperparameter, ...]:
    return tuple(
        _check_multiplier(Where(where.owner, f"{where.argument}[{i}]"), multiplier)
        for i, multiplier in enumerate(fields.items(where, "numbers or schedules", value))
    )


class ScaleByPath(Scaling):
    """u times the multiplier of the first pattern found in the path; u where there is none."""

    reads_params = "optional"

    patterns: Sequence[str] = fields.static(check_patterns)
    multipliers: Sequence[ScalarOrSchedule] = fields.child(_check_multipliers)

    def check_together(self) -> None:
        check_pairs(self.public_name, self.patterns, "multipliers", self.multipliers)

    def init(self, params: Params) -> State:
        by_path(self.public_name, self.patterns, self.multipliers, params)
        return super().init(params)

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        count = state.count if isinstance(state, ScaleByScheduleState) else 0
        factors = [
            resolve(multiplier, count, f"multipliers[{i}]")
            for i, multiplier in enumerate(self.multipliers)
        ]
        return PerLeaf(by_path(self.public_name, self.patterns, factors, view.updates)), {}

    def recipe_arguments(self) -> list[str]:
        return [repr(rule) for rule in zip(self.patterns, self.multipliers, strict=True)]


def scale_by_path(*rules: tuple[str, ScalarOrSchedule]) -> ScaleByPath:
    """Multiplies the updates of some parameters: a learning rate for each part of a network.

        u <- u * multiplier of the first pattern that is found in the parameter's path

    and u where there is none.  Paths and patterns are those of `label_by_path`.

    Args:
      *rules: pairs `(pattern, multiplier)`; a multiplier is a number >= 0, a scalar array or a
        schedule of the 0-based step count.

    Raises:
      TypeError: a rule that is no such pair.
      ValueError: a negative multiplier; not a regular expression.  At `init` and `update`: a
        pattern that matches no parameter or is never reached.

    Reference:
      Howard & Ruder, Universal Language Model Fine-tuning (discriminative fine-tuning), 2018,
      section 3.2.

    Example:
      >>> import adamx, jax
      >>> tx = adamx.scale_by_path(("layers/0", 0.25), ("layers/1", 0.5))
      >>> updates = {"layers": [8.0, 8.0], "head": 8.0}
      >>> jax.tree.map(float, tx.update(updates, tx.init(updates))[0])
      {'head': 8.0, 'layers': [2.0, 4.0]}
    """
    patterns, multipliers = split_rules("scale_by_path", rules, "multiplier")
    return ScaleByPath(patterns=patterns, multipliers=multipliers)
