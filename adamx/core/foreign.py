"""Transformations of other libraries, as links of ours."""

from __future__ import annotations

import inspect
from typing import Any

from adamx.core import fields, tree
from adamx.core.fields import Where
from adamx.core.transformation import GradientTransformation, Params, State, Updates, walk

# The end of an error about an extra argument that is missing.
EXTRA_UNDER_OPTAX = (
    "; optax's wrappers (`optax.chain`, ...) pass it on to their own kind only: give them "
    "`adamx.interop.optax.to_optax(tx)`"
)


def _check_foreign(where: Where, value: object) -> Any:
    if not (callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))):
        raise where.error(TypeError, "a gradient transformation (with `init` and `update`)", value)
    return value


class Foreign(GradientTransformation):
    """A transformation of another library (an optax one), used as a link; compared by identity."""

    transformation: Any = fields.static(_check_foreign)

    def init(self, params: Params) -> State:
        return self.transformation.init(params)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        update = self.transformation.update
        updates = tree.densified(updates)  # Another library would take them for two leaves.
        parameters = [*inspect.signature(update).parameters.values()]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            names = {p.name for p in parameters[3:] if p.kind is not p.POSITIONAL_ONLY}
            names |= {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
            extra = {name: value for name, value in extra.items() if name in names}
        for p in parameters:
            if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in extra:
                raise TypeError(
                    f"{self!r} needs the extra argument `{p.name}`: call "
                    f"`tx.update(grads, state, params, {p.name}=...)`{EXTRA_UNDER_OPTAX}"
                )
        result: tuple[Updates, State] = update(updates, state, params, **extra)
        return result

    def __repr__(self) -> str:
        update = self.transformation.update
        made_by = getattr(update, "__qualname__", type(update).__qualname__).partition(".")[0]
        return f"<{update.__module__}.{made_by}>"


def name_of(transformation: GradientTransformation) -> str:
    """A transformation in an error: its public name, or where another library's is from."""
    if isinstance(transformation, Foreign):
        return repr(transformation)
    return transformation.public_name


def has_foreign(transformation: GradientTransformation) -> bool:
    """Whether there is another library's transformation in it."""
    return any(isinstance(visit.transformation, Foreign) for visit in walk(transformation))


def as_transformation(where: Where, value: object) -> GradientTransformation:
    """A transformation of ours as it is, another library's wrapped as `Foreign`."""
    if isinstance(value, GradientTransformation):
        return value
    return Foreign(transformation=_check_foreign(where, value))
