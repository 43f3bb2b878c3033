"""The Python of the README and of every page runs, from top to bottom, as it is written."""

from __future__ import annotations

import doctest
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", flags=re.S | re.M)


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    text: str
    line: int  # of the page, 0-based, where the text begins


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCED.finditer(text):
        indent, language, body = found.groups()
        line = text.count("\n", 0, found.start(3))
        yield Block(language, re.sub(f"^{indent}", "", body, flags=re.M), line)


def has_python(page: Path) -> bool:
    return any(block.language in ("python", "pycon") for block in blocks(page))


def run(page: Path) -> None:
    """One after the other, in one module; tracebacks show the page and its line."""
    module = ModuleType("__main__")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for block in blocks(page):
        if block.language == "pycon" or block.text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(
                block.text, vars(module), page.name, str(page), block.line
            )
            runner.run(test, clear_globs=False)
            vars(module).update(test.globs)
            assert not runner.failures, f"{page.name}, block at line {block.line + 1}"
        elif block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            exec(code, vars(module))


FULL = {
    "docs/keras.md": "a live Keras",
    "docs/guides/embeddings.md": "steps of tables take long to compile",
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def marks(page: Path) -> list[pytest.MarkDecorator]:
    return [pytest.mark.full(FULL[name(page)])] if name(page) in FULL else []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=name(page), marks=marks(page)) for page in PAGES if has_python(page)],
)
def test_it_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [page.name])
    run(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_its_language(page: Path) -> None:
    assert all(block.language for block in blocks(page))
