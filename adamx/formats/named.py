"""The argument `state_format`: a format of the moments, or its name."""

from __future__ import annotations

from typing import Any, TypeAlias

from adamx.core.fields import Where
from adamx.core.format import Format
from adamx.core.value import Value
from adamx.formats.bfloat16 import Bfloat16Format
from adamx.formats.pair import PairFormat

StateFormat: TypeAlias = str | Format | None

_NAMED: dict[str, type[Any]] = {"bfloat16": Bfloat16Format, "pair": PairFormat}
_KINDS = tuple(_NAMED.values())


def check_state_format(where: Where, value: Any) -> Any:
    """A format of moments, also by its name; None for floats rounded to nearest."""
    if isinstance(value, str):
        if value not in _NAMED:
            known = ", ".join(map(repr, _NAMED))
            raise where.error(ValueError, f"one of {known}, or a format", value)
        return _NAMED[value]()
    if value is None or isinstance(value, _KINDS):
        return value
    known = ", ".join([*map(repr, _NAMED), *(f"adamx.{kind.public_name}()" for kind in _KINDS)])
    raise where.error(TypeError, f"None or one of {known}", value)


def check_state_format_fits(core: Value) -> None:
    """Raises ValueError for a format that a core cannot use, or a dtype beside it."""
    asked: Any = core
    if asked.state_format is None:
        return
    for name in ("mu_dtype", "nu_dtype"):
        if getattr(asked, name) is not None:
            raise ValueError(
                f"{core.public_name}: `state_format` says how both moments are stored; leave out "
                f"`{name}={getattr(asked, name)!r}`"
            )
    if isinstance(asked.state_format, PairFormat) and not getattr(asked, "takes_pairs", False):
        raise ValueError(
            f"{core.public_name}: the format `pair` holds the two averages of Adam, the first of "
            "which the second bounds; these moments are others, so use "
            '`state_format="bfloat16"`'
        )
