"""Arguments that are several names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_names(owner: str, argument: str, value: Any) -> Sequence[str]:
    """Several strings; one string alone would be taken for its letters.

    Raises:
      TypeError: something else.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(
            f"{owner}: `{argument}` must be a list of strings, got {value!r}"
            + (f"; write [{value!r}]" if isinstance(value, str) else "")
        )
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"{owner}: `{argument}` must hold strings, got {name!r}")
    return value
