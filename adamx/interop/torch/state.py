"""`state_dict`s of `torch.optim`'s Adam family, from torch and to torch.

torch numbers its parameters and keeps one state for each of them, with a step count of its own:

    {"state": {0: {"step", "exp_avg", "exp_avg_sq"[, "max_exp_avg_sq"]}, 1: ...},
     "param_groups": [{"params": [0, 1, ...][, "param_names": [...]], "lr": ..., ...}, ...]}

Here one count serves a transformation, and each moment is a tree like the parameters: parameters
with other numbers of steps are labels of their own in a `multi_transform`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, numerics, tree
from adamx.core.paths import leaf_paths, quoted
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.interop.leaves import NONNEGATIVE, by_path, check_paths, fit, to_numpy
from adamx.interop.states import Node, check_ignored, class_name, map_nodes, parts
from adamx.interop.torch.groups import check_groups, one_number, taken_steps
from adamx.interop.torch.names import check_state_dict, identifiers, transposed_leaves

_ADAM = {"mu": "exp_avg", "nu": "exp_avg_sq"}
# By core, torch's keys by the fields of our states; what is a number here is one there.
_KEYS = {
    "scale_by_adam": _ADAM,
    "scale_by_amsgrad": {**_ADAM, "nu_max": "max_exp_avg_sq"},
    "scale_by_nadam": {**_ADAM, "mu_product": "mu_product"},
    "scale_by_radam": _ADAM,
    "scale_by_adamax": {"mu": "exp_avg", "nu": "exp_inf"},
    "sparse.adam": _ADAM,
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
    The numbers in `param_groups` must be those of `tx`; a schedule in `tx` goes with any.  Groups
    that differ go with a `multi_transform`, which `from_param_groups` builds.  The steps taken
    become the count of the moments, which must be one for all parameters of a transformation, and
    the most steps that a parameter took become the count of the schedules.

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
        could be mixed up; other numbers in `param_groups`; parameters of one transformation at
        different steps; a negative second moment; a transformation that torch has not.
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
    check_state_dict(owner, "state_dict", state_dict)
    flipped = transposed_leaves(owner, transposed, params)
    needed = _needed(fresh, params, ignore)
    numbers = identifiers(owner, state_dict["param_groups"], params, needed, names, flipped)
    for i in state_dict["state"]:
        if i not in numbers.values():
            raise ValueError(f"{owner}: the state has a parameter {i!r}, no param_group has it")
    entries = {
        path: _checked_entry(owner, path, state_dict["state"].get(i, {}), keys)
        for path, i in numbers.items()
    }
    steps = {path: taken_steps(owner, path, entry) for path, entry in entries.items()}
    used: list[str] = []

    def moment(field: str, like: Any, paths: Sequence[str]) -> Any:
        key = keys[field]
        if field in _SCALARS:
            values = {path: one_number(owner, key, entries[path][key]) for path in paths}
            product = np.float64(_same_for_all(owner, key, values))
            return fit(owner, key, product, like, nonnegative=True)
        leaves, structure = tree.flatten(like)
        moved = []
        for path, leaf in zip(leaf_paths(like), leaves, strict=True):
            if leaf is not None:
                value = to_numpy(entries[path][key])
                value = value.T if flipped[path] else value
                where = f"{key} of {quoted(path)}"
                leaf = fit(owner, where, value, leaf, nonnegative=field in NONNEGATIVE)
            moved.append(leaf)
        return structure.unflatten(moved)

    def move(node: Node) -> Any:
        value = node.value
        if isinstance(value, dict) or class_name(value) == _GROUPED:
            return _each(move, value, ignore)
        _check_known(owner, node, keys)
        if class_name(value) == _COUNTER:
            return value._replace(count=count(max(steps.values(), default=0), value))
        paths = [*by_path(owner, value.mu)]
        step = _same_for_all(owner, "step", {path: steps[path] for path in paths}) if paths else 0
        used.extend(paths)
        if step == 0:
            return value
        moments = {x: moment(x, getattr(value, x), paths) for x in keys}
        return value._replace(count=count(step, value), **moments)

    def count(step: int, like: Any) -> Any:
        return fit(owner, "step", np.int64(step), like.count)

    state = map_nodes(move, fresh, ignore)
    check_paths(owner, "torch's state", {*used, *filter(entries.get, entries)}, used)
    check_groups(owner, tx, fresh, params, state_dict["param_groups"], numbers)
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
    checks.check_depth(owner, state)
    keys = _keys(owner, tx)
    check_ignored(owner, ignore, state)
    check_state_dict(owner, "template", template)
    flipped = transposed_leaves(owner, transposed, params)
    needed = _needed(state, params, ignore)
    numbers = identifiers(owner, template["param_groups"], params, needed, names, flipped)
    check_groups(owner, tx, state, params, template["param_groups"], numbers)
    schedules: dict[str, int] = {}
    steps: dict[str, int] = {}
    moments: dict[str, dict[str, np.ndarray]] = {}

    def collect(node: Node) -> Any:
        value = node.value
        if isinstance(value, dict) or class_name(value) == _GROUPED:
            return _each(collect, value, ignore)
        _check_known(owner, node, keys)
        if class_name(value) == _COUNTER:
            schedules[f"count{node.path}"] = int(value.count)
            return value
        scalars = {keys[x]: _array(getattr(value, x)) for x in _SCALARS if x in keys}
        for field in set(keys) - set(_SCALARS):
            for path, leaf in by_path(owner, getattr(value, field)).items():
                array = _array(leaf).T if flipped[path] else _array(leaf)
                moments.setdefault(path, {**scalars})[keys[field]] = array
                steps[path] = int(value.count)
        return value

    map_nodes(collect, state, ignore)
    if schedules and steps:
        _same_for_all(owner, "count", {"the moments": max(steps.values()), **schedules})
    return {
        "state": {
            i: {
                key: as_tensor(array)
                for key, array in {"step": _array(np.float32(steps[path])), **moments[path]}.items()
            }
            for path, i in numbers.items()
            if steps.get(path)
        },
        "param_groups": [dict(group) for group in template["param_groups"]],
    }


def _needed(state: State, params: Params, ignore: Sequence[str]) -> Params:
    """The parameters that have moments in the state, and `None` for the others."""
    found: set[str] = set()

    def collect(node: Node) -> Any:
        if isinstance(node.value, dict) or class_name(node.value) == _GROUPED:
            return _each(collect, node.value, ignore)
        found.update(by_path("torch", getattr(node.value, "mu", None)))
        return node.value

    map_nodes(collect, state, ignore)
    leaves, structure = tree.flatten(params)
    pairs = zip(leaf_paths(params), leaves, strict=True)
    needed: Params = structure.unflatten([x if path in found else None for path, x in pairs])
    return needed


def _keys(owner: str, tx: Any) -> dict[str, str]:
    """torch's keys for the one kind of core in `tx`, by our fields."""
    cores = {part.public_name: part for part in parts(tx) if hasattr(part, "b2")}
    known = [name for name in cores if name in _KEYS]
    if len(cores) != 1 or not known:
        raise ValueError(
            f"{owner}: `tx` must have one kind of core that torch has, which are "
            f"{', '.join(_KEYS)}; it has {', '.join(cores) or 'none'}"
        )
    core: Any = cores[known[0]]
    if not getattr(core, "raw_maximum", True):
        raise ValueError(
            f"{owner}: torch keeps the maximum of the raw second moments; use "
            "`scale_by_amsgrad(raw_maximum=True)`"
        )
    if getattr(core, "eps_outside", False):
        raise ValueError(
            f"{owner}: torch keeps eps inside the maximum of AdaMax; use `scale_by_adamax` without "
            "`eps_outside`"
        )
    return _KEYS[known[0]]


def _checked_entry(
    owner: str, path: str, entry: Mapping[str, Any], keys: dict[str, str]
) -> Mapping[str, Any]:
    """torch's state of one parameter; empty before its first step."""
    if entry:
        what = f"torch's state of {quoted(path)} (an amsgrad, another optimizer?)"
        check_paths(owner, what, entry, {"step", *keys.values()})
    return entry


def _same_for_all(owner: str, what: str, values: Mapping[str, Any]) -> Any:
    """The one value; nothing here can be different for every parameter."""
    distinct = {value: path for path, value in values.items()}
    if len(distinct) != 1:
        shown = ", ".join(f"{value} for {quoted(path)}" for value, path in distinct.items())
        raise ValueError(
            f"{owner}: `{what}` must be the same for all parameters of a transformation, got "
            f"{shown}; give those that took other steps a label of their own in a "
            "`multi_transform`, as `from_param_groups` does"
        )
    return next(iter(distinct))


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
