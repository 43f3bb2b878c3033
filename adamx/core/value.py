"""Values: frozen dataclasses that are pytrees, print as their recipe and compare by content.

Every transformation and every schedule is a `Value`.  Subclassing is all it takes:

    class Scale(GradientTransformation):
        step_size: Hyperparameter = hyperparameter()

gives a frozen keyword-only dataclass, registered as a pytree (numbers are leaves, switches are
static), with a public name derived from the class name (`scale`), under which it is printed,
stored in configurations and offered as a lower-case factory.  Where the factory is not in the
top namespace, `class Adam(..., name="sparse.adam")` says where it is.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from typing import Any, Self, TypeVar, dataclass_transform

import jax
import numpy as np

from adamx.core import fields

REGISTRY: dict[str, type[Value]] = {}
_LINE = 88

T = TypeVar("T", bound="Value")


def _public_name(cls: type) -> str:
    """`ScaleByAdam` -> `scale_by_adam`; classes from elsewhere keep their module in front."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return name
    return f"{cls.__module__}.{name}"


def _fields_of(value: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(value)


@dataclass_transform(
    frozen_default=True,
    eq_default=False,
    kw_only_default=True,
    field_specifiers=(
        fields.number,
        fields.count,
        fields.function,
        fields.switch,
        fields.dtype,
        fields.axis_name,
        fields.limit,
        fields.static,
        fields.child,
    ),
)
class Value:
    """Base of everything that describes an optimizer."""

    public_name = "value"

    def __init_subclass__(cls, abstract: bool = False, name: str | None = None) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)(cls)
        if abstract:
            return
        kinds = {f.name: f.metadata[fields.KIND] for f in _fields_of(cls)}
        jax.tree_util.register_dataclass(
            cls,
            data_fields=[name for name, kind in kinds.items() if not kind.static],
            meta_fields=[name for name, kind in kinds.items() if kind.static],
        )
        cls.public_name = name or _public_name(cls)
        REGISTRY[cls.public_name] = cls

    @classmethod
    def checked(cls, **arguments: Any) -> Self:
        """Builds the value after checking every argument.

        Raises:
          TypeError: an argument of the wrong kind, an unknown or a missing one.
          ValueError: a number outside its allowed range.
        """
        known = {f.name: f for f in _fields_of(cls)}
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise TypeError(
                f"{cls.public_name}: unknown argument {unknown[0]!r}; it takes {', '.join(known)}"
            )
        missing = [
            name
            for name, f in known.items()
            if name not in arguments and f.default is dataclasses.MISSING
        ]
        if missing:
            raise TypeError(f"{cls.public_name}: missing argument {missing[0]!r}")
        built = cls(
            **{
                name: known[name]
                .metadata[fields.KIND]
                .check(fields.Where(cls.public_name, name), argument)
                for name, argument in arguments.items()
            }
        )
        built.check_together()
        return built

    def check_together(self) -> None:
        """Checks that involve several fields; the base has none."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like the factory's arguments."""
        return self.checked(**{**self.field_values(), **changes})

    def field_values(self) -> dict[str, Any]:
        """The fields by name, in order of declaration."""
        return {f.name: getattr(self, f.name) for f in _fields_of(self)}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = _flat(self), _flat(other)
        return mine[1] == theirs[1] and all(map(_same_leaf, mine[0], theirs[0]))

    def __hash__(self) -> int:
        leaves, structure = _flat(self)
        return hash((structure, *map(_leaf_key, leaves)))

    def recipe_arguments(self) -> list[str]:
        """The arguments as printed in the recipe; switches at their default are left out."""
        return [
            f"{f.name}={_show(getattr(self, f.name))}"
            for f in _fields_of(self)
            if not (f.metadata[fields.KIND].static and getattr(self, f.name) == f.default)
        ]

    def __repr__(self) -> str:
        arguments = self.recipe_arguments()
        line = f"{self.public_name}({', '.join(arguments)})"
        if "\n" not in line and len(line) <= _LINE:
            return line
        body = textwrap.indent(",\n".join(arguments), "    ")
        return f"{self.public_name}(\n{body},\n)"


def _flat(value: Any) -> tuple[list[Any], Any]:
    """The numbers, and everything else that identifies the value."""
    leaves, structure = jax.tree.flatten(value)
    return leaves, structure


def _show(value: Any) -> str:
    return getattr(value, "__qualname__", None) or repr(value)


def _leaf_key(leaf: Any) -> Any:
    """What a leaf contributes to the hash: its number, or its dtype, shape and bytes."""
    if isinstance(leaf, jax.core.Tracer):
        raise TypeError("a value that holds traced numbers has no hash; use it outside of `jit`")
    if isinstance(leaf, (jax.Array, np.ndarray)):
        return (str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())
    return leaf


def _same_leaf(a: Any, b: Any) -> bool:
    return a is b or _leaf_key(a) == _leaf_key(b)
