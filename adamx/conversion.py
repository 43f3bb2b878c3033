"""A run that goes on in another format: its parameters and its state, as the other recipe has them.

Two recipes that differ in formats alone are the same tree of transformations.  It is walked once,
and every array of a slot goes from the format of the one to that of the other: through float32, and
from there to the nearest.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from adamx.core import foreign, numerics, tree
from adamx.core.checks import check_depth, describe
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.format import Float, Joint
from adamx.core.slot import Slot
from adamx.core.transformation import State
from adamx.family.words import pack, unpack
from adamx.formats.bfloat16 import Bfloat16Format
from adamx.wrappers.bfloat16_params import Bfloat16Params, Bfloat16ParamsState
from adamx.wrappers.inject import InjectHyperparams

P = TypeVar("P")
_OWNER = "convert_state"
_OTHERWISE = "`tx_to` differs from `tx_from` in more than formats"


def convert_state(tx_from: Any, tx_to: Any, params: P, state: State) -> tuple[P, State]:
    """Parameters and state of a running optimizer, in the formats of another one.

    The recipes may differ in `state_format`, in `mu_dtype` and the like, in numbers, and by a
    `bfloat16_params` around the whole of one or both.  Moments and parameters go through float32,
    exactly, and are rounded to nearest: from words of `pair` and back they are the same words.
    Everything else (counts, averages, keys) is carried over as it is.

    float32 parameters become bfloat16 with what `extra_bits` keeps beside them; 16 bits lose
    nothing.  With 0 this rounds once to nearest, as `params.astype(jnp.bfloat16)` does.

    Args:
      tx_from: the transformation that `state` belongs to.
      tx_to: the one to go on with.
      params: the parameters, as `tx_from` steps them.
      state: the state; not changed.  Arrays that need no conversion are shared with the result.

    Returns:
      `(params, state)` for `tx_to`.

    Raises:
      TypeError: not a transformation; two different ones at the same place of the recipes.
      ValueError: a state that is not that of `tx_from`, or swapped with the parameters; recipes
        whose states differ otherwise, such as in a mask, with the place.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> wide, narrow = adamx.adam(1e-3), adamx.adam(1e-3, state_format="bfloat16")
      >>> params = jnp.ones(3)
      >>> params, state = wide.step(params, wide.init(params), params)
      >>> params, state = adamx.convert_state(wide, narrow, params, state)
      >>> state[0].mu.dtype.name, int(state[0].count)
      ('bfloat16', 1)
      >>> params, state = narrow.step(params, state, params)
    """
    old = as_transformation(Where(_OWNER, "tx_from"), tx_from)
    new = as_transformation(Where(_OWNER, "tx_to"), tx_to)
    check_depth(f"{_OWNER}: the parameters and the state", (params, state))
    try:
        wanted = jax.eval_shape(old.init, params)
        _check_fit("the state is not that of `tx_from` for these parameters", state, wanted)
    except Exception as error:
        if _are_swapped(old, params, state):
            raise ValueError(
                f"{_OWNER}: `params` and `state` seem to be swapped: what is given as `params` is "
                "the state of `tx_from` for what is given as `state`; write "
                f"`adamx.{_OWNER}(tx_from, tx_to, params, state)`"
            ) from error
        raise
    after, rest, outermost = _parameters(old, new, params, state)
    like = jax.eval_shape(new.init, after)
    converted = _converted(_inside(old, state), _inside(new, like), ())
    if isinstance(new, Bfloat16Params):
        converted = outermost._replace(rest=rest, inner_state=converted)
    _check_fit(_OTHERWISE, converted, like)
    return after, converted


def _inside(tx: Any, state: Any) -> tuple[Any, Any]:
    """The recipe that sees float32 parameters, and its state."""
    return (tx.inner, state.inner_state) if isinstance(tx, Bfloat16Params) else (tx, state)


def _parameters(old: Any, new: Any, params: Any, state: Any) -> tuple[Any, Any, Any]:
    """The new parameters, what they do not hold, and the state around the recipe."""
    was, becomes = isinstance(old, Bfloat16Params), isinstance(new, Bfloat16Params)
    wide = state.float32_params(params) if was else params
    if not becomes:
        return wide, None, None
    if was and old.extra_bits == new.extra_bits:
        return params, state.rest, state
    # A parameter in float32 beside those in bfloat16 was left so on purpose.
    widths = (jnp.bfloat16,) if was else (jnp.bfloat16, jnp.float32)
    narrow = jax.tree.map(
        lambda p: numerics.is_inexact(p) and jax.dtypes.result_type(p) in widths,
        params,
        is_leaf=tree.is_leaf,
    )
    after, rest = new.stored(wide, narrow)
    around = state if was else Bfloat16ParamsState(jnp.zeros((), jnp.int32), None, None)
    return after, rest, around


def _converted(source: tuple[Any, Any], target: tuple[Any, Any], place: tuple[str, ...]) -> Any:
    """The state of one transformation as that of another, which is to look as `target` does."""
    (old, state), (new, like) = source, target
    slots = [tx.slots() for tx in (old, new)]
    children = [tx.children() for tx in (old, new)]
    names = [[*(slot.name for slot in slots[i]), *children[i]] for i in (0, 1)]
    if type(old) is not type(new) or names[0] != names[1]:
        where = f"at {'/'.join(place)} " if place else ""
        raise TypeError(
            f"{_OWNER}: {where}{foreign.name_of(old)} would become {foreign.name_of(new)}; the "
            "recipes may differ in formats and numbers, and by `bfloat16_params` around the whole"
        )
    pairs = [(a, b) for a, b in zip(*slots, strict=True) if a.is_in(state)]
    if any(isinstance(slot.format, Joint) for pair in pairs for slot in pair):
        state = _moments(old, new, state, like)
    else:
        arrays = {a.name: _arrays(old, a, b, state, like) for a, b in pairs}
        state = state._replace(**arrays) if arrays else state
    if isinstance(old, InjectHyperparams):  # The numbers that words are made with are in the state.
        children = [{"inner": tx.current(state)} for tx in (old, new)]
    inner, wanted = old.child_states(state), new.child_states(like)
    made = {
        name: _converted((child, inner[name]), (children[1][name], wanted[name]), (*place, name))
        for name, child in children[0].items()
    }
    return new.with_child_states(state, made) if made else state


def _different_trees(name: str) -> ValueError:
    return ValueError(f"{_OWNER}: {_OTHERWISE}: `{name}` of the states are different trees")


def _leaves(state: Any, like: Any, name: str) -> tuple[list[tuple[Any, Any]], Any]:
    """The arrays of a field, each with the one that is wanted, and their structure."""
    leaves, structure = tree.flatten(getattr(state, name))
    wanted, other = tree.flatten(getattr(like, name))
    if structure != other:
        raise _different_trees(name)
    return [*zip(leaves, wanted, strict=True)], structure


def _arrays(link: Any, a: Slot, b: Slot, state: Any, like: Any) -> Any:
    """One field in the format of another slot."""
    leaves, structure = _leaves(state, like, a.name)
    if any((x is None) != (wanted is None) for x, wanted in leaves):
        raise _different_trees(a.name)
    if a.format == b.format and all(x is None or x.dtype == wanted.dtype for x, wanted in leaves):
        return getattr(state, a.name)
    # The state of tables declares floats, whatever the formats of their rows are.
    pairs = [pair for pair in leaves if pair[0] is not None]
    undeclared = any(
        isinstance(slot.format, Float) and not numerics.is_inexact(pair[i])
        for i, slot in enumerate((a, b))
        for pair in pairs
    )
    if isinstance(link, Bfloat16Params) or undeclared:
        raise TypeError(
            f"{_OWNER}: {link.public_name} keeps `{a.name}` in words of its own, which are not "
            "converted here; `bfloat16_params` is, where it is around the whole recipe"
        )

    def nearest(x: Any, wanted: Any) -> Any:
        if x is None:
            return None
        wide = a.format.load(x)
        if isinstance(b.format, Bfloat16Format):
            return wide.astype(wanted.dtype)
        return b.format.store(wide, jnp.zeros(wanted.shape, wanted.dtype))

    return structure.unflatten([nearest(*each) for each in leaves])


def _moments(old: Any, new: Any, state: Any, like: Any) -> Any:
    """Adam's moments, of which one side or both have words."""
    if old == new:
        return state

    def converted(m: Any, wanted_m: Any, v: Any, wanted_v: Any) -> Any:
        if m is None:
            return None, None
        floats = numerics.is_inexact(m)
        wide = (numerics.widen(m), numerics.widen(v)) if floats else unpack(old, state.count, m, v)
        if not numerics.is_inexact(wanted_m):
            return pack(new, state.count, *wide, wanted_v)
        return wide[0].astype(wanted_m.dtype), wide[1].astype(wanted_v.dtype)

    mu, structure = _leaves(state, like, "mu")
    nu, _ = _leaves(state, like, "nu")
    made = [converted(*m, *v) for m, v in zip(mu, nu, strict=True)]
    columns = zip(*made, strict=True) if made else ((), ())
    return state._replace(**dict(zip(("mu", "nu"), map(structure.unflatten, columns), strict=True)))


def _are_swapped(tx: Any, params: Any, state: Any) -> bool:
    """Whether `params` is the state that `tx` has for parameters like `state`."""
    try:
        _check_fit("", params, jax.eval_shape(tx.init, state))
    except Exception:  # Whatever stands there, its own error is not the one to be told.
        return False
    return True


def _check_fit(what: str, state: Any, like: Any) -> None:
    """Raises unless every array is where, and of the shape and dtype that, it is wanted."""
    found, wanted = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(x)}
        for x in (state, like)
    )
    shown = [{path: describe(x) for path, x in leaves.items()} for leaves in (found, wanted)]
    for path in [*shown[1], *shown[0]]:
        a, b = (side.get(path, "nothing") for side in shown)
        if a != b:
            raise ValueError(f"{_OWNER}: {what}: at {path or 'its root'} it has {a}, not {b}")
    structures: list[Any] = [jax.tree.structure(x) for x in (state, like)]
    if structures[0] != structures[1]:
        raise ValueError(f"{_OWNER}: {what}: the containers are others")
