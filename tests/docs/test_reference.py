"""The API reference has every public name, once, in reading order."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import adamx

ROOT = Path(__file__).parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load(ROOT / "docs" / "hooks" / "reference.py")
PAGES = reference.pages()
TEXT = "\n".join(page.text for page in PAGES)


def entries(text: str) -> list[str]:
    """Public names by the heading of each entry, in order."""
    return re.findall(r"^ +heading: (\S+)$", text, flags=re.M)


def test_the_package_is_documented_in_reading_order():
    found = [name.removeprefix("adamx.") for name in entries(TEXT) if name.startswith("adamx.")]
    own = [name for name in found if "." not in name]
    assert own == adamx.__all__


@pytest.mark.parametrize("name", reference.NAMESPACES)
def test_every_name_of_a_namespace_is_documented_or_linked(name):
    module = importlib.import_module(name)
    names = [n for group in reference.groups(module) for n in group.names]
    assert names
    assert len(set(names)) == len(names)
    shown = name.removeprefix("adamx.interop.")
    linked = re.findall(r"is \[`adamx\.(\w+)`\]", TEXT)
    assert {f"{shown}.{n}" for n in names} - set(entries(TEXT)) <= {f"{shown}.{n}" for n in linked}


def test_every_namespace_has_a_page():
    root = Path(adamx.__file__).parent
    listing = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in root.rglob("*.py")
        if "__all__ = [" in path.read_text()
    }
    assert listing <= {"adamx", *reference.NAMESPACES}


def test_no_name_is_documented_twice():
    found = re.findall(r"^::: (\S+)$", TEXT, flags=re.M)
    assert len(set(found)) == len(found)


def test_pages_have_names_of_their_own():
    assert len({page.path for page in PAGES}) == len(PAGES)
    assert all(page.title for page in PAGES)


def test_the_groups_are_what_the_comments_say(tmp_path):
    path = tmp_path / "listed.py"
    lines = ["b = a = 0", "__all__ = [", "# One; and more.", '"b",', "# Two.", '"a",', "]"]
    path.write_text("\n".join(lines))
    groups = reference.groups(load(path))
    assert [(group.title, group.names) for group in groups] == [("One", ("b",)), ("Two", ("a",))]
