"""The argument `state_format`: a format of the moments, its name, or one for each pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from adamx.core.fields import Where
from adamx.core.format import ByPath, Float, Format, Joint
from adamx.core.paths import check_patterns, leaf_paths, match_paths
from adamx.formats.bfloat16 import Bfloat16Format
from adamx.formats.pair import PairFormat

StateFormat: TypeAlias = str | Format | Mapping[str, Any] | tuple[Any, ...] | None

_NAMED: dict[str, Any] = {
    "bfloat16": Bfloat16Format,
    "float32": lambda: None,
    "pair": PairFormat,
}
_KINDS = (Bfloat16Format, PairFormat)


def check_state_format(where: Where, value: object) -> Any:
    """A format of moments, also by its name; None for floats rounded to nearest.

    Of several the rules `(pattern, format)`.
    """
    if isinstance(value, (Mapping, tuple, list)):
        rules = [*(value.items() if isinstance(value, Mapping) else value)]
        if not all(isinstance(rule, (tuple, list)) and len(rule) == 2 for rule in rules):
            raise where.error(TypeError, "a format, or a dict from patterns to formats", value)
        patterns = check_patterns(where, [pattern for pattern, _ in rules])
        return tuple(zip(patterns, (_check_one(where, one) for _, one in rules), strict=True))
    return _check_one(where, value)


def _check_one(where: Where, value: object) -> Any:
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]()
    # Words that hold several moments are written by `family/words.py`, which knows those of ours.
    is_words = isinstance(value, Joint) and not isinstance(value, PairFormat)
    if value is None or (isinstance(value, Format) and not is_words):
        return value
    known = ", ".join([*map(repr, _NAMED), *(f"adamx.{kind.public_name}()" for kind in _KINDS)])
    kind = ValueError if isinstance(value, str) else TypeError
    wanted = f"one of {known}, a format of your own, or a dict from patterns to them"
    raise where.error(kind, wanted, value)


def as_format(state_format: Any) -> Format | None:
    """The format in a checked `state_format`; None if there is none."""
    if not isinstance(state_format, tuple):
        form: Format | None = state_format
        return form
    return ByPath(tuple((pattern, one or Float()) for pattern, one in state_format))


def check_paths(owner: str, state_format: Any, params: Any) -> None:
    """Raises ValueError for a pattern that is found in no path."""
    paths = leaf_paths(params) if isinstance(state_format, tuple) else []
    for pattern, _ in state_format if paths else ():
        match_paths(f"{owner}: `state_format`", pattern, paths)


def check_state_format_fits(
    owner: str, state_format: Any, dtypes: Mapping[str, Any], takes_pairs: bool
) -> None:
    """Raises ValueError for a format that moments cannot have, or one of their dtypes beside it."""
    if state_format is None:
        return
    for name, dtype in dtypes.items():
        if dtype is not None:
            raise ValueError(
                f"{owner}: `state_format` says how both moments are stored; leave out "
                f"`{name}={dtype!r}`"
            )
    several = isinstance(state_format, tuple)
    forms = [form for _, form in state_format] if several else [state_format]
    if not takes_pairs and any(isinstance(form, PairFormat) for form in forms):
        raise ValueError(
            f"{owner}: the format `pair` holds the two averages of Adam, the first of "
            "which the second bounds; these moments are others, so use "
            '`state_format="bfloat16"`'
        )
