"""Imports point downward, and everything public can be found, read about and tried.

A lower layer that knows a higher one cannot be understood, tested or replaced alone.
"""

import ast
import importlib
import inspect
import operator
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import adamx
from adamx.core.value import Value

ROOT = Path(adamx.__file__).parent
# From the bottom up; a module may import from its own part and from lower layers.
LAYERS = [
    {"core"},
    {"schedules", "formats"},
    {"transforms"},
    {"family", "wrappers"},
    {"sparse", "sharding"},
    {"interop", "training", "typing", "conversion"},
    {"demo"},
    {"__main__"},
]
# These use the package as its users do.
USERS = {"demo", "__main__"}
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(module: str) -> str:
    """`adamx.core.tree` -> `core`; `adamx` stays `adamx`."""
    return module.split(".")[1] if "." in module else module


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports anywhere, written in full."""
    package = [ROOT.name, *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # `from adamx import core` names a part in the list of names.
            names = [f"{base}.{a.name}" for a in node.names] if base == ROOT.name else [base]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == ROOT.name)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    part = path.relative_to(ROOT).with_suffix("").parts[0]
    assert part in RANK, f"give {part} its place in LAYERS"
    for name in imported(path):
        other = part_of(name)
        downward = other == part or RANK.get(other, len(LAYERS)) < RANK[part]
        assert downward or (other == ROOT.name and part in USERS), f"it imports {name}"


PAGE = Path(__file__).parent.parent / "docs" / "how_it_works.md"
SECTION = PAGE.read_text().partition("## What parts ask one another for")[2].partition("\n## ")[0]
TABLE = [
    re.findall(r"`(.+?)`", cell)
    for row in SECTION.split("\n")
    if row.startswith("| `")
    for cell in row.split("|")[1:-1]
]
ASKED = [
    pytest.param(name, askers, file, owner, id=f"{owner}.{name}")
    for names, askers, (file, owner) in zip(TABLE[::3], TABLE[1::3], TABLE[2::3], strict=True)
    for name in names
]


def is_documented(owner: type, name: str) -> bool:
    """By a docstring, or by a comment in the line or above it."""
    declared = getattr(owner, name, None)
    if inspect.isfunction(declared) or isinstance(declared, property):
        return bool(declared.__doc__)
    lines = inspect.getsource(owner).splitlines()
    i = next(i for i, line in enumerate(lines) if re.match(rf"    {name}(:| =)", line))
    return "#" in lines[i] or lines[i - 1].strip().startswith("#")


@pytest.mark.parametrize(("name", "askers", "file", "owner"), ASKED)
def test_what_parts_ask_one_another_for_is_declared(
    name: str, askers: list[str], file: str, owner: str
) -> None:
    """As the page on the architecture says: where, by whom it is asked, and documented."""
    module = f"{ROOT.name}.{file.removesuffix('.py').replace('/', '.')}"
    declaring = getattr(importlib.import_module(module), owner)
    assert name in vars(declaring) or name in vars(declaring)["__annotations__"]
    assert is_documented(declaring, name)
    assert any(re.search(rf"\.{name}\b", (ROOT / asker).read_text()) for asker in askers)


# Attributes of objects that are not ours, which only some of them have.
FOREIGN = {
    "Python": {"__name__", "__qualname__", "_fields", "getwidth"},
    "arrays": {"dtype", "shape", "sharding", "committed", "n_sparse"},
    "JAX of some versions": {"manual_axis_type", "reshard", "pcast"},
    "optax": {"init", "update"},
    "flax": {"get_value", "get_metadata"},
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_attribute_is_asked_for_that_may_be_missing(path: Path) -> None:
    """Ours are declared in a base class or a protocol."""
    if path.relative_to(ROOT).parts[0] in {"interop", *USERS}:
        return  # Where objects are other libraries', or the command line's.
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    asked = {
        call.args[1].value
        for call in calls
        if ast.unparse(call.func) in ("getattr", "hasattr")
        and isinstance(call.args[1], ast.Constant)
    }
    assert asked <= set().union(*FOREIGN.values())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_begin_with_a_noun(path: Path) -> None:
    """ "What ..." makes a reader wait for the thing that a noun names at once."""
    found = re.findall(r'^\s*(?:"""|# )(?:What|Those|That which) .*', path.read_text(), re.M)
    assert not found


# Installed with the package; a function may import more when it is called.
DEPENDENCIES = {ROOT.name, "jax", "jaxlib", "chex", "numpy"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_needs_the_dependencies_only(path: Path) -> None:
    if path.relative_to(ROOT).with_suffix("").parts[0] in USERS:
        return  # These have an extra of their own.
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ROOT.name]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            assert top in DEPENDENCIES | sys.stdlib_module_names, f"it imports {name}"


PUBLIC = [
    pytest.param(getattr(space, name), id=f"{space.__name__}.{name}")
    for space in (adamx, adamx.sharding, adamx.sparse)
    for name in space.__all__
]


def is_called(name: str, thing: Any) -> bool:
    """A function, or a class that is offered as one."""
    return inspect.isfunction(thing) or (inspect.isclass(thing) and name[0].islower())


CALLED = [p for p in PUBLIC if is_called(p.id.rpartition(".")[2], p.values[0])]


def test_all_lists_exactly_what_can_be_imported() -> None:
    found = {
        name
        for name, value in vars(adamx).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    # optax's other names of what is listed, and of types.
    found -= {"Params", "Updates", "OptState", "partition"}
    assert sorted(adamx.__all__) == sorted(found)


@pytest.mark.parametrize("thing", PUBLIC)
def test_everything_public_is_documented(thing: Any) -> None:
    text = thing.__doc__ or ""
    written_by_namedtuple = text.startswith(f"{thing.__name__}(")
    assert text.strip()
    assert not written_by_namedtuple


def validates(thing: Any) -> bool:
    """It raises or checks itself, or its arguments are those of a value."""
    if inspect.isclass(thing):
        return issubclass(thing, Value) and bool(inspect.signature(thing).parameters)
    source = inspect.getsource(thing)
    body = source[source.rindex('"""') :]
    checks = ("raise ", ".check_", ".require_", ".check(")
    returned = thing.__globals__.get(thing.__annotations__["return"])
    builds = inspect.isclass(returned) and issubclass(returned, Value)
    return any(check in body for check in checks) or (
        builds and bool(inspect.signature(thing).parameters)
    )


@pytest.mark.parametrize("thing", CALLED)
def test_public_names_say_what_they_take_raise_and_how_to_use_them(thing: Any) -> None:
    text = inspect.getdoc(thing) or ""
    arguments = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    for name in inspect.signature(thing).parameters:
        assert name in arguments.replace(",", " ").replace(":", " ").replace("*", "").split(), name
    assert "\nRaises:\n" in text or not validates(thing)
    assert ">>>" in text


VALUES = [p for p in CALLED if inspect.isclass(p.values[0]) and issubclass(p.values[0], Value)]


@pytest.mark.parametrize("thing", VALUES)
def test_a_class_offered_as_a_function_goes_by_that_name(thing: Any) -> None:
    """In recipes, in configurations, and in Python's own errors about its arguments."""
    name = thing.public_name
    assert operator.attrgetter(name)(adamx) is thing
    with pytest.raises(TypeError, match=rf"^{re.escape(name)}\(\) got an unexpected keyword"):
        thing(no_such_argument=0)


def test_the_table_of_properties_names_tests_that_exist() -> None:
    tests = Path(__file__).parent
    table = (tests / "README.md").read_text()
    named = re.findall(r"`([A-Za-z_/*]+(?:\.py|/))`", table.partition("| is held by |")[2])
    assert len(named) > 50
    for name in named:
        path = name.replace("C/", "contract/")
        assert any(tests.glob(path)) or (ROOT.parent / path).is_dir(), name
