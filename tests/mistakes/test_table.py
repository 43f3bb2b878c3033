"""Every mistake can still be made, and the tests that are to notice it are there."""

from __future__ import annotations

import pytest

from tests.mistakes.__main__ import ROOT
from tests.mistakes.table import MISTAKES, Mistake


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.kind.replace(" ", "_"))
def test_the_line_is_found_once_and_the_tests_are_there(mistake: Mistake) -> None:
    file = ROOT / mistake.file
    assert file.exists(), f"{mistake.file} is gone: mend the table of mistakes"
    found = file.read_text().count(mistake.old)
    assert found == 1, f"found {found} times in {mistake.file}: {mistake.old}"
    for name in mistake.noticed_by.split():
        path, _, test = name.partition("::")
        assert (ROOT / path).exists(), f"{name} is gone: mend the table"
        if test:
            assert f"def {test.partition('[')[0]}(" in (ROOT / path).read_text(), f"{name} is gone"


def test_every_mistake_is_another() -> None:
    assert len({(mistake.file, mistake.old, mistake.new) for mistake in MISTAKES}) == len(MISTAKES)
