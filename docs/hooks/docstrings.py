"""How the reference reads docstrings: fields by their comments, aligned text as it stands."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import griffe

TOGETHER = re.compile(r"^ {2}\w[\w, ]*,\n(?: {4}[\w, ]*,\n)* {4}", flags=re.M)
SECTION = re.compile(r"^(Args|Returns|Raises|References?|Examples?):$", flags=re.M)
INDENTED = re.compile(r"(?:^ {2,}\S.*\n?|\n(?= {2,}\S))+", flags=re.M)


class Docstrings(griffe.Extension):
    """The house style of docstrings, in terms that griffe knows."""

    def on_class_members(
        self, *, node: ast.AST | griffe.ObjectNode, cls: griffe.Class, **_: Any
    ) -> None:
        """A field of a state says what it is in the comment behind it."""
        assert isinstance(cls.filepath, Path)
        lines = cls.lines_collection[cls.filepath]
        comments = {
            field.target.id: lines[field.lineno - 1].partition("  # ")[2]
            for field in getattr(node, "body", [])
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
        if cls.docstring is not None and any(comments.values()):
            described = [f"  {name}: {comment}" for name, comment in comments.items() if comment]
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(described)

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Sections by griffe's names, and what is indented in front of them as it stands."""
        if obj.docstring is not None:
            obj.docstring.value = in_terms_of_griffe(obj.docstring.value)


def in_terms_of_griffe(text: str) -> str:
    """`Example:` in the plural; what is indented before the sections is a block of code."""
    # Arguments that are described together may fill more than one line.
    text = TOGETHER.sub(lambda found: f"  {' '.join(found[0].split())} ", text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
    sections = SECTION.search(text)
    end = sections.start() if sections else len(text)
    return INDENTED.sub(as_code, text[:end]) + text[end:]


def as_code(found: re.Match[str]) -> str:
    """Markdown wants four spaces in front of code."""
    return textwrap.indent(textwrap.dedent(found[0]), "    ")
