"""Every array of the state beside its parameter, as the transformations' slots declare it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jax.tree_util import PyTreeDef

from adamx.core import tree
from adamx.core.checks import check_depth
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.ownership import NOBODY, owners
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.sharding.meshes import check_even, common_mesh, entries, sharding_at


class Place(NamedTuple):
    """One leaf of a state and where it goes."""

    path: tuple[Any, ...]  # keys from the root of the state
    leaf: jax.ShapeDtypeStruct
    sharding: Sharding
    number: int  # of the parameter that it lies like; `NOBODY` for a count, a key and the like

    @property
    def like_parameter(self) -> bool:
        """Whether it lies as its parameter does."""
        return self.number != NOBODY

    @property
    def name(self) -> str:
        """The path as it is written, such as `[0].mu['w']`."""
        return jax.tree_util.keystr(self.path) or "<the whole state>"


def _specification(
    shape: tuple[int, ...], parameter: tuple[int, ...], spec: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """The part of a parameter's specification that fits a leaf of the state, None if none does.

    Dimensions must be those of the parameter, from the first; one may be reduced to 1, the last
    ones may be missing, as in a moment with one number per row, and the last may be one per block.
    """
    if len(shape) > len(parameter):
        return None
    fits = [n in (1, full) for n, full in zip(shape, parameter, strict=False)]
    if fits and len(shape) == len(parameter):
        fits[-1] = shape[-1] != 0 and parameter[-1] % shape[-1] == 0
    if not all(fits):
        return None
    return tuple(
        None if n == 1 != full else axes
        for n, full, axes in zip(shape, parameter, spec, strict=False)
    )


def _check_arguments(owner: str, tx: object, params: Params) -> None:
    check_depth(f"{owner}: the parameters", params)
    if not callable(getattr(tx, "init", None)):
        raise TypeError(
            f"{owner}: the transformation comes first and the parameters second, got "
            f"{type(tx).__name__} as the transformation"
        )


def _check_shardings(owner: str, state: State, shardings: Any) -> None:
    """Raises unless there is one sharding for every leaf of the state."""
    structure: PyTreeDef = jax.tree.structure(shardings)
    if structure == jax.tree.structure(state):
        return
    if isinstance(shardings, Sharding):
        raise ValueError(
            f"{owner}: `shardings` must be a tree like the state, got one sharding, {shardings}; "
            "leave it out, or write `jax.tree.map(lambda _: sharding, state_sharding(tx, params))`"
        )
    given, wanted = (
        [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(x)[0]]
        for x in (shardings, state)
    )
    differ = [
        f"{what} {path or '<the whole state>'}"
        for what, ones, others in (("nothing for", wanted, given), ("unexpected", given, wanted))
        for path in ones
        if path not in others
    ]
    raise ValueError(
        f"{owner}: `shardings` has another structure than the state of `tx` "
        f"({'; '.join(differ[:4]) or 'other containers'}); was it made for another transformation? "
        "Make it with `state_sharding(tx, params)`"
    )


def places(owner: str, tx: GradientTransformation, params: Params) -> tuple[list[Place], Any]:
    """Where every leaf of the state of `tx` goes, and the structure of the state."""
    _check_arguments(owner, tx, params)
    parameters, _ = tree.flatten(params)
    named = []
    for name, leaf in tree.flatten_with_paths(params):
        if leaf is not None:
            sharding = sharding_at(owner, f"parameter {name}", leaf)
            check_even(owner, f"parameter {name}", leaf.shape, sharding)
            named.append((f"parameter {name}", sharding))
    if not named:
        raise ValueError(f"{owner}: there are no parameters, so nothing says where the state goes")
    mesh = common_mesh(owner, named)
    replicated = named[-1][1] if mesh is None else NamedSharding(mesh, PartitionSpec())

    def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct, number: int) -> Place:
        if number == NOBODY or not leaf.shape:
            return Place(path, leaf, replicated, NOBODY)
        parameter = parameters[number]
        if leaf.shape == parameter.shape:
            return Place(path, leaf, parameter.sharding, number)
        spec = _specification(
            leaf.shape, parameter.shape, entries(parameter.sharding, parameter.ndim)
        )
        if spec is None or mesh is None:
            return Place(path, leaf, replicated, NOBODY)
        kind = parameter.sharding.memory_kind
        beside = NamedSharding(mesh, PartitionSpec(*spec), memory_kind=kind)
        found = Place(path, leaf, beside, number)
        check_even(owner, f"{found.name} of the state", leaf.shape, beside)
        return found

    abstract = jax.eval_shape(tx.init, params)
    leaves, structure = jax.tree_util.tree_flatten_with_path(abstract)
    numbers = jax.tree.leaves(owners(as_transformation(Where(owner, "tx"), tx), abstract, params))
    found = [place(*leaf, number) for leaf, number in zip(leaves, numbers, strict=True)]
    return found, structure


def state_sharding(tx: GradientTransformation, params: Params) -> Any:
    """Where the state of an optimizer goes: every moment where its parameter is.

    A leaf of the state that has the shape of a parameter gets the parameter's sharding; one with a
    number per row (the first dimensions only, or size 1 in a later one) gets that part of it;
    counts, keys and all the rest are replicated.  Use the result as `in_shardings` or
    `out_shardings` of your own `jit`, or to restore a checkpoint.

    Args:
      tx: any transformation.
      params: `jax.Array`s on one mesh, or `jax.ShapeDtypeStruct`s with a `NamedSharding` on it, of
        any axis types; or all on one device.

    Returns:
      A tree of shardings with the structure of `tx.init(params)`.

    Raises:
      TypeError: a parameter that is nowhere, such as a NumPy array; no transformation.
      ValueError: parameters on different meshes, or sharded unevenly; no parameters at all.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> mesh = jax.make_mesh((2, 4), ("data", "model"))
      >>> w = jnp.ones((8, 16), device=NamedSharding(mesh, PartitionSpec(None, "model")))
      >>> tuple(adamx.sharding.state_sharding(adamx.scale_by_adam(), w).mu.spec)
      (None, 'model')
    """
    found, structure = places("state_sharding", tx, params)
    return structure.unflatten([place.sharding for place in found])


def abstract_state(tx: GradientTransformation, params: Params, shardings: Any = None) -> State:
    """Shapes, dtypes and shardings of the state, with nothing allocated.

    It is what a checkpoint is restored into, on whatever mesh, and what a step can be compiled for
    before there are any parameters.

    Args:
      tx, params: as in `state_sharding`.
      shardings: where the state goes; by default `state_sharding(tx, params)`.

    Returns:
      A tree of `jax.ShapeDtypeStruct`s with the structure of `tx.init(params)`.

    Raises:
      TypeError, ValueError: as `state_sharding`; `shardings` with another structure than the state.

    Example:
      >>> import adamx, jax
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> rows = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec("data"))
      >>> w = jax.ShapeDtypeStruct((1024, 2), "bfloat16", sharding=rows)
      >>> nu = adamx.sharding.abstract_state(adamx.scale_by_adam(), w).nu
      >>> nu.dtype.name, tuple(nu.sharding.spec)
      ('float32', ('data',))
    """
    _check_arguments("abstract_state", tx, params)
    state = jax.eval_shape(tx.init, params)
    if shardings is None:
        shardings = state_sharding(tx, params)
    _check_shardings("abstract_state", state, shardings)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )


def init(tx: GradientTransformation, params: Params, shardings: Any = None) -> State:
    """`tx.init(params)`, made where it is to be.

    Every device makes its own shard: nothing passes through the host, and no device ever holds
    more than its shard.  Inside `shard_map` and `pmap` call `tx.init`, where everything is local
    already.

    Args:
      tx: any transformation.
      params: `jax.Array`s on one mesh or on one device.
      shardings: where the state goes; by default `state_sharding(tx, params)`.

    Returns:
      The state.

    Raises:
      TypeError, ValueError: as `state_sharding`; `shardings` with another structure than the state.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> rows = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec("data"))
      >>> state = adamx.sharding.init(adamx.scale_by_adam(), jnp.ones((1024, 2), device=rows))
      >>> state.mu.sharding.shard_shape(state.mu.shape), state.count.sharding.is_fully_replicated
      ((128, 2), True)
    """
    _check_arguments("init", tx, params)
    if shardings is None:
        shardings = state_sharding(tx, params)
    else:
        _check_shardings("init", jax.eval_shape(tx.init, params), shardings)
    # Not `jit(tx.init)`: JAX would keep the program for as long as `tx` lives.
    made: State = jax.jit(lambda params: tx.init(params), out_shardings=shardings)(params)
    return made
