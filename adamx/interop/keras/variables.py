"""Arrays that a rule of one's own keeps per variable: Keras's `add_slot` and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp

from adamx.core import fields, numerics, tree
from adamx.core.fields import Where
from adamx.interop.leaves import placed

Initializer: TypeAlias = str | Callable[[Sequence[int], Any], Any] | chex.Array

_BY_NAME: dict[str, Callable[..., chex.Array]] = {"zeros": jnp.zeros, "ones": jnp.ones}


def _start(owner: str, shape: Sequence[int], dtype: Any, initializer: Initializer) -> chex.Array:
    if isinstance(initializer, str):
        if initializer not in _BY_NAME:
            raise ValueError(
                f"{owner}: `initializer` must be one of {', '.join(_BY_NAME)}, a function "
                f"(shape, dtype) or an array, got {initializer!r}"
            )
        initializer = _BY_NAME[initializer]
    where = Where(owner, "shape")
    sizes = fields.items(where, "a list of whole numbers", shape)
    shape = tuple(fields.check_static_count(where, size) for size in sizes)
    try:
        dtype = jnp.dtype(dtype)
    except TypeError:
        raise Where(owner, "dtype").error(TypeError, "a dtype", dtype) from None
    where = Where(owner, "initializer")
    if callable(initializer):
        initializer = fields.call(where, "a function (shape, dtype)", initializer, shape, dtype)
    value = fields.check_array(where, initializer).astype(dtype)
    if value.shape != shape:
        raise ValueError(f"{owner}: the initial value has shape {value.shape}, not {shape}")
    return value


def add_variable(
    shape: Sequence[int], initializer: Initializer = "zeros", dtype: Any = "float32"
) -> chex.Array:
    """A new array.

    Args:
      shape: its shape.
      initializer: "zeros", "ones", a function `(shape, dtype) -> array`, or an array.
      dtype: its dtype.

    Raises:
      TypeError: no shape, no dtype, no initial value.
      ValueError: an unknown name, or an initial value of another shape.

    Example:
      >>> from adamx.interop import keras
      >>> keras.add_variable((2,), "ones")
      Array([1., 1.], dtype=float32)
    """
    return _start("add_variable", shape, dtype, initializer)


def add_weight(
    name: str, shape: Sequence[int], dtype: Any = "float32", initializer: Initializer = "zeros"
) -> dict[str, chex.Array]:
    """A new array under a name, as a dictionary to be merged into others: `add_weight` of TF 2.

    Args:
      name: its name.
      shape, dtype, initializer: see `add_variable`.

    Raises:
      TypeError, ValueError: as `add_variable`.

    Example:
      >>> from adamx.interop import keras
      >>> keras.add_weight("momentum_cache", ()) | keras.add_weight("scale", (), initializer="ones")
      {'momentum_cache': Array(0., dtype=float32), 'scale': Array(1., dtype=float32)}
    """
    return {name: _start("add_weight", shape, dtype, initializer)}


def add_variable_from_reference(
    reference_variable: chex.Array, initializer: Initializer = "zeros"
) -> chex.Array:
    """An array of the shape, dtype and placement of another one.

    Args:
      reference_variable: any array.
      initializer: see `add_variable`.

    Raises:
      TypeError, ValueError: as `add_variable`.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> keras.add_variable_from_reference(jnp.ones((1, 2), jnp.bfloat16))
      Array([[0, 0]], dtype=bfloat16)
    """
    owner = "add_variable_from_reference"
    like = fields.check_array(Where(owner, "reference_variable"), reference_variable)
    start = _start(owner, like.shape, like.dtype, initializer)
    if isinstance(reference_variable, jax.core.Tracer):
        return start
    array: chex.Array = placed(start, reference_variable)
    return array


def add_slot(
    slots: Mapping[str, Any],
    params: chex.ArrayTree,
    slot_name: str,
    initializer: Initializer = "zeros",
) -> dict[str, Any]:
    """One more array per variable, for a rule of one's own.

    Args:
      slots: the slots so far, by name; `{}` at first.
      params: the variables, any pytree; what is not trained gets None.
      slot_name: a new name.
      initializer: see `add_variable`; a name or a function.

    Returns:
      The slots with a tree like `params` under the new name; every leaf is placed like its
      parameter.

    Raises:
      TypeError, ValueError: as `add_variable`; `slots` no dict, or with that name already.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop import keras
      >>> slots = keras.add_slot({}, {"w": jnp.ones(2)}, "accumulator", "ones")
      >>> slots["accumulator"]["w"]
      Array([1., 1.], dtype=float32)
    """
    if not isinstance(slots, Mapping):
        raise Where("add_slot", "slots").error(TypeError, "a dict of the slots so far", slots)
    if slot_name in slots:
        raise ValueError(f"add_slot: there is a slot {slot_name!r} already")

    def start(p: Any) -> Any:
        return add_variable_from_reference(p, initializer) if numerics.is_inexact(p) else None

    return {**slots, slot_name: jax.tree.map(start, params, is_leaf=tree.is_leaf)}
