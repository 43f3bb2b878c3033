"""Which of torch's numbered parameters is which leaf here."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from adamx.core import tree
from adamx.core.mask import FrozenTree, resolve_mask
from adamx.core.paths import leaf_paths, path_string, quoted
from adamx.core.transformation import Params
from adamx.interop.arguments import check_names
from adamx.interop.leaves import by_path, check_paths


def check_state_dict(owner: str, argument: str, given: Any) -> None:
    """Raises unless it is shaped like a `state_dict` of an optimizer of torch."""
    wanted = f"{owner}: `{argument}` must be what `torch_optimizer.state_dict()` returned"
    if not (isinstance(given, Mapping) and {"state", "param_groups"} <= set(given)):
        keys = ", ".join(repr(key) for key in [*given][:5]) if isinstance(given, Mapping) else ""
        shown = (
            f"a dictionary of {keys or 'nothing'}" if isinstance(given, Mapping) else type(given)
        )
        raise ValueError(
            f"{wanted}, with 'state' and 'param_groups', got {shown}; from a checkpoint of a whole "
            "run take the optimizer's entry"
        )
    groups, state = given["param_groups"], given["state"]
    if not (isinstance(groups, (list, tuple)) and all(map(_is_group, groups))):
        raise ValueError(
            f"{wanted}: 'param_groups' a list of dictionaries with the numbers of their 'params' "
            f"(and as many 'param_names', or none), got {reprlib.repr(groups)}"
        )
    numbers = [i for group in groups for i in group["params"]]
    if len({*numbers}) != len(numbers):
        raise ValueError(f"{wanted}: a parameter is in the 'param_groups' twice, got {numbers}")
    if not (isinstance(state, Mapping) and all(isinstance(x, Mapping) for x in state.values())):
        raise ValueError(f"{wanted}: 'state' a dictionary of one dictionary per parameter")


def _is_group(group: Any) -> bool:
    if not (isinstance(group, Mapping) and isinstance(group.get("params"), (list, tuple))):
        return False
    numbers, names = group["params"], group.get("param_names", [""] * len(group["params"]))
    return (
        isinstance(names, (list, tuple))
        and len(names) == len(numbers)
        and all(isinstance(i, int) for i in numbers)
        and all(isinstance(name, str) for name in names)
    )


def _check_order(owner: str, trained: Params, flipped: Mapping[str, bool]) -> None:
    """Raises for two leaves of one shape in torch whose order is that of sorted keys."""
    seen: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(trained)[0]:
        path = path_string(keys)
        shape = np.shape(leaf)[::-1] if flipped[path] else np.shape(leaf)
        for others in seen.setdefault(shape, []):
            pairs = zip(others, keys, strict=False)
            if isinstance(next(a for a, b in pairs if a != b), jax.tree_util.DictKey):
                raise ValueError(
                    f"{owner}: {quoted(path_string(others))} and {quoted(path)} have one shape, "
                    "and nothing says which of them comes first in torch: dictionaries are sorted "
                    "here and modules there are not; give the paths in torch's order: `names=`"
                )
        seen[shape].append(keys)


def identifiers(
    owner: str,
    groups: Sequence[Mapping[str, Any]],
    params: Params,
    needed: Params,
    names: Sequence[str] | None,
    flipped: Mapping[str, bool],
) -> dict[str, Any]:
    """torch's number of each parameter in its groups, by path.

    Parameters that torch was not given (frozen ones) may be missing unless they are `needed`: a
    tree like the parameters with `None` for the others.
    """
    numbers = [i for group in groups for i in group["params"]]
    trained = tree.partition(params, params)
    paths, least = by_path(owner, trained), by_path(owner, needed)
    if names is None and all("param_names" in group for group in groups):
        names = [name.replace(".", "/") for group in groups for name in group["param_names"]]
    if names is None:
        if len(numbers) == len(least):
            trained = needed
        _check_order(owner, trained, flipped)
        names = [*by_path(owner, trained)]
    check_names(owner, "names", names)
    if len(numbers) != len(names):
        raise ValueError(
            f"{owner}: torch has {len(numbers)} parameters, but there are {len(names)} "
            f"names: {', '.join(names)}"
        )
    wanted = {*least, *(name for name in names if name in paths)}
    check_paths(owner, "`names` (one path per parameter in torch's order)", names, wanted)
    if len({*names}) != len(names):
        raise ValueError(f"{owner}: `names` holds a path twice: {', '.join(names)}")
    return dict(zip(names, numbers, strict=True))


def transposed_leaves(owner: str, transposed: Any, params: Params) -> dict[str, bool]:
    """For each path whether its leaf lies transposed in torch."""
    paths, leaves = leaf_paths(params), tree.flatten(params)[0]
    if transposed is None:
        return dict.fromkeys(paths, False)
    mask = transposed if callable(transposed) else FrozenTree(transposed)
    selected = tree.flatten(resolve_mask(owner, mask, params))[0]
    for path, leaf, flip in zip(paths, leaves, selected, strict=True):
        if flip and np.ndim(leaf) != 2:
            raise ValueError(
                f"{owner}: `transposed` selects {quoted(path)} of shape {np.shape(leaf)}; only "
                "matrices can be transposed"
            )
    return dict(zip(paths, selected, strict=True))
