"""Values as plain JSON and back.  Nothing is ever evaluated, imported or unpickled."""

from __future__ import annotations

import dataclasses
import json
import reprlib
from typing import Any

import jax
import numpy as np

from adamx.core import checks, fields
from adamx.core.mask import FrozenTree
from adamx.core.value import REGISTRY, Value, check_names, fields_of

_NAME = "name"
_ARRAY = "array"
_TREE = "tree"


def get_config(value: Value) -> dict[str, Any]:
    """A transformation or schedule as plain dictionaries, lists, numbers and strings.

    `from_config(get_config(value)) == value`, also through `json.dumps` and `json.loads`.

    Args:
      value: any adamx transformation or schedule.

    Returns:
      `{"name": public name, field: value, ...}`, nested for chains and schedules; arrays as
      `{"array": nested lists, "dtype": name}`, masks as `{"tree": nested dicts and lists}`.

    Raises:
      TypeError: a field that JSON cannot hold (a function, a traced number, another library's
        transformation), named by its path.

    Example:
      >>> import adamx
      >>> adamx.get_config(adamx.scale(0.5))
      {'name': 'scale', 'step_size': 0.5}
    """
    if not isinstance(value, Value):
        shown = reprlib.repr(value)
        raise TypeError(f"get_config: expected an adamx transformation or schedule, got {shown}")
    config: dict[str, Any] = _encode(value, value.public_name)
    return config


def _encode(value: object, path: str) -> Any:
    if isinstance(value, Value):
        items = value.field_values().items()
        return {
            _NAME: value.public_name,
            **{name: _encode(item, f"{path}.{name}") for name, item in items},
        }
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return [_encode(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, FrozenTree):
        contents = value.thaw()
        if json.loads(json.dumps(contents)) == contents:
            return {_TREE: contents}
    if isinstance(value, (jax.Array, np.ndarray)) and not isinstance(value, jax.core.Tracer):
        array = np.asarray(value)
        # float64 holds every narrower float exactly, and JSON holds every float64.
        exact = array.astype(np.float64) if array.dtype.kind not in "iu" else array
        return {_ARRAY: exact.tolist(), "dtype": array.dtype.name}
    raise TypeError(
        f"get_config: {path} is {value!r}, which a configuration cannot hold; use a number, an "
        "adamx schedule or a mask made of dicts and lists instead"
    )


def from_config(config: dict[str, Any]) -> Any:
    """The value that `get_config` described, with every argument checked again.

    Args:
      config: what `get_config` returned, or JSON made from it.

    Returns:
      A transformation or schedule.

    Raises:
      TypeError: not such a dictionary; an unknown or missing argument.
      ValueError: an unknown name, or a number outside its range.

    Example:
      >>> import adamx
      >>> adamx.from_config({"name": "clip_by_global_norm", "max_norm": 1.0})
      clip_by_global_norm(max_norm=1.0)
    """
    checks.check_depth("from_config", config)
    if not isinstance(config, dict) or _NAME not in config:
        raise TypeError(f"from_config: expected a dict with a 'name', got {config!r}")
    return _decode(config)


def _decode_array(given: object, dtype: Any) -> np.ndarray:
    """The numbers in a dtype that holds them: integers exactly, other numbers rounded."""
    try:
        numbers = np.asarray(given)
        wanted = jax.numpy.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"from_config: no array of a dtype: {given!r}, {dtype!r}") from error
    if not (fields.is_real(numbers.dtype) and fields.is_real(wanted)):
        raise TypeError(f"from_config: an array must hold real numbers, got {given!r}, {dtype!r}")
    with np.errstate(all="ignore"):
        array = numbers.astype(wanted)
        whole = wanted.kind in "iu"
        lost = array != numbers if whole else np.isfinite(array) != np.isfinite(numbers)
    if np.any(lost):
        raise ValueError(f"from_config: {wanted.name} cannot hold {given!r}")
    return array


def _decode(item: object) -> Any:
    if isinstance(item, list):
        return [_decode(x) for x in item]
    if not isinstance(item, dict):
        return item
    if set(item) == {_TREE}:
        return FrozenTree(item[_TREE])
    if set(item) == {_ARRAY, "dtype"}:
        return _decode_array(item[_ARRAY], item["dtype"])
    name = item.get(_NAME)
    if not isinstance(name, str):
        raise TypeError(f"from_config: expected a dict with a 'name', got {item!r}")
    if name not in REGISTRY:
        raise ValueError(
            f"from_config: unknown name {name!r}; known are {', '.join(sorted(REGISTRY))}"
        )
    arguments = {key: _decode(x) for key, x in item.items() if key != _NAME}
    check_names(REGISTRY[name], arguments)
    for field in fields_of(REGISTRY[name]):
        if field.name not in arguments and field.default is dataclasses.MISSING:
            raise TypeError(f"{name}: missing argument {field.name!r}")
    return REGISTRY[name](**arguments)
