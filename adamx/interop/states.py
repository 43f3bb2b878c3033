"""Optimizer states of two libraries side by side: which part belongs to which.

A state is read as a row of *nodes*, the named tuples that hold something.  Chains are laid out
flat however they are nested, empty states and masks are passed over: what is left is the same for
every way of writing one recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from adamx.core.value import Value
from adamx.interop.arguments import check_names
from adamx.interop.leaves import NONNEGATIVE, fit_tree

# Fields that hold a state, or a dict of states; all others hold numbers or trees of them.
STATE_FIELDS = ("inner_state", "inner_opt_state", "base_optimizer_state", "inner_states")


class Node(NamedTuple):
    """A part of a state and where it is."""

    path: str
    value: Any

    def __str__(self) -> str:
        fields = getattr(self.value, "_fields", None)
        shown = type(self.value).__name__ + (f"({', '.join(fields)})" if fields else "")
        return f"{shown} at {self.path}" if self.path else shown


Special: TypeAlias = Callable[[Node, Node, "Move"], Any]


def class_name(value: Any) -> str:
    """The name of its class, which is what two libraries have in common."""
    return type(value).__name__


def map_nodes(
    f: Callable[[Node], Any], state: Any, ignore: Sequence[str] = (), path: str = ""
) -> Any:
    """The state with `f` applied to its nodes, in order.

    Of a node whose class is ignored only the state inside is visited; the rest stays.
    """
    fields = getattr(state, "_fields", None)
    if state is None or fields == ():
        return state
    if fields is None and isinstance(state, (tuple, list)):
        return type(state)(map_nodes(f, x, ignore, f"{path}[{i}]") for i, x in enumerate(state))
    if fields is not None and class_name(state) in ("MaskedState", *ignore):
        inner = [name for name in fields if name in STATE_FIELDS]
        return state._replace(
            **{x: map_nodes(f, getattr(state, x), ignore, f"{path}.{x}") for x in inner}
        )
    return f(Node(path, state))


def nodes(state: Any, ignore: Sequence[str] = (), path: str = "") -> list[Node]:
    """The nodes of a state, in order."""
    found: list[Node] = []

    def collect(node: Node) -> Any:
        found.append(node)
        return node.value

    map_nodes(collect, state, ignore, path)
    return found


def every_class(state: Any) -> set[str]:
    """The class names of all named tuples anywhere in a state."""
    if isinstance(state, dict):
        return set().union(*map(every_class, state.values()))
    if not isinstance(state, (tuple, list)):
        return set()
    own = {class_name(state)} if hasattr(state, "_fields") else set()
    return own.union(*map(every_class, state))


def parts(value: Any) -> Iterator[Value]:
    """A transformation and everything it is made of."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from parts(item)
    if isinstance(value, Value):
        yield value
        yield from parts(tuple(value.field_values().values()))


def check_ignored(owner: str, ignore: Sequence[str], *states: Any) -> None:
    """Raises a `ValueError` for a name that is the class of no part of the states."""
    known = set().union(*map(every_class, states))
    for name in check_names(owner, "ignore", ignore):
        if name not in known:
            raise ValueError(
                f"{owner}: `ignore` has {name!r}, but no part of the states is one; there are "
                f"{', '.join(sorted(known))}"
            )


class Move(NamedTuple):
    """Moves one state into the structure of another; strict about what is left over."""

    owner: str
    ignore: Sequence[str]
    special: Special  # the new value for two nodes that do not match field by field, or None

    def states(self, source: Any, target: Any, source_path: str = "", path: str = "") -> Any:
        """`target` with the numbers of `source`."""
        given = nodes(source, self.ignore, source_path)
        wanted = nodes(target, self.ignore, path)
        if len(given) != len(wanted):
            raise ValueError(
                f"{self.owner}: the two states do not have the same parts.\n"
                f"  given:  {'; '.join(map(str, given)) or 'nothing'}\n"
                f"  wanted: {'; '.join(map(str, wanted)) or 'nothing'}\n"
                "  Use the same recipe on both sides, or name the classes that only one side has: "
                "`ignore=('EmaState',)`."
            )
        pairs = iter(given)
        return map_nodes(lambda node: self.node(next(pairs), node), target, self.ignore, path)

    def node(self, source: Node, target: Node) -> Any:
        """The target node with the numbers of the source node."""
        if isinstance(source.value, dict) and isinstance(target.value, dict):
            return self.named(source, target)
        fields = getattr(source.value, "_fields", None)
        if fields is None or not hasattr(target.value, "_fields"):
            raise TypeError(f"{self.owner}: {source} has no counterpart; it would become {target}")
        moved = self.special(source, target, self)
        if moved is not None:
            return moved
        if class_name(source.value) != class_name(target.value):
            raise TypeError(
                f"{self.owner}: {source} would become {target}, which means something else; was "
                "it made by another optimizer?"
            )
        if set(fields) != set(target.value._fields):
            odd = sorted(set(fields) ^ set(target.value._fields))
            raise TypeError(
                f"{self.owner}: {source} would become {target}; nothing corresponds to the field "
                f"{odd[0]!r}"
            )
        return self.fields(source, target, fields)

    def fields(self, source: Node, target: Node, names: Sequence[str]) -> Any:
        """The target node with the fields of these names taken from the source node."""
        return target.value._replace(**{name: self.field(source, target, name) for name in names})

    def field(self, source: Node, target: Node, name: str) -> Any:
        """One field of the source node in the structure of the target's."""
        old, new = (Node(f"{n.path}.{name}", getattr(n.value, name)) for n in (source, target))
        if name == "inner_states":
            return self.named(old, new)
        if name in STATE_FIELDS:
            return self.states(old.value, new.value, old.path, new.path)
        path = old.path.lstrip(".")
        return fit_tree(self.owner, old.value, new.value, path, nonnegative=name in NONNEGATIVE)

    def named(self, source: Node, target: Node) -> Any:
        """States by name or label."""
        if set(source.value) != set(target.value):
            raise ValueError(
                f"{self.owner}: the states{f' at {source.path}' if source.path else ''} are called "
                f"{sorted(map(str, source.value))}, not {sorted(map(str, target.value))}"
            )
        return type(target.value)(
            (
                key,
                self.states(
                    source.value[key],
                    state,
                    f"{source.path}[{key!r}]",
                    f"{target.path}[{key!r}]",
                ),
            )
            for key, state in target.value.items()
        )
