"""Labels: which group each parameter belongs to, as a tree, a function or patterns of paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import chex
import jax
import numpy as np

from adamx.core import checks, fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.mask import FrozenTree, frozen_leaves, is_function_of_tree
from adamx.core.paths import by_path, check_pairs, check_patterns, leaf_paths, quoted, split_rules
from adamx.core.transformation import Params
from adamx.core.value import Value

_OF_PARAMS = "a tree of labels, or a function (params) -> tree of labels"


def check_strings(where: Where, value: object) -> tuple[str, ...]:
    """Strings, as a tuple."""
    strings = fields.items(where, "strings", value)
    for string in strings:
        if not isinstance(string, str):
            raise where.error(TypeError, "a string", string)
    return strings


Label: TypeAlias = str | int  # True and False are integers


def as_label(value: object) -> Label | None:
    """A string or a whole number of Python, a truth value included; None for anything else."""
    if isinstance(value, (np.bool_, np.integer)):
        value = value.item()
    return value if isinstance(value, (str, int)) else None


def check_labels(where: Where, value: object) -> tuple[Label, ...]:
    """Labels of one type, as a tuple: a state is a dict of them, whose keys JAX sorts."""
    given_labels = fields.items(where, "labels", value)
    labels = [as_label(label) for label in given_labels]
    for given, label in zip(given_labels, labels, strict=True):
        if label is None:
            raise where.error(TypeError, "a string or a whole number", given)
    found = tuple(label for label in labels if label is not None)
    if len({isinstance(label, str) for label in found}) > 1:
        raise where.error(TypeError, "strings or whole numbers, not both", found)
    return found


def _check_default(where: Where, value: object) -> str | None:
    return None if value is None else check_strings(where, [value])[0]


class LabelByPath(Value):
    """The label of the first pattern that is found in a parameter's path."""

    patterns: Sequence[str] = fields.static(check_patterns)
    labels: Sequence[str] = fields.static(check_strings)
    default: str | None = fields.static(_check_default, default=None)

    def check_together(self) -> None:
        check_pairs(self.public_name, self.patterns, "labels", self.labels)

    def __call__(self, params: Params) -> Any:
        """A tree of labels like `params`; `None` where a leaf is not trained and has none."""
        labels = by_path(self.public_name, self.patterns, self.labels, params, self.default)
        leaves, structure = tree.flatten(params)
        for path, leaf, label in zip(leaf_paths(params), leaves, labels, strict=True):
            if label is None and numerics.is_inexact(leaf):
                raise ValueError(
                    f"{self.public_name}: no pattern is found in the parameter {quoted(path)}; the "
                    f"patterns are {', '.join(map(repr, self.patterns))}; add one, or a `default` "
                    "label for the rest"
                )
        return structure.unflatten(labels)

    def recipe_arguments(self) -> list[str]:
        rules = [repr(rule) for rule in zip(self.patterns, self.labels, strict=True)]
        return rules if self.default is None else [*rules, f"default={self.default!r}"]


ParamLabels: TypeAlias = Callable[[chex.ArrayTree], Any] | FrozenTree


def _check_param_labels(where: Where, value: object) -> ParamLabels:
    if is_function_of_tree(value):
        labels: Callable[[chex.ArrayTree], Any] = value
        return labels
    return frozen_leaves(where, value, as_label, "a label (a string or a whole number)")


def param_labels() -> Any:
    """A static field: a pytree of labels (or a prefix of one), or a function of the parameters
    that returns one."""
    return fields.static(_check_param_labels)


def _misfit(owner: str, what: str, like: object, labels: Any) -> ValueError:
    """Which leaves have no label, and which labels have no leaf; else which containers differ."""

    def paths(of: Any) -> list[tuple[Any, ...]]:
        flat, _ = jax.tree_util.tree_flatten_with_path(of, is_leaf=tree.is_leaf)
        return [path for path, _ in flat]

    have, want = paths(like), paths(labels)
    missing = [w for w in want if not any(h[: len(w)] == w for h in have)]
    unexpected = [h for h in have if not any(h[: len(w)] == w for w in want)]
    lines = [f"{owner}: the `param_labels` do not fit the {what}."]
    for word, some in (("missing", missing), ("unexpected", unexpected)):
        if some:
            shown = ", ".join(jax.tree_util.keystr(path) or tree.WHOLE for path in some[:5])
            more = f" and {len(some) - 5} more" if len(some) > 5 else ""
            lines.append(f"  {word} in the {what}: {shown}{more}")
    if len(lines) == 1:
        lines.append(f"  {checks.other_containers(labels, like)}")
    lines.append("  Labels are a tree like the parameters, or a prefix of it.")
    return ValueError("\n".join(lines))


def resolve_labels(
    owner: str, wanted: ParamLabels, like: chex.ArrayTree, what: str
) -> list[Label | None]:
    """The label of every leaf of `like`, in order; `None` only where a leaf is not trained.

    Raises:
      ValueError: the labels are not a prefix of the structure; a trained leaf without a label.
      TypeError: a label is neither a string nor a whole number.
    """
    checks.check_depth(f"{owner}: the {what}", like)
    if not tree.flatten(like)[0]:
        return []  # As in `resolve_mask`.
    if isinstance(wanted, FrozenTree):
        given = wanted.thaw()
    else:
        given = fields.call(Where(owner, "param_labels"), _OF_PARAMS, wanted, like)
    labels, prefix = tree.flatten(given)
    try:
        subtrees = prefix.flatten_up_to(like)
    except (TypeError, ValueError):
        raise _misfit(owner, what, like, given) from None
    flat: list[Label | None] = []
    for label, subtree in zip(labels, subtrees, strict=True):
        if label is not None and as_label(label) is None:
            raise TypeError(
                f"{owner}: `param_labels` must give strings or whole numbers, got {label!r} "
                f"({type(label).__name__})"
            )
        leaves, _ = tree.flatten(subtree)
        flat += [as_label(label)] * len(leaves)
    for label, path, leaf in zip(flat, leaf_paths(like), tree.flatten(like)[0], strict=True):
        if label is None and numerics.is_inexact(leaf):
            known = dict.fromkeys(label for label in labels if label is not None)
            raise ValueError(
                f"{owner}: the parameter {quoted(path)} has no label; the labels are "
                f"{', '.join(map(repr, known))}"
            )
    return flat


def label_by_path(*rules: tuple[str, str], default: str | None = None) -> LabelByPath:
    """Labels for `multi_transform`, by regular expressions for the parameters' paths.

    A path is written `encoder/layers/0/kernel`: keys, fields and positions.  The first pattern
    that is found anywhere in it (`re.search`) gives the label.

    Args:
      *rules: pairs `(pattern, label)`.
      default: the label of parameters that no pattern matches; None refuses them.

    Returns:
      A function from parameters to a tree of labels; as a value it prints, compares and has a
      configuration.

    Raises:
      TypeError: a rule that is no pair of strings.
      ValueError: not a regular expression.  When called: a pattern that matches no parameter or
        is never reached; without `default`, a parameter that no pattern matches.

    Example:
      >>> import adamx
      >>> labels = adamx.label_by_path((r"/(bias|scale)$", "plain"), default="decayed")
      >>> labels({"dense": {"kernel": 1.0, "bias": 0.0}})
      {'dense': {'bias': 'plain', 'kernel': 'decayed'}}
    """
    patterns, labels = split_rules("label_by_path", rules, "label")
    return LabelByPath(patterns=patterns, labels=labels, default=default)
