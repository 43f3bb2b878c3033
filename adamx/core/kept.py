"""How many bytes a training run keeps, by what they are for."""

from __future__ import annotations

from typing import Any

import jax

from adamx.core import checks
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.transformation import GradientTransformation, Params, walk

_OTHER = "other"
_LEAST = 0.001  # bytes of a parameter that are worth a word


def _size(arrays: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(arrays))


def kept_bytes(tx: GradientTransformation, params: Params) -> dict[str, int]:
    """How many bytes parameters and state take between two steps, by what they are for.

    Nothing is allocated: shapes are enough.  Divided by the number of parameters, it is what one
    parameter costs.

    Args:
      tx: a transformation, of adamx or of optax.
      params: the parameters, or `jax.ShapeDtypeStruct`s like them.

    Returns:
      `params`; then every field of the state that has an array for each parameter, such as `mu`,
      `nu`, `ema` or `rest`, the ones of the same name together; and `other`, which is counts, keys
      and the whole state of another library.

    Raises:
      TypeError: `tx` is no transformation; parameters that it refuses.

    Example:
      >>> import adamx, jax
      >>> params = jax.ShapeDtypeStruct((1000, 1000), "bfloat16")
      >>> adamx.kept_bytes(adamx.bfloat16_params(adamx.adam(1e-3, state_format="pair"), 16), params)
      {'params': 2000000, 'rest': 2000000, 'mu': 2000000, 'nu': 0, 'other': 8}
    """
    tx = as_transformation(Where("kept_bytes", "tx"), tx)
    checks.check_arrays("kept_bytes", "parameters", params)
    params, state = jax.eval_shape(lambda params: (params, tx.init(params)), params)
    kinds = {"params": _size(params)}
    seen: set[int] = set()  # The links of `sparse.rows` share one state.
    for visit in walk(tx, state):
        for slot in visit.transformation.slots():
            if slot.is_in(visit.state):
                leaves = jax.tree.leaves(getattr(visit.state, slot.name))
                new = [leaf for leaf in leaves if id(leaf) not in seen]
                seen.update(map(id, new))
                kinds[slot.name] = kinds.get(slot.name, 0) + _size(new)
    kinds[_OTHER] = _size((params, state)) - sum(kinds.values())
    return kinds


def per_parameter(kept: dict[str, int], parameters: int) -> str:
    """The result of `kept_bytes` as a line to read, for each of so many parameters."""
    each = {name: size / parameters for name, size in kept.items()}
    kinds = ", ".join(f"{name} {size:.3g}" for name, size in each.items() if size >= _LEAST)
    return f"{sum(each.values()):.3g}: {kinds}"
