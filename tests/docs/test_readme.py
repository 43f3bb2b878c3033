"""The README holds outside of the checkout, and says what was measured."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
# Where the host keeps a file of the main branch, to look at and to load.
FILES = tuple(url + "/" for url in (f"{URLS['Source']}/blob/main", f"{URLS['Source']}/raw/main"))


def links() -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", README, flags=re.S))


def test_links_are_absolute_and_lead_to_files_that_exist():
    assert links()
    for link in links():
        if link == URLS["Documentation"]:
            continue
        assert link.startswith(FILES), f"an index page cannot follow {link}"
        path = link.removeprefix(FILES[0]).removeprefix(FILES[1])
        assert (ROOT / path).is_file(), link


def test_the_first_picture_is_on_the_first_screen():
    assert README[: README.index("![")].count("\n") < 30


def test_measured_numbers_are_those_of_the_benchmarks():
    table = README[
        README.index("## What it costs") : README.index("```sh\npip install -e '.[bench]'")
    ]
    measured = re.findall(r"\d[\d.]* (?:ms|s|B|MB|kB)\b", table)
    assert len(measured) > 15
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    for number in measured:
        assert f"| {number} " in results, number


def test_the_map_of_the_checkout_names_what_is_there():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:adamx|tests|benchmarks|notebooks)/[\w/.]*)`", page)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
