"""torch's `param_groups`: read as transformations, and compared with the one that goes on."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from adamx.core import tree
from adamx.core.chain import Chain
from adamx.core.mask import resolve_mask
from adamx.core.paths import leaf_paths, near_misses, quoted
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.interop.leaves import by_path, to_numpy
from adamx.interop.states import STATE_FIELDS
from adamx.interop.torch.names import check_state_dict, identifiers, transposed_leaves
from adamx.interop.torch.presets import AdamW
from adamx.wrappers.groups import freeze, multi_transform

# Arguments of torch's other optimizers.  Any other key of a group chooses an implementation, or
# was put there by a scheduler (`initial_lr`, `max_lr`, `swa_lr`) or a user (`name`, `lr_scale`).
_OF_OTHERS = {
    *("alpha", "amsgrad", "beta2_decay", "betas", "centered", "d", "dampening"),
    *("decoupled_weight_decay", "eps", "etas", "history_size", "initial_accumulator_value"),
    *("lambd", "line_search_fn", "lr_decay", "max_eval", "max_iter", "maximize", "momentum"),
    *("momentum_decay", "nesterov", "ns_coefficients", "ns_steps", "adjust_lr_fn", "rho"),
    *("step_sizes", "t0", "tolerance_change", "tolerance_grad", "weight_decay"),
}
_FROZEN = "not_in_torch"
_DECAY = "add_decayed_weights"
_SHOWN = 5


def from_param_group(optimizer: Callable[..., Chain], group: Mapping[str, Any]) -> Chain:
    """The preset with the numbers of one torch `param_group`, such as a `state_dict` holds.

    torch does not store which optimizer it was.  Keys that choose torch's implementation, that
    belong to its learning-rate schedulers (`initial_lr`, `max_lr`, `swa_lr`) or that a user put
    there (`name`, `lr_scale`) are left out: `lr` holds what they made of it.

    Args:
      optimizer: one of the presets: `Adam`, `AdamW`, `NAdam`, `RAdam`, `Adamax`, `SparseAdam`.
      group: `torch_optimizer.state_dict()["param_groups"][i]`; tensors are taken as numbers.

    Returns:
      A transformation.

    Raises:
      ValueError: an argument of another optimizer of torch, or one that contradicts the preset.
      TypeError: no preset, no dictionary; a value of the wrong kind.

    Example:
      >>> from adamx.interop import torch
      >>> group = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0, "params": [0]}
      >>> torch.from_param_group(torch.Adamax, group) == torch.Adamax(0.1, (0.9, 0.99))
      True
    """
    if not isinstance(group, Mapping):
        raise TypeError(f"from_param_group: `group` must be a dictionary, got {group!r}")
    if "param_groups" in group:
        raise ValueError(
            "from_param_group: got a whole `state_dict`; give one of its groups: "
            '`state_dict["param_groups"][0]`, or all to `from_param_groups`'
        )
    if not callable(optimizer):
        raise TypeError(
            "from_param_group: `optimizer` must be a preset such as `torch.Adam`, got "
            f"{optimizer!r}"
        )
    takes = inspect.signature(optimizer).parameters
    for key in sorted(_OF_OTHERS.intersection(group).difference(takes)):
        if key == "decoupled_weight_decay" and optimizer is AdamW and group[key]:
            continue
        raise ValueError(
            f"from_param_group: {optimizer.__name__} has no {key!r} (here "
            f"{reprlib.repr(group[key])}); is the group that of another optimizer? "
            f"{near_misses(key, takes)}"
        )
    return optimizer(**{key: _plain(group[key], key) for key in takes if key in group})


def from_param_groups(
    optimizer: Callable[..., Chain],
    state_dict: Mapping[str, Any],
    params: Params,
    names: Sequence[str] | None = None,
    *,
    transposed: Any = None,
) -> GradientTransformation:
    """The transformation that all of torch's `param_groups` describe, each with its own numbers.

    `from_state_dict` then reads the state.  torch counts the steps of every parameter and here one
    count serves a transformation, so parameters of a group that took different numbers of steps
    (some were frozen for a while, or not used yet) get a transformation for each number.
    Parameters that torch was not given are frozen.

    Args:
      optimizer: one of the presets, for all groups.
      state_dict: `torch_optimizer.state_dict()`.
      params: the parameters that `tx.init` will be given.
      names, transposed: see `from_state_dict`.  `names` may leave out frozen parameters.

    Returns:
      The preset where there is one group, all in step; else a `multi_transform` with the labels
      `group_0`, `group_1`, ..., or `group_0_step_8`, ..., and `not_in_torch`.

    Raises:
      ValueError, TypeError: as `from_param_group` and `from_state_dict`.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import torch
      >>> groups = [{"lr": 0.1, "params": [0]}, {"lr": 0.2, "params": [1]}]
      >>> params = [jnp.zeros(2), jnp.zeros(3)]
      >>> tx = torch.from_param_groups(torch.Adam, {"state": {}, "param_groups": groups}, params)
      >>> tx.transforms == (torch.Adam(0.1), torch.Adam(0.2)), tx.param_labels
      (True, ['group_0', 'group_1'])
    """
    owner = "from_param_groups"
    check_state_dict(owner, "state_dict", state_dict)
    groups = state_dict["param_groups"]
    flipped = transposed_leaves(owner, transposed, params)
    nothing = jax.tree.map(lambda _: None, params)
    numbers = identifiers(owner, groups, params, nothing, names, flipped)
    presets: dict[str, GradientTransformation] = {}
    labels = {}
    for i, group in enumerate(groups):
        steps = {n: taken_steps(owner, n, state_dict["state"].get(n, {})) for n in group["params"]}
        for n, step in steps.items():
            label = f"group_{i}" + (f"_step_{step}" if len({*steps.values()}) > 1 else "")
            labels[n] = label
            presets[label] = from_param_group(optimizer, group)
    structure = tree.flatten(params)[1]
    trained = by_path(owner, tree.partition(params, params))
    by_leaf = [
        (labels[numbers[path]] if path in numbers else _FROZEN) if path in trained else None
        for path in leaf_paths(params)
    ]
    if _FROZEN in by_leaf:
        presets[_FROZEN] = freeze()
    if len(presets) == 1:
        return next(iter(presets.values()))
    return multi_transform(presets, structure.unflatten(by_leaf))


def taken_steps(owner: str, path: Any, entry: Mapping[str, Any]) -> int:
    """The steps that one parameter took in torch: 0 before its first."""
    what = f"`step` of {quoted(path)}"
    step = one_number(owner, what, entry.get("step", 0))
    if not (np.isfinite(step) and step >= 0 and step == np.floor(step)):
        raise ValueError(f"{owner}: {what} must be a whole number >= 0, got {step!r}")
    return int(step)


def one_number(owner: str, what: str, value: Any) -> float:
    """A real number out of a tensor."""
    array = to_numpy(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise ValueError(f"{owner}: {what} must be a whole number or a float, got {value!r}")
    return float(array.item())


class _Unit(NamedTuple):
    """A core, with the links in front of it and behind it."""

    before: tuple[Any, ...]
    core: Any
    after: tuple[Any, ...]
    state: Any


def _units(tx: Any, state: Any, before: Any = (), after: Any = ()) -> Iterator[_Unit]:
    """Every core inside a transformation."""
    if hasattr(tx, "b2"):
        yield _Unit(before, tx, after, state)
    elif hasattr(tx, "links"):
        for i, (link, own) in enumerate(zip(tx.links, tx.split(state), strict=True)):
            yield from _units(link, own, before + tx.links[:i], tx.links[i + 1 :] + after)
    elif hasattr(tx, "transforms"):
        for label, inner in zip(tx.labels, tx.transforms, strict=True):
            yield from _units(inner, state.inner_states[label], before, after)
    elif hasattr(tx, "inner"):
        for name in STATE_FIELDS:
            if hasattr(state, name):
                yield from _units(tx.inner, getattr(state, name), before, after)


def _applied(links: Sequence[Any], name: str, params: Params) -> Iterator[tuple[Any, set[str]]]:
    """The links of this name, each with the paths of the parameters that it acts on."""
    paths = leaf_paths(params)
    for link in links:
        mask = getattr(link, "mask", None)
        selected = tree.flatten(resolve_mask(link.public_name, mask, params))[0]
        chosen = {path for path, s in zip(paths, selected, strict=True) if s}
        if link.public_name == name:
            yield link, chosen
        else:
            inner = [link.inner] if link.public_name == "masked" else getattr(link, "links", ())
            for found, own in _applied(inner, name, params):
                yield found, own & chosen


def _described(unit: _Unit, params: Params) -> Callable[[str], dict[str, Any]]:
    """The options of one parameter, under torch's names; None where they are not known."""
    core = unit.core
    said = {"betas": (core.b1, core.b2), "eps": core.eps, "amsgrad": "amsgrad" in core.public_name}
    if hasattr(core, "momentum_decay"):
        said["momentum_decay"] = core.momentum_decay
    rates = [link for link, _ in _applied(unit.after, "scale_by_learning_rate", params)]
    rates += [core] if hasattr(core, "learning_rate") else []
    if len(rates) != 1:
        return lambda path: said  # A core alone: its user does the rest.
    signs = [link.step_size for link, _ in _applied(unit.before, "scale", params)]
    uphill = sum(_are_numbers(sign) and sign < 0 for sign in signs) % 2 == 1
    said |= {
        "lr": rates[0].learning_rate,
        "maximize": uphill == getattr(rates[0], "flip_sign", True),
    }
    l2, decoupled = (
        [(link.weight_decay, chosen) for link, chosen in _applied(links, _DECAY, params)]
        for links in (unit.before, unit.after)
    )

    def arguments(path: str) -> dict[str, Any]:
        here, there = (
            [value for value, chosen in decay if path in chosen] for decay in (l2, decoupled)
        )
        values = here + there
        total = values[0] if len(values) == 1 else sum(values) if _are_numbers(*values) else None
        beside = bool(there) if values and total != 0 else None
        return {**said, "weight_decay": total, "decoupled_weight_decay": beside}

    return arguments


def check_groups(
    owner: str,
    tx: GradientTransformation,
    state: State,
    params: Params,
    groups: Sequence[Mapping[str, Any]],
    numbers: Mapping[str, Any],
) -> None:
    """Raises unless every number of every group is that of `tx` for the group's parameters.

    Where `tx` has a schedule, the groups that it serves must have one number.
    """
    index = {n: i for i, group in enumerate(groups) for n in group["params"]}
    wrong: dict[tuple[int, str], str] = {}
    for unit in _units(tx, state):
        described = _described(unit, params)
        first: dict[str, tuple[int, Any]] = {}
        for path in filter(numbers.__contains__, by_path(owner, unit.state.mu)):
            i = index[numbers[path]]
            for key, own in described(path).items():
                if key not in groups[i] or own is None:
                    continue
                given, who = _plain(groups[i][key], key), f"`tx` has {own!r}"
                if not _are_numbers(own):
                    j, own = first.setdefault(key, (i, given))
                    who = f"group {j}, which has the same schedule in `tx`, {own!r}"
                if not _same(given, own):
                    wrong.setdefault((i, key), f"  {key}={given!r}, but {who} for {quoted(path)}")
    if wrong:
        lines = [f"  group {i}:{line[1:]}" for (i, _), line in [*wrong.items()][:_SHOWN]]
        raise ValueError(
            f"{owner}: `tx` is not what torch's `param_groups` say:\n" + "\n".join(lines) + "\n  "
            "Build it with `from_param_groups`, which gives each group its own numbers; to go on "
            "with another number, write it into the group first."
        )


def _are_numbers(*values: Any) -> bool:
    """Whether none of them is a schedule (or unknown)."""
    flat = [x for value in values for x in (value if isinstance(value, tuple) else (value,))]
    return not any(callable(x) or x is None for x in flat)


def _same(given: Any, own: Any) -> bool:
    """Whether two numbers are equal as torch's tensors hold them, in float32."""
    if np.asarray(given).dtype.kind not in "biuf":  # a text in place of a number or a switch
        return False
    return np.array_equal(np.asarray(given, np.float32), np.asarray(own, np.float32))


def _plain(value: Any, key: str) -> Any:
    """A number or switch as Python's, a pair of them as a tuple."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(x, key) for x in value)
    if isinstance(value, (bool, int, float)) or value is None or isinstance(value, str):
        return value
    array = to_numpy(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise TypeError(f"from_param_group: {key!r} must be a number, got {value!r}")
    return array.item()
