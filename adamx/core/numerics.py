"""Which precision things are held and computed in; counting without wrapping."""

from __future__ import annotations

import functools
import reprlib
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

_FLOATING = {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}

# An argument of `jnp.dtype`: a name, a type, a dtype.
DTypeLike: TypeAlias = str | type[Any] | np.dtype


def safe_increment(count: chex.Array) -> chex.Array:
    """`count + 1`, staying at the largest integer of its dtype instead of wrapping.

    Args:
      count: an integer array of any shape.

    Raises:
      TypeError: no integer array.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.safe_increment(jnp.asarray(2**31 - 1, jnp.int32))
      Array(2147483647, dtype=int32)
    """
    if not (hasattr(count, "dtype") and _is_kind(count.dtype, np.integer)):
        raise TypeError(
            f"safe_increment: `count` must be an integer array, got {count!r} "
            f"({type(count).__name__}); write `jnp.asarray(count)`"
        )
    count = jnp.asarray(count)  # NumPy's 64 bits may be more than JAX has.
    largest = int(np.iinfo(count.dtype).max)
    return jnp.minimum(count, largest - 1) + 1


def finite_sum(a: chex.Array, b: chex.Array) -> chex.Array:
    """a + b; where both are finite and their sum is not, the largest float of its sign."""
    total = jnp.asarray(a + b)
    if is_complex(total):
        return jax.lax.complex(
            finite_sum(jnp.real(a), jnp.real(b)), finite_sum(jnp.imag(a), jnp.imag(b))
        )
    largest = jnp.finfo(total.dtype).max
    both = jnp.isfinite(a) & jnp.isfinite(b)
    return jnp.where(both, jnp.clip(total, -largest, largest), total)


def widen(x: chex.Array) -> chex.Array:
    """Floats narrower than 32 bits as float32; everything else as it is."""
    if x.dtype.itemsize < 4 and _is_kind(x.dtype, np.floating):
        return x.astype(jnp.float32)
    return x


def real_dtype(x: object) -> np.dtype:
    """The dtype of |x|: the real dtype of the same precision."""
    own = np.dtype(jax.dtypes.result_type(x))
    return np.dtype(f"f{own.itemsize // 2}") if own.kind == "c" else own


@functools.cache
def _is_kind(dtype: DTypeLike, kind: type[np.generic]) -> bool:
    """`jnp.issubdtype`, which is asked many times for every leaf of a program."""
    return bool(jnp.issubdtype(dtype, kind))


def _dtype(x: object) -> Any:
    """The dtype of an array, or that which a number gets as an array."""
    if hasattr(x, "dtype"):
        return x.dtype
    if isinstance(x, (bool, int, float, complex)):
        return jax.dtypes.result_type(x)
    raise TypeError(no_array(x))


def no_array(x: object) -> str:
    """The fault of a leaf that is no array that JAX has, nor a number; "" if there is none."""
    if isinstance(x, np.ma.MaskedArray):
        return "expected arrays, got a masked array of NumPy; write `x.filled(0)`"
    if hasattr(x, "dtype"):
        if _is_held(x.dtype):
            return ""
        return (
            f"expected arrays of a dtype to train in, got {x.dtype} ({type(x).__name__}); write "
            '`x.astype("float32")`, or leave out what holds no numbers'
        )
    if isinstance(x, (int, float, complex)):
        return ""
    name = getattr(x, "__name__", None) or reprlib.repr(x)
    return (
        f"expected arrays, got {name} ({type(x).__name__}); give the arrays of a model alone, as "
        "`eqx.filter(model, eqx.is_inexact_array)` or the first part of `eqx.partition` does"
    )


@functools.cache
def _is_held(dtype: DTypeLike) -> bool:
    """Whether JAX holds and promotes such arrays: not other byte orders, text, 80 or 8 bits."""
    if jnp.issubdtype(dtype, jax.dtypes.extended) or dtype == jax.dtypes.float0:
        return True
    dtype = np.dtype(dtype)
    if jnp.issubdtype(dtype, np.inexact):
        return dtype.isnative and dtype.name in _FLOATING
    return dtype.isnative and (dtype.kind == "b" or jnp.issubdtype(dtype, np.integer))


def is_inexact(x: object) -> bool:
    """True for leaves an optimizer moves: real or complex floating arrays and numbers."""
    return x is not None and _is_kind(_dtype(x), np.inexact)


def is_complex(x: object) -> bool:
    """True for complex arrays and numbers."""
    return _is_kind(_dtype(x), np.complexfloating)


def moment_dtype(parameter: object, wanted: DTypeLike | None) -> np.dtype:
    """The dtype of a running average shaped like `parameter`.

    `wanted` if given, else the parameter's own with at least 32 bits: a bfloat16 second moment
    at b2 = 0.999 stalls near 0.5 where the exact one reaches 0.95.  Complex stays complex.
    """
    own = np.dtype(jax.dtypes.result_type(parameter))
    if is_complex(parameter):
        wanted = np.dtype(jnp.promote_types(np.complex64, wanted or own)).name
    if wanted is None:
        return own if own.itemsize >= 4 else np.dtype(np.float32)
    return np.dtype(jax.dtypes.canonicalize_dtype(wanted))


def magnitude_dtype(parameter: object, wanted: DTypeLike | None) -> np.dtype:
    """The dtype of a running average of |g|**2: `moment_dtype`, real also for complex leaves."""
    return real_dtype(moment_dtype(parameter, wanted))


def squared_magnitude(x: chex.Array) -> chex.Array:
    """|x|**2, real also for complex `x`."""
    if is_complex(x):
        return jnp.square(x.real) + jnp.square(x.imag)
    return jnp.square(x)
