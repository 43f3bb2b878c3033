"""Public names in running text become links to the reference."""

from __future__ import annotations

import re

from reference import pages

# What `adamx.interop.keras` is called in the text, and so on.
SPACES = ("adamx.", "adamx.interop.", "")
PUBLIC = {
    name
    for page in pages()
    for name in re.findall(r"^\[\]\(\)\{ #(\S+) \}|^::: (\S+)", page.text, flags=re.M)
    for name in name
    if name
}
# Left alone: headings, links, blocks of code.
SKIPPED = re.compile(r"(<(h\d|a|pre)\b.*?</\2>)", flags=re.S)
CODE = re.compile(r"<code>([A-Za-z_][\w.]*)(\([^<]*\))?</code>")


def on_page_content(html: str, **_: object) -> str:
    """`<code>adamw</code>` and the like, linked by the autorefs plugin."""
    pieces = SKIPPED.split(html)
    # `split` returns text, skipped, its tag, text, ...
    return "".join(
        CODE.sub(linked, piece) if i % 3 == 0 else piece
        for i, piece in enumerate(pieces)
        if i % 3 != 2
    )


def linked(found: re.Match[str]) -> str:
    """The element that the plugin replaces; as it was if nothing public has this name."""
    for space in SPACES:
        if f"{space}{found[1]}" in PUBLIC:
            return f'<autoref identifier="{space}{found[1]}" optional>{found[0]}</autoref>'
    return found[0]
