"""Refusals of trees: nothing mismatched ever gets through, and every error names the leaf."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import numerics
from adamx.core.fields import readable
from adamx.core.tree import flatten, flatten_with_paths, is_leaf

_CONTAINERS = (dict, list, tuple, Mapping)
_DEEPEST = 256


def _check_keys(owner: str, x: object) -> None:
    if type(x) is not dict or len({type(key) for key in x}) < 2:
        return
    try:
        sorted(x)
    except TypeError:
        raise ValueError(
            f"{owner}: a dictionary has keys that JAX cannot sort, {reprlib.repr([*x])}; use keys "
            "of one type"
        ) from None


def check_depth(owner: str, given: object) -> None:
    """Raises a `ValueError` for dictionaries and lists that are nested without end, or nearly, and
    for keys without an order.

    JAX goes through them by recursion, and counts wrongly for ever after it went too deep.
    """
    level = [given]
    for _ in range(_DEEPEST):
        for x in level:
            _check_keys(owner, x)
        inner = [
            y
            for x in level
            if isinstance(x, _CONTAINERS)
            for y in (x.values() if isinstance(x, Mapping) else x)
        ]
        level = [*{id(x): x for x in inner if isinstance(x, _CONTAINERS)}.values()]
        if not level:
            return
    raise ValueError(f"{owner}: nested more than {_DEEPEST} levels deep")


def check_arrays(owner: str, given: str, tree: chex.ArrayTree) -> None:
    """Raises TypeError for a leaf that is no array that JAX has, nor a number, by its path."""
    check_depth(f"{owner}: the {given}", tree)
    leaves, _ = flatten(tree)
    for i, leaf in enumerate(leaves):
        if leaf is not None and (wrong := numerics.no_array(leaf)):
            at = f"in the {given} at {flatten_with_paths(tree)[i][0]}"
            raise TypeError(f"{owner}: {at}, {wrong}")


def describe(leaf: Any) -> str:
    """Dtype and shape of a leaf, or what stands in the place of an array."""
    if leaf is None:
        return "None"
    try:
        if not isinstance(leaf, (str, bytes, type)):  # Which NumPy takes for a dtype.
            return f"{jax.dtypes.result_type(leaf).name}{list(np.shape(leaf))}"
    except (TypeError, ValueError):
        pass
    return f"a {type(leaf).__name__}"


def _structure_error(owner: str, given: str, tree: Any, like: str, reference: object) -> ValueError:
    got = {path for path, _ in flatten_with_paths(tree)}
    wanted = {path for path, _ in flatten_with_paths(reference)}
    lines = [f"{owner}: the {given} do not have the structure of the {like}."]
    for label, paths in (("missing", wanted - got), ("unexpected", got - wanted)):
        if paths:
            shown = sorted(paths)
            more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
            lines.append(f"  {label} in the {given}: {', '.join(shown[:5])}{more}")
    if len(lines) == 1:
        lines.append(f"  {given}: {jax.tree.structure(tree)}")
        lines.append(f"  {like}: {jax.tree.structure(reference)}")
    lines.append(f"  Pass {given} for the same parameters that `init` was given.")
    return ValueError("\n".join(lines))


def _is_alike(leaf: Any, reference: Any) -> bool:
    """Whether both are arrays of one shape and one dtype, as nearly always: nothing to check."""
    try:
        alike: bool = leaf.shape == reference.shape and leaf.dtype == reference.dtype
    except AttributeError:
        return False
    return alike


def _check_leaf(
    owner: str, given: str, path: str, leaf: Any, like: str, reference: Any, magnitudes: bool
) -> None:
    """Refuses another shape (nothing ever broadcasts) and another family of dtype."""
    if leaf is None or reference is None:
        if leaf is not None and numerics.is_inexact(leaf):
            raise TypeError(
                f"{owner}: {given} at {path} is {describe(leaf)}, but this leaf is not trained "
                f"(the {like} has none there); pass None or a float0/integer leaf"
            )
        return
    if jax.dtypes.result_type(leaf) == jax.dtypes.float0:
        return
    if np.shape(leaf) != np.shape(reference):
        raise ValueError(
            f"{owner}: {given} at {path} has shape {np.shape(leaf)}, but the {like} there has "
            f"shape {np.shape(reference)}; nothing is broadcast, reshape it explicitly"
        )
    is_magnitude = magnitudes and not numerics.is_complex(reference)
    if numerics.is_inexact(reference) != numerics.is_inexact(leaf) or (
        numerics.is_complex(reference) != numerics.is_complex(leaf) and not is_magnitude
    ):
        raise TypeError(
            f"{owner}: {given} at {path} is {describe(leaf)}, but the {like} there is "
            f"{describe(reference)}; convert it to the same kind (integer, real or complex)"
        )


def check_match(
    owner: str,
    given: str,
    tree: chex.ArrayTree,
    like: str,
    reference: chex.ArrayTree,
    magnitudes: bool = False,
) -> None:
    """Raises unless `tree` has the structure, shapes and kinds of dtype of `reference`.

    With `magnitudes` the reference may be real where the tree is complex, as a moment of |g|**2 is.

    Raises:
      ValueError: another structure or another shape.
      TypeError: integers, reals and complex numbers mixed up.
    """
    check_arrays(owner, given, tree)
    leaves, structure = flatten(tree)
    references, wanted = flatten(reference)
    if structure != wanted:
        raise _structure_error(owner, given, tree, like, reference)
    for i, (leaf, other) in enumerate(zip(leaves, references, strict=True)):
        if _is_alike(leaf, other):
            continue
        try:
            _check_leaf(owner, given, "", leaf, like, other, magnitudes)
        except (TypeError, ValueError):
            # Paths are only worth computing once something is wrong.
            path = flatten_with_paths(tree)[i][0]
            _check_leaf(owner, given, path, leaf, like, other, magnitudes)


def other_containers(prefix: object, whole: object, path: tuple[Any, ...] = ()) -> str:
    """Where a prefix of a tree has another container than the tree: the place and both types."""

    def children(node: object) -> list[tuple[tuple[Any, ...], Any]]:
        flat, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
        return flat

    if is_leaf(prefix) or jax.tree_util.all_leaves([prefix]):
        return ""
    if type(prefix) is not type(whole):
        names = (f"{type(x).__module__}.{type(x).__qualname__}" for x in (prefix, whole))
        where = jax.tree_util.keystr(path) or "the top"
        return f"at {where} is a {' in the place of a '.join(names)}".replace("builtins.", "")
    for (key, inner), (_, other) in zip(children(prefix), children(whole), strict=False):
        if found := other_containers(inner, other, (*path, *key)):
            return found
    return ""


def check_read(owner: str, params: chex.ArrayTree, what: str, held: chex.ArrayTree) -> None:
    """`check_match` of parameters with what is held of some of them, and is to be read now."""
    leaves, structure = flatten(params)
    beside, wanted = flatten(held)
    if structure == wanted:
        pairs = zip(leaves, beside, strict=True)
        params = structure.unflatten([None if x is None else p for p, x in pairs])
    check_match(owner, "parameters", params, what, held)


# The kinds of numbers that `check_state` knows: a count, a number.
COUNT = jax.ShapeDtypeStruct((), np.int32)
NUMBER = jax.ShapeDtypeStruct((), np.float32)


def check_state(
    owner: str, state: object, like: type[Any], numbers: Mapping[str, Any] | None = None
) -> None:
    """Raises unless `state` has the fields of the NamedTuple `like`.

    Compared by field names, so that the state of the same optimizer in another library passes.

    Args:
      owner: whom errors name.
      state: as given.
      like: the class that `init` makes.
      numbers: fields of numbers, with trees of the shapes and dtypes that `init` gives them.

    Raises:
      TypeError: another class of state; something else than an integer or real array in a field.
      ValueError: an array of another shape in a field (nothing is broadcast); a negative count.
    """
    if getattr(type(state), "_fields", None) != like._fields:
        raise TypeError(
            f"{owner}: the state must be the {like.__name__}({', '.join(like._fields)}) that "
            f"`init` returned, got {type(state).__name__}; was it made by another optimizer?"
        )
    for name, wanted in (numbers or {}).items():
        _check_numbers(owner, name, getattr(state, name), wanted)


def field_of(owner: str, state: object, name: str) -> Any:
    """A field of a state; raises TypeError for a state that has none of that name."""
    if not hasattr(state, name):
        raise TypeError(
            f"{owner}: the state must have the field `{name}`, as that of `init` has, got "
            f"{type(state).__name__}; was it made by another optimizer?"
        )
    return getattr(state, name)


def _check_numbers(owner: str, path: str, given: object, wanted: object) -> None:
    """Raises unless a field holds arrays like those that `init` puts there."""
    leaves, expected = (flatten_with_paths(x) for x in (given, wanted))
    # By the names of fields, whichever library their classes are from.
    if [name for name, _ in leaves] != [name for name, _ in expected]:
        form, structure = (jax.tree.structure(x) for x in (wanted, given))
        raise TypeError(
            f"{owner}: `{path}` of the state must have the structure {form}, got {structure}; was "
            "it made by another optimizer?"
        )
    for (_, leaf), (_, one) in zip(leaves, expected, strict=True):
        kind = "a real" if numerics.is_inexact(one) else "an integer"
        if (
            numerics.no_array(leaf)
            or not hasattr(leaf, "dtype")
            or numerics.is_inexact(leaf) != numerics.is_inexact(one)
        ):
            raise TypeError(
                f"{owner}: `{path}` of the state must be {kind} array, got {leaf!r} "
                f'({type(leaf).__name__}); write `jnp.asarray(..., "{one.dtype.name}")`'
            )
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TypeError(
                f"{owner}: `{path}` of the state must be the data of a key, got a typed key; write "
                f"`jax.random.key_data(state.{path})`; a state of optax's is converted by "
                "`adamx.interop.optax.from_optax`"
            )
        if np.shape(leaf) != one.shape:
            raise ValueError(
                f"{owner}: `{path}` of the state must have the shape {one.shape}, got "
                f"{np.shape(leaf)}; nothing is broadcast: a step of several states is "
                "`jax.vmap(tx.step)`"
            )
        if one.dtype.kind == "i" and any(number < 0 for number in readable(leaf)):
            raise ValueError(f"{owner}: `{path}` of the state counts something, got {leaf}")


def require_params(owner: str, params: Any) -> None:
    """Raises if an update that reads the parameters was called without them."""
    if params is None:
        raise ValueError(
            f"{owner} reads the parameters: call `tx.update(grads, state, params)`, "
            "not `tx.update(grads, state)`"
        )
