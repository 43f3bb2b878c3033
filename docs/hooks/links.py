"""Public names in running text become links to the reference."""

from __future__ import annotations

import functools
import re

from mkdocs.structure.pages import Page
from reference import pages

PAGES = pages()
PUBLIC = {
    name
    for page in PAGES
    for name in re.findall(r"^(?:\[\]\(\)\{ #|::: )(\S+)", page.text, flags=re.M)
}
# Left alone: headings, links, names of arguments, blocks of code.
SKIPPED = re.compile(r"(<(h\d|a|b|pre)\b.*?</\2>)", flags=re.S)
CODE = re.compile(r"<code>([A-Za-z_][\w.]*)(\([^<]*\))?</code>")
# Whose names a page means first; `keras.Adam` is read in `adamx.interop`.
OWN = {page.path: page.module for page in PAGES} | {"keras.md": "adamx.interop.keras"}
SPACES = ("adamx.", "adamx.interop.", "")


def on_page_content(html: str, page: Page, **_: object) -> str:
    """`<code>adamw</code>` and the like, linked by the autorefs plugin."""
    own = OWN.get(page.file.src_uri, "adamx")
    pieces = SKIPPED.split(html)
    # `split` returns text, skipped, its tag, text, ...
    return "".join(
        CODE.sub(functools.partial(linked, own), piece) if i % 3 == 0 else piece
        for i, piece in enumerate(pieces)
        if i % 3 != 2
    )


def linked(own: str, found: re.Match[str]) -> str:
    """The element that the plugin replaces; as it was if nothing public has this name."""
    for space in (f"{own}.", *SPACES):
        if f"{space}{found[1]}" in PUBLIC:
            return f'<autoref identifier="{space}{found[1]}" optional>{found[0]}</autoref>'
    return found[0]
