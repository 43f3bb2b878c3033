"""How the reference reads docstrings: fields by their comments, aligned text as it stands."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Any

import griffe

TOGETHER = re.compile(r"^ {2}\w[\w, ]*,\n(?: {4}[\w, ]*,\n)* {4}", flags=re.M)
SECTION = re.compile(r"^(Args|Returns|Raises|References?|Examples?):$", flags=re.M)
INDENTED = re.compile(r"(?:^ {2,}\S.*\n?|\n(?= {2,}\S))+", flags=re.M)


class Docstrings(griffe.Extension):
    """The house style of docstrings, in terms that griffe knows."""

    def on_attribute_instance(
        self, *, node: ast.AST | griffe.ObjectNode, attr: griffe.Attribute, **_: Any
    ) -> None:
        """A field of a state says what it is in the comment behind it."""
        if attr.docstring is None and isinstance(node, ast.AnnAssign) and attr.lineno:
            line = attr.lines_collection[attr.filepath][attr.lineno - 1]
            _, mark, comment = line.partition("  # ")
            if mark:
                attr.docstring = griffe.Docstring(comment, lineno=attr.lineno, parent=attr)

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
