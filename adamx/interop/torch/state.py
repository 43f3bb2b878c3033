"""`state_dict`s of `torch.optim`'s Adam family, from torch and to torch.

torch numbers its parameters and keeps one state for each of them, with a step count of its own:

    {"state": {0: {"step", "exp_avg", "exp_avg_sq"[, "max_exp_avg_sq"]}, 1: ...},
     "param_groups": [{"params": [0, 1, ...][, "param_names": [...]], "lr": ..., ...}, ...]}

Here one count serves all parameters, and each moment is a tree like the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics, tree
from adamx.core.mask import FrozenTree, resolve_mask
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.family.adam import ScaleByAdam
from adamx.family.adamax import ScaleByAdamax
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.family.moments import Core
from adamx.family.nadam import ScaleByNadam
from adamx.family.radam import ScaleByRadam
from adamx.interop.leaves import by_path, check_paths, fit, to_numpy
from adamx.interop.states import Node, check_ignored, class_name, map_nodes, parts
from adamx.sparse.adam import RowsTransformation, SparseAdam
from adamx.transforms.paths import leaf_paths, path_string

_ADAM = {"mu": "exp_avg", "nu": "exp_avg_sq"}
# torch's keys by the fields of our states; a key of a field that is a number is a number there.
_KEYS: dict[type[GradientTransformation], dict[str, str]] = {
    ScaleByAdam: _ADAM,
    ScaleByAmsgrad: {**_ADAM, "nu_max": "max_exp_avg_sq"},
    ScaleByNadam: {**_ADAM, "mu_product": "mu_product"},
    ScaleByRadam: _ADAM,
    ScaleByAdamax: {"mu": "exp_avg", "nu": "exp_inf"},
    SparseAdam: _ADAM,
}
_COUNTER = "ScaleByScheduleState"
_GROUPED = "PartitionState"
_SCALARS = ("mu_product",)


def from_state_dict(
    tx: GradientTransformation,
    state_dict: Mapping[str, Any],
    params: Params,
    names: Sequence[str] | None = None,
    *,
    transposed: Any = None,
    ignore: Sequence[str] = (),
) -> State:
    """The state of `tx` that goes on where a run with torch stopped.

    Moments move as they are, AMSGrad's maximum too: torch takes it over the raw second moments, so
    `tx` must as well (`scale_by_amsgrad(raw_maximum=True)`, as in the preset `Adam(amsgrad=True)`).
    The steps taken become the count of the moments and of the schedules in `tx`.  Several
    `param_groups` go with a `multi_transform`.

    Which parameter is which is told by `names`; without, by the `param_names` that torch keeps if
    it was given named parameters (`layer.0.bias` is `layer/0/bias`); without those, the order is
    that of the leaves.  Dictionaries are sorted here and torch's modules are not, so `names` must
    be given if two leaves of one shape could change places unnoticed.

    Args:
      tx: the transformation to go on with, made of a preset of this module or its core.
      state_dict: `torch_optimizer.state_dict()`, with tensors (bfloat16, too) or any arrays.
      params: the parameters that `tx.init` would be given.
      names: for each parameter in torch's order its path here, as `adamx.leaf_paths` writes it.
      transposed: which leaves lie transposed in torch, as the weights of `torch.nn.Linear` do to
        the kernels of flax: a pytree of booleans (or a prefix of one), or a function of the
        parameters that returns one such as `mask_by_path("kernel$")`; None for none.
      ignore: names of classes of states in `tx` of which torch knows nothing (`EmaParamsState`);
        they start afresh.

    Returns:
      A state for `tx.update`, placed as `tx.init(params)` is.

    Raises:
      ValueError: no `state_dict`; parameters or keys on one side only; another shape; leaves that
        could be mixed up; parameters at different steps; a transformation that torch has not.
      TypeError: another kind of dtype.

    Example:
      >>> import jax.numpy as jnp, numpy as np
      >>> from adamx.interop import torch
      >>> one = {"step": 5.0, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}
      >>> state_dict = {"state": {0: one}, "param_groups": [{"params": [0]}]}
      >>> state = torch.from_state_dict(torch.Adam(), state_dict, {"w": jnp.zeros(2)})
      >>> int(state[0].count), state[0].mu
      (5, {'w': Array([1., 1.], dtype=float32)})
    """
    owner = "from_state_dict"
    keys = _keys(owner, tx)
    fresh = tx.init(params)
    check_ignored(owner, ignore, fresh)
    _check_state_dict(owner, "state_dict", state_dict)
    flipped = _transposed(owner, transposed, params)
    numbers = _identifiers(owner, state_dict["param_groups"], params, names, flipped)
    for i in state_dict["state"]:
        if i not in numbers.values():
            raise ValueError(f"{owner}: the state has a parameter {i!r}, no param_group has it")
    entries = {
        path: _checked_entry(owner, path, state_dict["state"].get(i, {}), keys)
        for path, i in numbers.items()
    }
    steps = {path: int(to_numpy(entry["step"])) for path, entry in entries.items() if entry}
    step = _same_for_all(owner, "step", {path: steps.get(path, 0) for path in entries})
    if not steps:
        return fresh
    used: list[str] = []

    def moment(field: str, like: Any) -> Any:
        key = keys[field]
        if field in _SCALARS:
            values = {path: float(to_numpy(entry[key])) for path, entry in entries.items()}
            return fit(owner, key, np.float64(_same_for_all(owner, key, values)), like)
        leaves, structure = tree.flatten(like)
        moved = []
        for path, leaf in zip(leaf_paths(like), leaves, strict=True):
            if leaf is not None:
                value = to_numpy(entries[path][key])
                value = value.T if flipped[path] else value
                leaf = fit(owner, f"{key} of {path!r}", value, leaf)
                used.extend([path] * (field == "mu"))
            moved.append(leaf)
        return structure.unflatten(moved)

    def move(node: Node) -> Any:
        value = node.value
        if isinstance(value, dict) or class_name(value) == _GROUPED:
            return _each(move, value, ignore)
        _check_known(owner, node, keys)
        count = fit(owner, "step", np.int64(step), value.count)
        fields = () if class_name(value) == _COUNTER else keys
        return value._replace(count=count, **{x: moment(x, getattr(value, x)) for x in fields})

    state = map_nodes(move, fresh, ignore)
    check_paths(owner, "torch's state", entries, used)
    return state


def to_state_dict(
    tx: GradientTransformation,
    state: State,
    template: Mapping[str, Any],
    params: Params,
    names: Sequence[str] | None = None,
    *,
    transposed: Any = None,
    as_tensor: Callable[[np.ndarray], Any] = np.asarray,
    ignore: Sequence[str] = (),
) -> dict[str, Any]:
    """The `state_dict` for `torch_optimizer.load_state_dict`: the inverse of `from_state_dict`.

        optimizer.load_state_dict(
            to_state_dict(tx, state, optimizer.state_dict(), params, as_tensor=torch.tensor)
        )

    Args:
      tx: the transformation that made `state`.
      state: its state.
      template: `torch_optimizer.state_dict()`, from which the `param_groups` are taken, their
        numbers included.
      params: the parameters that `tx.init` was given.
      names, transposed: see `from_state_dict`.
      as_tensor: makes what torch wants from a NumPy array: `torch.tensor`.
      ignore: classes of parts of `state` that are left behind.

    Returns:
      A dictionary; moments of fewer than 32 bits are float32 in it.

    Raises:
      ValueError, TypeError: as `from_state_dict`.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import torch
      >>> params = {"w": jnp.zeros(2)}
      >>> tx = torch.Adam()
      >>> _, state = tx.update({"w": jnp.ones(2)}, tx.init(params))
      >>> template = {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
      >>> torch.to_state_dict(tx, state, template, params)["state"][0]["exp_avg"]
      array([0.1, 0.1], dtype=float32)
    """
    owner = "to_state_dict"
    keys = _keys(owner, tx)
    check_ignored(owner, ignore, state)
    _check_state_dict(owner, "template", template)
    for group in template["param_groups"]:
        if group.get("amsgrad", "nu_max" in keys) != ("nu_max" in keys):
            raise ValueError(
                f"{owner}: torch's `amsgrad` is {group['amsgrad']}, that of `tx` is not"
            )
    flipped = _transposed(owner, transposed, params)
    identifiers = _identifiers(owner, template["param_groups"], params, names, flipped)
    counts: dict[str, int] = {}
    moments: dict[str, dict[str, np.ndarray]] = {}

    def collect(node: Node) -> Any:
        value = node.value
        if isinstance(value, dict) or class_name(value) == _GROUPED:
            return _each(collect, value, ignore)
        _check_known(owner, node, keys)
        counts[f"count{node.path}"] = int(value.count)
        if class_name(value) != _COUNTER:
            scalars = {keys[x]: _array(getattr(value, x)) for x in _SCALARS if x in keys}
            for field in set(keys) - set(_SCALARS):
                for path, leaf in by_path(owner, getattr(value, field)).items():
                    array = _array(leaf).T if flipped[path] else _array(leaf)
                    moments.setdefault(path, {**scalars})[keys[field]] = array
        return value

    map_nodes(collect, state, ignore)
    check_paths(owner, "the state", moments, identifiers)
    step = _array(np.float32(_same_for_all(owner, "count", counts)))
    entries = {
        i: {key: as_tensor(array) for key, array in {"step": step, **moments[path]}.items()}
        for path, i in identifiers.items()
    }
    return {
        "state": entries if step else {},
        "param_groups": [dict(group) for group in template["param_groups"]],
    }


def _keys(owner: str, tx: Any) -> dict[str, str]:
    """torch's keys for the one kind of core in `tx`, by our fields."""
    kinds = (Core, RowsTransformation)
    cores = {type(part): part for part in parts(tx) if isinstance(part, kinds)}
    known = [core for core in cores if core in _KEYS]
    if len(cores) != 1 or not known:
        raise ValueError(
            f"{owner}: `tx` must have one kind of core that torch has, which are "
            f"{', '.join(core.public_name for core in _KEYS)}; it has "
            f"{', '.join(core.public_name for core in cores) or 'none'}"
        )
    core = cores[known[0]]
    if isinstance(core, ScaleByAmsgrad) and not core.raw_maximum:
        raise ValueError(
            f"{owner}: torch keeps the maximum of the raw second moments; use "
            "`scale_by_amsgrad(raw_maximum=True)`"
        )
    if isinstance(core, ScaleByAdamax) and core.eps_outside:
        raise ValueError(
            f"{owner}: torch keeps eps inside the maximum of AdaMax; use `scale_by_adamax` without "
            "`eps_outside`"
        )
    return _KEYS[known[0]]


def _check_state_dict(owner: str, argument: str, given: Any) -> None:
    """Raises unless it has the two entries of a `state_dict` of an optimizer of torch."""
    if isinstance(given, Mapping) and {"state", "param_groups"} <= set(given):
        return
    keys = ", ".join(repr(key) for key in [*given][:5]) if isinstance(given, Mapping) else ""
    shown = f"a dictionary of {keys or 'nothing'}" if isinstance(given, Mapping) else type(given)
    raise ValueError(
        f"{owner}: `{argument}` must be what `torch_optimizer.state_dict()` returned, with 'state' "
        f"and 'param_groups', got {shown}; from a checkpoint of a whole run take the optimizer's "
        "entry"
    )


def _check_order(owner: str, params: Params, flipped: Mapping[str, bool]) -> None:
    """Raises for two leaves of one shape in torch whose order is that of sorted keys."""
    seen: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        path = path_string(keys)
        shape = np.shape(leaf)[::-1] if flipped[path] else np.shape(leaf)
        for others in seen.setdefault(shape, []):
            pairs = zip(others, keys, strict=False)
            if isinstance(next(a for a, b in pairs if a != b), jax.tree_util.DictKey):
                raise ValueError(
                    f"{owner}: {path_string(others)!r} and {path!r} have one shape, and nothing "
                    "says which of them comes first in torch: dictionaries are sorted here and "
                    "modules there are not; give the paths in torch's order: `names=`"
                )
        seen[shape].append(keys)


def _identifiers(
    owner: str,
    groups: Sequence[Mapping[str, Any]],
    params: Params,
    names: Sequence[str] | None,
    flipped: Mapping[str, bool],
) -> dict[str, Any]:
    """torch's number of each trained parameter, by path."""
    numbers = [i for group in groups for i in group["params"]]
    trained = tree.trained(params, params)
    paths = list(by_path(owner, trained))
    if names is None and all("param_names" in group for group in groups):
        names = [name.replace(".", "/") for group in groups for name in group["param_names"]]
    if names is None:
        _check_order(owner, trained, flipped)
        names = paths
    if len(numbers) != len(names):
        raise ValueError(
            f"{owner}: torch has {len(numbers)} parameters, but there are {len(names)} "
            f"names: {', '.join(names)}"
        )
    check_paths(owner, "`names` (one path per parameter in torch's order)", names, paths)
    if len({*names}) != len(names):
        raise ValueError(f"{owner}: `names` holds a path twice: {', '.join(names)}")
    return dict(zip(names, numbers, strict=True))


def _checked_entry(
    owner: str, path: str, entry: Mapping[str, Any], keys: dict[str, str]
) -> Mapping[str, Any]:
    """torch's state of one parameter; empty before its first step."""
    if entry:
        what = f"torch's state of {path!r} (an amsgrad, another optimizer?)"
        check_paths(owner, what, entry, {"step", *keys.values()})
    return entry


def _same_for_all(owner: str, what: str, values: Mapping[str, Any]) -> Any:
    """The one value; nothing here can be different for every parameter."""
    distinct = {value: path for path, value in values.items()}
    if len(distinct) != 1:
        shown = ", ".join(f"{value} for {path!r}" for value, path in distinct.items())
        raise ValueError(
            f"{owner}: `{what}` must be the same for all parameters, got {shown or 'none'}; give "
            "parameters that took other steps a `multi_transform` and a state of their own"
        )
    return next(iter(distinct))


def _transposed(owner: str, transposed: Any, params: Params) -> dict[str, bool]:
    """For each path whether its leaf lies transposed in torch."""
    paths, leaves = leaf_paths(params), tree.flatten(params)[0]
    if transposed is None:
        return dict.fromkeys(paths, False)
    mask = transposed if callable(transposed) else FrozenTree(transposed)
    selected = tree.flatten(resolve_mask(owner, mask, params))[0]
    for path, leaf, flip in zip(paths, leaves, selected, strict=True):
        if flip and np.ndim(leaf) != 2:
            raise ValueError(
                f"{owner}: `transposed` selects {path!r} of shape {np.shape(leaf)}; only matrices "
                "can be transposed"
            )
    return dict(zip(paths, selected, strict=True))


def _check_known(owner: str, node: Node, keys: dict[str, str]) -> None:
    """Raises for a part of the state of which torch knows nothing."""
    fields = set(getattr(node.value, "_fields", ()))
    # A table remembers nothing in mode `lazy`, which is torch's.
    if "memory" in fields and not jax.tree.leaves(node.value.memory):
        fields.remove("memory")
    if class_name(node.value) != _COUNTER and fields != {"count", *keys}:
        raise ValueError(
            f"{owner}: torch has nothing like {node}; leave it out of `tx`, or name it: "
            f"`ignore=({class_name(node.value)!r},)`"
        )


def _each(f: Callable[[Node], Any], value: Any, ignore: Sequence[str]) -> Any:
    """`f` on the nodes of states by name or label."""
    if not isinstance(value, dict):
        return value._replace(inner_states=_each(f, value.inner_states, ignore))
    return {key: map_nodes(f, x, ignore, f"[{key!r}]") for key, x in value.items()}


def _array(value: Any) -> np.ndarray:
    return np.asarray(numerics.widen(jnp.asarray(value)))
