"""Leaves by name: one way to write a leaf's path, and masks made from patterns of paths."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import chex
import jax

from adamx.core import checks, fields, tree
from adamx.core.fields import Where
from adamx.core.value import Value

_SHOWN = 5
_LONGEST = 1000  # letters of a pattern
_OFTEN = 8  # repeats, above which one counts as one without bound
_MOST = 4  # of those in a pattern


def path_string(path: tuple[Any, ...]) -> str:
    """One of JAX's key paths as keys, indices and attribute names joined by slashes."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def quoted(path: object) -> str:
    """A path as errors write it; that of a tree that is a single leaf is empty."""
    return repr(path) if path != "" else tree.WHOLE


def leaf_paths(params: chex.ArrayTree) -> list[str]:
    """The path of every leaf as keys, indices and attribute names joined by slashes.

    This is the form of path that every pattern in this library is searched in.

    Args:
      params: any pytree; `None` counts as a leaf.

    Returns:
      One string per leaf, in the order of the leaves; "" for a tree that is a single leaf.

    Raises:
      ValueError: a tree nested without end.

    Example:
      >>> import adamx
      >>> adamx.leaf_paths({"head": 1.0, "layers": [{"bias": 1.0, "kernel": 1.0}]})
      ['head', 'layers/0/bias', 'layers/0/kernel']
    """
    checks.check_depth("leaf_paths", params)
    with_paths, _ = jax.tree_util.tree_flatten_with_path(params, is_leaf=tree.is_leaf)
    return [path_string(path) for path, _ in with_paths]


def _parts(parsed: Any) -> Iterator[tuple[str, bool, list[Any]]]:
    """Operations of a parsed expression: name, whether it repeats without bound, what is inside."""
    for operation, argument in parsed:
        name = str(operation)
        unbounded = name in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] > _OFTEN
        items = argument if isinstance(argument, (tuple, list)) else ()
        inner = [x for x in items if hasattr(x, "getwidth")]
        inner += [
            x for item in items if isinstance(item, list) for x in item if hasattr(x, "getwidth")
        ]
        yield name, unbounded, inner


def _repeats_choices(parsed: Any, inside: bool = False) -> bool:
    """Whether there are several ways to match the same letters by a repeat without bound.

    Their number then is exponential in the length of a path that does not match.
    """
    for name, unbounded, inner in _parts(parsed):
        if inside and (unbounded or name == "BRANCH"):
            return True
        if any(_repeats_choices(part, inside or unbounded) for part in inner):
            return True
    return False


def _repeats(parsed: Any) -> int:
    """How many repeats without bound: each may multiply the time by the length of a path."""
    return sum(unbounded + sum(map(_repeats, inner)) for _, unbounded, inner in _parts(parsed))


def check_patterns(where: Where, value: object) -> tuple[str, ...]:
    """Regular expressions, at least one, as a tuple of strings."""
    wanted = "regular expressions (strings)"
    patterns = (value,) if isinstance(value, str) else fields.items(where, wanted, value)
    if not patterns:
        raise where.error(ValueError, "at least one regular expression", patterns)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise where.error(TypeError, wanted, pattern)
        if len(pattern) > _LONGEST:
            raise where.error(
                ValueError,
                f"regular expressions of at most {_LONGEST} letters",
                pattern[:50] + "...",
            )
        try:
            parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise where.error(ValueError, f"a regular expression ({error})", pattern) from None
        if _repeats_choices(parsed):
            raise where.error(
                ValueError,
                "a regular expression without repeats or choices inside of a repeat, as in "
                "`(a+)+`, which may take for ever; a pattern is searched for anywhere in a path, "
                "and needs nothing in front of it",
                pattern,
            )
        if _repeats(parsed) > _MOST:
            raise where.error(
                ValueError,
                f"a regular expression with at most {_MOST} repeats without bound, such as `.*`; a "
                "pattern is searched for anywhere in a path, and needs nothing in front of it",
                pattern,
            )
    return patterns


def match_paths(owner: str, pattern: str, paths: list[str]) -> list[bool]:
    """Whether the pattern is found anywhere in each path.

    Raises:
      ValueError: it is found in none; the nearest paths are listed.
    """
    found = [re.search(pattern, path) is not None for path in paths]
    if not any(found):
        # Compare letters with letters: a path is near if the pattern's words are near to it.
        words = re.sub(r"\\.|[^\w/]+", " ", pattern).strip()
        candidates = {part: path for path in paths[::-1] for part in (*path.split("/"), path)}
        near = difflib.get_close_matches(words, candidates, n=_SHOWN, cutoff=0.5)
        shown = dict.fromkeys(candidates[part] for part in near)
        listed = ", ".join(map(quoted, shown or paths[:_SHOWN]))
        hint = "did you mean" if shown else "there are"
        raise ValueError(
            f"{owner}: the pattern {pattern!r} is found in none of the {len(paths)} paths of the "
            f"parameters; {hint} {listed}" + ("?" if shown else "")
        )
    return found


def _first_match(owner: str, patterns: Sequence[str], paths: list[str]) -> list[int | None]:
    """For each path the position of the first pattern that is found in it, or None.

    A tree without leaves has nothing to match and nothing to complain about.

    Raises:
      ValueError: a pattern that is found in no path, or only where an earlier one is found.
    """
    if not (paths and patterns):
        return [None] * len(paths)
    found = zip(*(match_paths(owner, pattern, paths) for pattern in patterns), strict=True)
    first = [row.index(True) if any(row) else None for row in found]
    for i, pattern in enumerate(patterns):
        if i not in first:
            raise ValueError(
                f"{owner}: the pattern {pattern!r} is never reached, as an earlier one is found in "
                "every path that it is found in; put it first"
            )
    return first


def by_path(
    owner: str,
    patterns: Sequence[str],
    things: Sequence[Any],
    params: chex.ArrayTree,
    otherwise: Any = None,
) -> list[Any]:
    """For each leaf the thing whose pattern is the first to be found in its path.

    `None` leaves are not asked: inside a group they are the parameters of the others, and a pattern
    for them is a mistake.

    Raises:
      ValueError: a pattern that is found in no path, or only where an earlier one is found.
    """
    paths = leaf_paths(params)
    leaves, _ = tree.flatten(params)
    present = [i for i, leaf in enumerate(leaves) if leaf is not None]
    found = [otherwise] * len(leaves)
    for i, match in zip(
        present, _first_match(owner, patterns, [paths[i] for i in present]), strict=True
    ):
        if match is not None:
            found[i] = things[match]
    return found


def split_rules(owner: str, rules: Iterable[Any], second: str) -> tuple[list[Any], list[Any]]:
    """Pairs `(pattern, ...)` as two lists."""
    rules = list(rules)
    if any(isinstance(rule, Mapping) for rule in rules):
        raise TypeError(
            f"{owner}: rules are pairs (pattern, {second}), got a dictionary; write "
            f"`{owner}(*rules.items())`"
        )
    for rule in rules:
        if not (isinstance(rule, (tuple, list)) and len(rule) == 2):
            raise TypeError(f"{owner}: rules are pairs (pattern, {second}), got {rule!r}")
    return [pattern for pattern, _ in rules], [item for _, item in rules]


def check_pairs(owner: str, patterns: Sequence[str], what: str, others: Sequence[Any]) -> None:
    """Raises unless there is one of `others` for every pattern."""
    if len(patterns) != len(others):
        raise ValueError(f"{owner}: {len(patterns)} `patterns` for {len(others)} `{what}`")


def near_misses(given: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known ones, and all of them."""
    known = list(dict.fromkeys(known))
    near = difflib.get_close_matches(given, known, n=_SHOWN, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{hint}known are {', '.join(map(repr, known)) or 'none'}"


class MaskByPath(Value):
    """True for the leaves whose path contains one of the patterns, or with `exclude` none."""

    patterns: Sequence[str] = fields.static(check_patterns)
    exclude: bool = fields.switch(default=False)

    def __call__(self, params: chex.ArrayTree) -> chex.ArrayTree:
        paths = leaf_paths(params)
        # A tree without leaves has nothing to match and nothing to complain about.
        patterns = self.patterns if paths else ()
        matches = [match_paths(self.public_name, pattern, paths) for pattern in patterns]
        selected = [any(row) != self.exclude for row in zip(*matches, strict=True)]
        return tree.flatten(params)[1].unflatten(selected)

    def recipe_arguments(self) -> list[str]:
        switch = ["exclude=True"] if self.exclude else []
        return [*map(repr, self.patterns), *switch]


def mask_by_path(*patterns: str, exclude: bool = False) -> MaskByPath:
    r"""A mask that selects leaves by their paths, for every argument called `mask`.

    A leaf is selected if one of the patterns is found anywhere in its path, as written by
    `leaf_paths` ("layers/0/bias").  Anchor a pattern that must be a whole name: `"b"` is also
    found in "embedding", `r"(^|/)b$"` is not.

    Args:
      *patterns: regular expressions; each must be found in at least one path.
      exclude: select the leaves in which none is found instead.

    Returns:
      A value to be called with the parameters; gives a tree of booleans.  It can be compared,
      hashed, printed and stored in a configuration like a transformation.

    Raises:
      ValueError: no pattern or one that is no regular expression; when called, a pattern that is
        found in no path.
      TypeError: a pattern that is not a string.

    Example:
      >>> import adamx
      >>> mask = adamx.mask_by_path(r"bias$", r"^norm", exclude=True)
      >>> mask({"dense": {"bias": 1.0, "kernel": 1.0}, "norm": {"scale": 1.0}})
      {'dense': {'bias': False, 'kernel': True}, 'norm': {'scale': False}}
    """
    return MaskByPath(patterns=patterns, exclude=exclude)
