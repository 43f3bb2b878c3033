"""The API reference: every public name once, in the reading order of `__all__`.

The pages are made from the package itself, so that a new name cannot be forgotten.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import dataclass
from types import ModuleType

# The package, and what is public under a name of its own.
PACKAGE = "adamx"
NAMESPACES = (
    "adamx.sparse",
    "adamx.sharding",
    "adamx.interop.keras",
    "adamx.interop.torch",
    "adamx.interop.optax",
    "adamx.interop.export",
)


@dataclass(frozen=True)
class Group:
    """Names that `__all__` lists under one comment."""

    title: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One page of the reference."""

    path: str
    title: str
    text: str
    module: str  # where its names are


def groups(module: ModuleType) -> list[Group]:
    """What is public in a module, as the comments in its `__all__` divide it.

    A module without `__all__` has one group: the functions and classes that it defines.
    """
    if not hasattr(module, "__all__"):
        defined = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
        return [Group("", tuple(defined))]
    source = inspect.getsource(module)
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in source.partition("\n__all__ = [\n")[2].partition("\n]")[0].splitlines():
        text = line.strip(" ,")
        if text.startswith("#"):
            found.append((text.strip("# .").partition(";")[0], []))
        else:
            found[-1][1].append(ast.literal_eval(text))
    return [Group(title, tuple(names)) for title, names in found if names]


def entry(public: str, value: object) -> str:
    """The lines that make mkdocstrings document one name, with its public name as the heading."""
    where = public  # A constant or a type is nowhere else.
    if inspect.isclass(value) or inspect.isfunction(value):
        where = f"{value.__module__}.{value.__qualname__}"
    anchor = "" if where == public else f"[](){{ #{public} }}\n\n"
    name = public.removeprefix("adamx.interop.")
    return f"{anchor}::: {where}\n    options:\n      heading: {name}\n      toc_label: {name}\n"


def _sections(module: ModuleType, listed: list[Group], done: set[int]) -> str:
    """Each group under its title; names that stand elsewhere already are links."""
    parts = []
    for group in listed:
        parts.append(f"## {group.title}\n" if group.title and len(listed) > 1 else "")
        for name in group.names:
            value = getattr(module, name)
            if id(value) in done:
                parts.append(f"`{name}` is [`adamx.{name}`][adamx.{name}].\n")
            else:
                done.add(id(value))
                parts.append(entry(f"{module.__name__}.{name}", value))
    return "\n".join(parts)


def pages() -> list[Page]:
    """The package a page per group, every namespace a page."""
    done: set[int] = set()
    package = importlib.import_module(PACKAGE)
    made = []
    for group in groups(package):
        slug = re.sub(r"\W+", "_", group.title.lower()).strip("_")
        text = f"# {group.title}\n\n{_sections(package, [group], done)}"
        made.append(Page(f"reference/{slug}.md", group.title, text, PACKAGE))
    for name in NAMESPACES:
        module = importlib.import_module(name)
        title = name.removeprefix("adamx.")
        text = f"# adamx.{title}\n\n{inspect.getdoc(module)}\n\n"
        text += _sections(module, groups(module), done)
        path = f"reference/{title.replace('.', '_')}.md"
        made.append(Page(path, name, text, name))
    return made
