"""Values: frozen dataclasses that are pytrees, print as their recipe and compare by content.

Every transformation and every schedule is a `Value`.  Subclassing is all it takes:

    class Scale(GradientTransformation):
        step_size: Hyperparameter = fields.hyperparameter()

gives a frozen dataclass, registered as a pytree (numbers are leaves, switches are static), with a
public name derived from the class name (`scale`), under which it is printed, stored in
configurations and offered to users: `scale = Scale`.  Its fields are its arguments, in their
order.  Where it is not in the top namespace, `class Adam(..., name="sparse.adam")` says where.

Arguments are checked where a value is made.  JAX rebuilds values with other things than numbers
in their leaves, so rebuilding a pytree checks nothing.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import jax
import numpy as np

from adamx.core import fields

REGISTRY: dict[str, type[Value]] = {}
_LINE = 88
_DEEPEST = 100


def _public_name(cls: type) -> str:
    """`ScaleByAdam` -> `scale_by_adam`; classes from elsewhere keep their module in front."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return name
    return f"{cls.__module__}.{name}"


def check_names(of: type[Value] | Value, names: Iterable[str]) -> None:
    """Raises TypeError for a name that is no argument."""
    known = [field.name for field in fields_of(of)]
    for name in names:
        if name not in known:
            raise TypeError(
                f"{of.public_name}: unknown argument {name!r}; it takes {', '.join(known)}"
            )


def fields_of(value: Any) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a value or of its class, in order."""
    return dataclasses.fields(value)


class _BoundOnce:
    """A method that is the same object whenever it is read from one instance.

    `jax.jit` knows functions by identity, and Python binds a method anew at every access: without
    this `jax.jit(tx.update)(...)` inside a loop would compile in every pass.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Callable[..., Any]:
        if instance is None:
            return self.function
        bound = types.MethodType(self.function, instance)
        name = self.function.__name__
        # `super().update` is not the instance's own, and a tracer must not live on in a cycle.
        own = next(vars(cls)[name] for cls in type(instance).__mro__ if name in vars(cls))
        if own is self and not any(isinstance(x, jax.core.Tracer) for x in _flat(instance)[0]):
            vars(instance)[name] = bound
        return bound


@dataclass_transform(
    frozen_default=True,
    eq_default=False,
    field_specifiers=(
        fields.number,
        fields.hyperparameter,
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

    # Its name in recipes, configurations and errors.
    public_name = "value"

    if TYPE_CHECKING:
        # Arguments are those of `__init__`, also where another base makes tuples.
        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...

    # The methods that people give to `jax.jit`.
    bound_once: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, abstract: bool = False, name: str | None = None) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        for method in {*cls.bound_once} & vars(cls).keys():
            setattr(cls, method, _BoundOnce(vars(cls)[method]))
        if abstract:
            return
        jax.tree_util.register_pytree_with_keys(
            cls, cls._flatten_with_keys, cls._rebuild, cls._flatten
        )
        cls.public_name = name or _public_name(cls)
        # Python's own errors about the arguments then name what was called.
        cls.__init__.__qualname__ = cls.public_name
        REGISTRY[cls.public_name] = cls

    def __post_init__(self) -> None:
        for field in fields_of(self):
            where = fields.Where(self.public_name, field.name)
            checked = field.metadata[fields.KIND].check(where, getattr(self, field.name))
            object.__setattr__(self, field.name, checked)
        self._check_depth()
        self.check_together()

    def _check_depth(self) -> None:
        """Raises ValueError for values inside one another without end: everything recurses."""
        level: list[Any] = [self]
        for _ in range(_DEEPEST):
            fields = (x for value in level for x in value.field_values().values())
            inner = (y for x in fields for y in (x if isinstance(x, tuple) else (x,)))
            level = [*{id(y): y for y in inner if isinstance(y, Value)}.values()]
            if not level:
                return
        raise ValueError(
            f"{self.public_name}: {_DEEPEST} transformations or schedules are inside one another; "
            "write `chain(*links)` for links one after the other"
        )

    def _flatten(self) -> tuple[list[Any], tuple[Any, ...]]:
        """The numbers, and everything else."""
        data: list[Any] = []
        static: list[Any] = []
        for field in fields_of(self):
            kept = static if field.metadata[fields.KIND].static else data
            kept.append(getattr(self, field.name))
        return data, tuple(static)

    def _flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        data, static = self._flatten()
        names = [f.name for f in fields_of(self) if not f.metadata[fields.KIND].static]
        keys = map(jax.tree_util.GetAttrKey, names)
        return list(zip(keys, data, strict=True)), static

    @classmethod
    def _rebuild(cls, static: tuple[Any, ...], data: Iterable[Any]) -> Self:
        self = object.__new__(cls)
        remaining, fixed = iter(data), iter(static)
        for field in fields_of(cls):
            kept = fixed if field.metadata[fields.KIND].static else remaining
            object.__setattr__(self, field.name, next(kept))
        return self

    def check_together(self) -> None:
        """Checks that involve several fields; the base has none."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like arguments."""
        check_names(self, changes)
        return type(self)(**{**self.field_values(), **changes})

    def field_values(self) -> dict[str, Any]:
        """The fields by name, in order of declaration."""
        return {f.name: getattr(self, f.name) for f in fields_of(self)}

    def __getstate__(self) -> dict[str, Any]:
        """Its fields: a pickle or a copy takes nothing that was kept beside them."""
        return self.field_values()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = _flat(self), _flat(other)
        return mine[1] == theirs[1] and all(map(_same_leaf, mine[0], theirs[0]))

    def __hash__(self) -> int:
        leaves, structure = _flat(self)
        return hash((structure, *map(_leaf_key, leaves)))

    def recipe_arguments(self) -> list[str]:
        """The arguments as printed in the recipe: all numbers, and what is not at its default."""
        return [
            f"{f.name}={_show(getattr(self, f.name))}"
            for f in fields_of(self)
            if not f.metadata[fields.KIND].static
            or fields.is_number(getattr(self, f.name))
            or getattr(self, f.name) != f.default
        ]

    def __repr__(self) -> str:
        arguments = self.recipe_arguments()
        line = f"{self.public_name}({', '.join(arguments)})"
        if "\n" not in line and len(line) <= _LINE:
            return line
        body = textwrap.indent(",\n".join(arguments), "    ")
        return f"{self.public_name}(\n{body},\n)"


def _flat(value: object) -> tuple[list[Any], Any]:
    """The numbers, and everything else that identifies the value."""
    leaves, structure = jax.tree.flatten(value)
    return leaves, structure


def _show(value: object) -> str:
    return getattr(value, "__qualname__", None) or repr(value)


def _leaf_key(leaf: object) -> Any:
    """The share of a leaf in the hash: its number, or its dtype, shape and bytes."""
    if isinstance(leaf, jax.core.Tracer):
        raise TypeError("a value that holds traced numbers has no hash; use it outside of `jit`")
    if isinstance(leaf, (jax.Array, np.ndarray)):
        return (str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())
    return leaf


def _same_leaf(a: object, b: object) -> bool:
    return a is b or _leaf_key(a) == _leaf_key(b)
