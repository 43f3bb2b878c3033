"""Arguments that are neither numbers nor trees: switches, and several names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def check_switch(owner: str, argument: str, value: Any) -> bool:
    """True or False as it is; no text or number, of which "False" and 2 would both be true.

    Raises:
      TypeError: something else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{owner}: `{argument}` must be True or False, got {value!r}")
    return bool(value)


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
