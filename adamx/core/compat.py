"""The differences between the versions of JAX that this package runs on: no other file asks.

Each function is named after what the newest version has; where older ones lack it, a comment says
up to which version that is, and with it when the line can go.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec


def varying_axes(x: object) -> frozenset[str]:
    """The named axes of `shard_map` over which JAX knows that `x` differs.

    Nothing is known in `pmap`, in `vmap`, and in `shard_map(..., check_vma=False)`.
    """
    kind: Any = jax.typeof(x)
    if hasattr(kind, "manual_axis_type"):
        return frozenset(kind.manual_axis_type.varying)
    # Up to 0.9 it is called `vma`, and up to 0.6 the type of a `ShapeDtypeStruct` has lost it.
    holder: Any = x if isinstance(x, jax.ShapeDtypeStruct) else kind
    return frozenset(holder.vma or ())


def eval_shape(f: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes, dtypes and varying axes of what `f` returns."""
    if hasattr(jax.sharding, "reshard"):
        return jax.eval_shape(f, *arguments)
    # Up to 0.6 it forgets the axes.
    program, shapes = jax.make_jaxpr(f, return_shape=True)(*arguments)
    kind: Any = jax.ShapeDtypeStruct
    kinds = [kind(x.shape, x.dtype, vma=x.vma) for x in program.out_avals]
    return jax.tree.unflatten(jax.tree.structure(shapes), kinds)


def vary(x: Any, axes: tuple[str, ...]) -> Any:
    """The same values as such that may differ along mapped axes along which they are alike."""
    if not hasattr(jax.lax, "pcast"):  # Up to 0.7.
        return jax.lax.pvary(x, axes)  # type: ignore[attr-defined]
    return jax.lax.pcast(x, axes, to="varying")


def searchsorted(ordered: chex.Array, x: chex.Array, **method: Any) -> chex.Array:
    """The place of each element among ordered ones."""
    if not hasattr(jax.sharding, "reshard") and varying_axes(x) | varying_axes(ordered):
        # Up to 0.6 its loops begin with places that do not vary, and may not end with such that do.
        method = {"method": "sort"}
    places: chex.Array = jnp.searchsorted(ordered, x, **method)
    return places


def all_gather_invariant(x: chex.Array, axis_name: str | tuple[str, ...] | None) -> chex.Array:
    """The shards of all devices one after the other, known to be the same on all of them."""
    if not hasattr(jax.lax, "pcast"):  # Up to 0.7 what is gathered counts as varying; sums do not.
        n, here = jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name)
        zeros = full_like(x, 0, shape=(n, *x.shape))
        summed: chex.Array = jax.lax.psum(zeros.at[here].set(x), axis_name)
        return summed.reshape(n * x.shape[0], *x.shape[1:])
    gathered: chex.Array = jax.lax.all_gather(x, axis_name, tiled=True, to="invarying")
    return gathered


def full_like(
    x: Any, value: Any, dtype: Any = None, shape: tuple[int, ...] | None = None
) -> chex.Array:
    """One number everywhere, varying over the mapped axes over which `x` does."""
    full = jnp.full_like(x, value, dtype=dtype, shape=shape)
    missing = tuple(varying_axes(x) - varying_axes(full))
    return vary(full, missing) if missing else full  # Up to 0.6 it varies over none.


def out_sharding(sharding: NamedSharding | None) -> dict[str, NamedSharding]:
    """The argument of `.at[]` that says where its result goes, if anything is to be said.

    Raises:
      NotImplementedError: JAX up to 0.7.0, whose `.at[].set` cannot be told.
    """
    if sharding is None:
        return {}
    if jax.__version_info__ < (0, 7, 1):
        raise NotImplementedError(
            f"jax {jax.__version__} cannot write rows of a table that is sharded over axes of kind "
            "`AxisType.Explicit`; take jax 0.7.1 or newer, or make the mesh with "
            "`axis_types=(AxisType.Auto,) * number_of_axes`"
        )
    return {"out_sharding": sharding}


def zeros_at(like: chex.Array, shape: tuple[int, ...], sharding: NamedSharding) -> chex.Array:
    """Zeros of a dtype, sharded by their type."""
    if not hasattr(jax.lax, "pcast"):  # Up to 0.7 `zeros_like` is not told.
        return reshard(full_like(like, 0, shape=shape), sharding)
    return jnp.zeros_like(like, shape=shape, out_sharding=sharding)


def reshard(x: chex.Array, sharding: NamedSharding | PartitionSpec) -> chex.Array:
    """The same array, sharded in another way by its type."""
    if not hasattr(jax.sharding, "reshard"):  # Up to 0.6.
        from jax.experimental.shard import reshard as move

        return move(x, sharding)
    moved: chex.Array = jax.sharding.reshard(x, sharding)
    return moved


def heartbeat_timeout(seconds: int) -> dict[str, Any]:
    """The argument of `jax.distributed.initialize` after which a silent process counts as lost."""
    # Up to 0.6 there is none: it takes 100 seconds.
    known = "heartbeat_timeout_seconds" in inspect.signature(jax.distributed.initialize).parameters
    return {"heartbeat_timeout_seconds": seconds} if known else {}
