"""Arrays from elsewhere: told apart by path, fitted to the leaf they replace, and put in its place.

Nothing is broadcast and nothing is left over; what does not fit is an error with its path.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, tree
from adamx.core.paths import leaf_paths

# Fields of states and names of weights that hold squares, magnitudes or products of decay rates.
NONNEGATIVE = {"nu", "nu_max", "mu_product"}


def by_path(owner: str, given: chex.ArrayTree) -> dict[str, Any]:
    """The leaves by their paths such as `layers/0/bias`; `None` leaves hold nothing.

    Raises:
      ValueError: two leaves with one path, as in `{"a/b": x, "a": {"b": y}}`; nested too deeply.
    """
    checks.check_depth(owner, given)
    found: dict[str, Any] = {}
    for path, leaf in zip(leaf_paths(given), tree.flatten(given)[0], strict=True):
        if leaf is None:
            continue
        if path in found:
            raise ValueError(f"{owner}: two leaves have the path {path!r}; rename a key")
        found[path] = leaf
    return found


def check_paths(owner: str, what: str, given: Any, wanted: Any) -> None:
    """Raises a `ValueError` unless the two sets of paths are equal."""
    lines = [
        f"  {label}: {', '.join(path or tree.WHOLE for path in sorted(paths)[:5])}"
        + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
        for label, paths in (
            ("missing", set(wanted) - set(given)),
            ("unexpected", set(given) - set(wanted)),
        )
        if paths
    ]
    if lines:
        raise ValueError("\n".join([f"{owner}: {what} has other leaves than asked for.", *lines]))


def to_numpy(value: Any) -> np.ndarray:
    """Anything that holds numbers as a NumPy array; a tensor of torch in its own way."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        try:
            return np.asarray(value.numpy())
        except TypeError:  # torch's bfloat16 and float8, which NumPy has not
            return np.asarray(value.float().numpy())
    return np.asarray(value)


def _converted(owner: str, path: str, value: Any, dtype: np.dtype) -> Any:
    """`value` in another dtype of the same kind, without loss except by rounding floats."""
    given = value.dtype
    real = jnp.issubdtype(dtype, np.floating)
    if jnp.issubdtype(given, np.complexfloating) and real:
        # A moment of |g|**2 in a library that keeps it complex.
        if bool((value.imag == 0).all()):
            return value.real.astype(dtype)
        raise TypeError(f"{owner}: {path} is {given.name}, not real as the {dtype.name} it is for")
    if jnp.issubdtype(dtype, np.inexact) and jnp.issubdtype(given, np.inexact):
        with np.errstate(over="ignore"):
            rounded = value.astype(dtype)
        if not isinstance(value, jax.core.Tracer) and bool(
            (jnp.isinf(rounded) & np.isfinite(value)).any()
        ):
            raise ValueError(f"{owner}: {path} holds numbers that {dtype.name} cannot hold")
        return rounded
    if jnp.issubdtype(dtype, np.integer) and jnp.issubdtype(given, np.integer):
        limits = jnp.iinfo(dtype)
        if value.size and not int(limits.min) <= int(value.min()) <= int(value.max()) <= int(
            limits.max
        ):
            raise ValueError(f"{owner}: {path} holds numbers that {dtype.name} cannot hold")
        return value.astype(dtype)
    words = jnp.issubdtype(dtype, np.unsignedinteger)
    hint = "; read it into the recipe with float32 moments, then `adamx.convert_state`"
    raise TypeError(
        f"{owner}: {path} is {given}, but the leaf there is {dtype}{hint if words else ''}"
    )


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def fit(owner: str, path: str, value: Any, like: Any, nonnegative: bool = False) -> Any:
    """`value` with the shape, dtype and placement of `like`, in memory of its own.

    A typed key is taken by its data, and made of them.  A single whole number is a count and never
    negative; with `nonnegative` nothing else is, either.

    Raises:
      ValueError: another shape, whole numbers that the dtype cannot hold, or negative ones.
      TypeError: another kind of dtype.
    """
    value = value if isinstance(value, jax.Array) else to_numpy(value)
    if _is_key(value):
        value = jax.random.key_data(value)
    if _is_key(like):
        data = fit(owner, path, value, jax.random.key_data(like))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(like))
    if value.shape != np.shape(like):
        raise ValueError(
            f"{owner}: {path} has shape {value.shape}, but the leaf there has shape "
            f"{np.shape(like)}"
        )
    dtype = jax.dtypes.result_type(like)
    if value.dtype != dtype:
        value = _converted(owner, path, value, dtype)
    is_count = value.shape == () and jnp.issubdtype(dtype, np.integer)
    checked = (nonnegative or is_count) and not isinstance(value, jax.core.Tracer)
    if checked and bool((value < 0).any()):
        raise ValueError(f"{owner}: {path} is never negative, got {value.min()}")
    return placed(value, like)


def placed(value: Any, like: Any) -> Any:
    """A copy of an array where `like` is: in NumPy, on its devices, or wherever JAX puts it."""
    if isinstance(like, (np.ndarray, np.generic)):
        return np.array(value)
    sharding = getattr(like, "sharding", None)
    if sharding is not None and getattr(like, "committed", True):
        return jax.device_put(value, sharding, may_alias=False)
    return jnp.array(value, copy=True)


def fit_tree(owner: str, given: Any, like: Any, path: str, nonnegative: bool = False) -> Any:
    """A tree like `like` with the leaves of `given`, which may be in other containers.

    Raises:
      ValueError: a path on one side only; otherwise as `fit`.
      TypeError: as `fit`.
    """
    found = by_path(owner, given)
    check_paths(owner, path, found, by_path(owner, like))
    leaves, structure = tree.flatten(like)
    return structure.unflatten(
        [
            None
            if leaf is None
            else fit(owner, f"{path}/{name}".strip("/"), found[name], leaf, nonnegative)
            for name, leaf in zip(leaf_paths(like), leaves, strict=True)
        ]
    )
