"""A link of a chain: a few numbers of the whole tree, and a rule for one leaf.

    scalars(view, state) -> numbers           once per step: schedules, norms, bias corrections
    rule(numbers, u, p, *slots) -> (u, *slots)      for every leaf, at least float32

`run` is the only loop over the leaves: it loads and stores the slots, each through its format, and
hands the updates of one rule to the next without rounding them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, numerics, tree, xla
from adamx.core.format import Float, Joint, Place, Stochastic, as_numbers
from adamx.core.hyperparameter import Count, Number, Schedule, as_dtype, resolve
from adamx.core.paths import leaf_paths, quoted
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.core.transformation import EmptyState, GradientTransformation, Params, State, Updates

RowsTaken: TypeAlias = Literal["linear", "coalesced", "dense"]


class ScaleByScheduleState(NamedTuple):
    """The number of steps taken, which a schedule asks for."""

    count: chex.Array  # int32[]


class View(NamedTuple):
    """The whole tree, as a link sees it before its rule runs."""

    updates: Updates  # as the links in front leave them
    params: Params | None
    extra: dict[str, Any]  # the further arguments of `update`, such as `value`


class PerLeaf(NamedTuple):
    """Numbers of their own for every leaf, in order; a leaf with None is left as it is."""

    leaves: Sequence[Any]


class Link(GradientTransformation, abstract=True):
    """A transformation made of numbers of the tree and a rule of one leaf.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> class Halve(adamx.Link):
      ...     def rule(self, s, u, p):
      ...         return u / 2
      >>> tx = adamx.chain(Halve(), adamx.scale_by_learning_rate(0.5))
      >>> tx.step(jnp.array([4.0]), tx.init(jnp.zeros(1)), jnp.zeros(1))[0]
      Array([-1.], dtype=float32)
    """

    # How a rule takes `SparseRows`: "linear" rules take their values as they are; those that
    # leave zeros alone take them `coalesced`; for the others they are made dense.
    rows: ClassVar[RowsTaken] = "dense"
    # Whether the rule is given the parameter, whose tree then has to fit the updates; "optional"
    # ones do without where there are none.
    reads_params: ClassVar[bool | Literal["optional"]] = False
    # Whether outside of a chain updates come in the wider of the gradient's and the parameter's
    # dtype, and not in the gradient's; those of links with slots do.
    widens: ClassVar[bool] = False
    # Whether an element of the result depends on that element of the arguments only: then the rule
    # may run on some rows of a leaf alone, with numbers of a state that has a `count` alone.
    elementwise: ClassVar[bool] = True

    def state_type(self) -> type[Any]:
        """The `NamedTuple` that is the state: a field for every slot, and numbers.

        By default the number of steps if there is a schedule among the fields, else nothing.
        """
        fields = jax.tree.leaves(self, is_leaf=lambda x: isinstance(x, Schedule))
        scheduled = any(isinstance(x, Schedule) for x in fields)
        return ScaleByScheduleState if scheduled else EmptyState

    def slots(self) -> tuple[Slot, ...]:
        """The arrays that the rule remembers of every parameter."""
        return ()

    def selected(self, params: Params) -> Any:
        """Which leaves have slots, as a tree of booleans; None for all."""
        return None

    def numbers(self) -> dict[str, Any]:
        """The other fields of the state before the first step, `count` excepted."""
        return {}

    def scalars(self, view: View, state: State) -> tuple[Any, dict[str, Any]]:
        """The numbers of this step for the rule, and new values of fields that are no slots.

        The numbers are any pytree, or one for each leaf (`PerLeaf`).  Floating ones reach the rule
        in the precision of the leaf.  A field `count` is counted up without being mentioned.
        """
        return (), {}

    def rule(self, s: Any, u: chex.Array, p: Any, *slots: Any) -> Any:
        """One leaf: its update, or `(update, *slots)` if there are any.

        `p` is None unless `reads_params`.
        """
        raise NotImplementedError(type(self).__name__)

    def require_params(self, params: Params | None) -> None:
        """Raises ValueError if the rule reads parameters and there are none."""
        checks.require_params(self.public_name, params)

    def now(self, state: State, *names: str) -> list[Number]:
        """The hyperparameters of these names at this step, as `state` counts them."""
        count = self.steps_taken(state)
        return [self.at(name, 0 if count is None else count) for name in names]

    def at(self, name: str, count: Count) -> Number:
        """The hyperparameter `name` at the 0-based step `count`."""
        return resolve(getattr(self, name), count, f"{self.public_name}: {name}")

    def init(self, params: Params) -> State:
        make = self.state_type()
        slots = self.slots()
        selected = self.selected(params) if slots else None
        count = {"count": jnp.zeros((), jnp.int32)} if "count" in make._fields else {}
        return make(
            **count, **self.numbers(), **{slot.name: slot.init(params, selected) for slot in slots}
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_arrays(self.public_name, "updates", updates)
        new, (state,) = run([self], updates, [state], params, extra)
        wider = params if self.slots() or self.widens else None
        return tree.rounded(new, updates, wider), state


def run(
    links: Sequence[Link],
    updates: Updates,
    states: Sequence[State],
    params: Params | None,
    extra: dict[str, Any],
) -> tuple[Updates, list[State]]:
    """Links one after the other: updates of at least float32, and their new states.

    Leaves that are not trained pass through untouched.

    Raises:
      ValueError: a gradient of another structure or shape than the parameters or a slot; no
        `params` where a rule reads them.
      TypeError: another transformation's state; integers, reals and complex numbers mixed up.
    """
    if params is not None:
        for link in links:
            if link.reads_params or link.slots():
                checks.check_match(link.public_name, "updates", updates, "parameters", params)
                break
    seen, updates = _seen(updates), tree.widened(updates)
    after = []
    for link, state in zip(links, states, strict=True):
        with jax.named_scope(link.public_name):
            updates, state = _run_link(link, seen, updates, state, params, extra)
        seen = updates
        after.append(state)
    return updates, after


def _seen(updates: Updates) -> Updates:
    """The arrays of `scalars`, widened apart: XLA:CPU would store what a sum and a rule share."""

    def own(u: Any) -> Any:
        is_array = numerics.is_inexact(u) and not isinstance(u, SparseRows)
        return xla.apart(u) if is_array and jax.dtypes.result_type(u).itemsize < 4 else u

    return tree.widened(jax.tree.map(own, updates, is_leaf=tree.is_leaf))


def _run_link(
    link: Link,
    seen: Updates,
    updates: Updates,
    state: State,
    params: Params | None,
    extra: dict[str, Any],
) -> tuple[Updates, State]:
    make = link.state_type()
    if make is not EmptyState:
        names = {*make._fields} - {slot.name for slot in link.slots()}
        numbers = {"count": checks.COUNT} if "count" in names else {}
        if names - {"count"}:
            numbers |= jax.eval_shape(link.numbers)
        checks.check_state(link.public_name, state, make, numbers)
    if link.reads_params is True:
        link.require_params(params)
    if link.rows == "coalesced":
        updates = tree.coalesced(updates)
        seen = jax.tree.map(
            lambda x, u: u if isinstance(u, SparseRows) else x, seen, updates, is_leaf=tree.is_leaf
        )
    s, fields = link.scalars(View(seen, params, extra), state)
    if "count" in make._fields:
        fields = {"count": numerics.safe_increment(state.count), **fields}
    slots = link.slots()
    updates, after = each_leaf(
        link.public_name,
        link.rule,
        s,
        updates,
        slots,
        [getattr(state, slot.name) for slot in slots],
        params if link.reads_params else None,
        selected=link.selected(params) if slots else None,
        dense=link.rows == "dense",
        count=state.count if "count" in make._fields else None,
    )
    fields |= {slot.name: field for slot, field in zip(slots, after, strict=True)}
    return updates, state._replace(**fields) if fields else state


def each_leaf(
    owner: str,
    rule: Callable[..., Any],
    s: Any,
    updates: Updates,
    slots: Sequence[Slot],
    fields: Sequence[Any],
    params: Params | None = None,
    *,
    selected: Any = None,
    dense: bool = True,
    count: chex.Array | None = None,
) -> tuple[Updates, list[Any]]:
    """The loop over the leaves: `rule(s, u, p, *slots) -> (u, *slots)`, at least float32.

    Args:
      owner: whom errors name.
      rule: see `Link.rule`.
      s: numbers, or one for each leaf (`PerLeaf`).
      updates: at least float32.
      slots, fields: how the rule's arrays are stored, and the trees that hold them.
      params: the parameters, if the rule reads them.
      selected: which leaves have slots, as booleans; None for all.
      dense: whether `SparseRows` are made dense for the rule.
      count: steps taken, for formats that round at random.

    Returns:
      The new updates, at least float32, and the new fields.
    """
    if selected is None:
        slotted = updates
    else:
        slotted = jax.tree.map(
            lambda u, chosen: u if chosen else None, updates, selected, is_leaf=tree.is_leaf
        )
    for slot, field in zip(slots, fields, strict=True):
        check_slot(owner, slot, field, slotted)
    if params is not None:
        checks.check_match(owner, "updates", updates, "parameters", params)
    leaves, structure = tree.flatten(updates)
    parameters = [None] * len(leaves) if params is None else tree.flatten(params)[0]
    scalars = s.leaves if isinstance(s, PerLeaf) else [s] * len(leaves)
    columns = [tree.flatten(field)[0] for field in fields]
    by_leaf = [*zip(*(slot.by_leaf(updates) for slot in slots), strict=True)] or [()] * len(leaves)
    paths = _paths(owner, by_leaf, updates, count)
    casts: dict[Any, Any] = {}
    rows = []
    together = zip(leaves, parameters, scalars, paths, by_leaf, *columns, strict=True)
    for u, p, own, path, forms, *old in together:
        if not numerics.is_inexact(u) or (own is None and isinstance(s, PerLeaf)):
            rows.append((u, *old))
            continue
        u = tree.dense(u) if dense else u
        p = None if p is None else numerics.widen(jnp.asarray(p))
        wide = [
            None if x is None else slot.format.load(x) for slot, x in zip(forms, old, strict=True)
        ]
        values = u.values if isinstance(u, SparseRows) else u
        arrays = [x for x in (values, p, *wide) if x is not None]
        key = id(own), numerics.real_dtype(jnp.result_type(*arrays))
        if key not in casts:
            casts[key] = in_precision(own, key[1])
        result = rule(casts[key], values, p, *wide)
        values, *new = result if slots else (result,)
        place = None if count is None else Place(count, path)
        new = [stored(*one, place) for one in zip(forms, new, old, strict=True)]
        rows.append((u.replace(values=values) if isinstance(u, SparseRows) else values, *new))
    outputs = zip(*rows, strict=True) if rows else [()] * (1 + len(slots))
    updates, *after = map(structure.unflatten, outputs)
    return updates, after


def _paths(
    owner: str, slots: Sequence[Sequence[Slot]], updates: Updates, count: chex.Array | None
) -> list[str]:
    """The paths of the leaves, which only random numbers ask for."""
    random = [slot.name for own in slots for slot in own if isinstance(slot.format, Stochastic)]
    if not random:
        return [""] * len(tree.flatten(updates)[0])
    if count is None:
        raise TypeError(
            f"{owner}: the slot {random[0]!r} is rounded at random, for which the steps are "
            "counted; give the state a field `count`"
        )
    return [path for path, _ in tree.flatten_with_paths(updates)]


def stored(slot: Slot, x: Any, old: Any, leaf: Place | None) -> Any:
    """The array kept in the place of `old`; `leaf` is that of the parameter."""
    if old is None:
        return None
    if isinstance(slot.format, Stochastic):
        assert leaf is not None
        return slot.format.store_at(x, old, leaf._replace(name=slot.name + leaf.name))
    return slot.format.store(x, old)


def check_slot(owner: str, slot: Slot, field: Any, updates: Updates) -> None:
    """Raises, as `checks.check_match`, unless the field of a slot fits the updates."""
    _check_format(owner, slot, field, updates)
    numbers = field
    if isinstance(slot.format, Joint):
        updates, numbers = _apart(slot, updates, field)
    elif not isinstance(slot.format, Float):
        numbers = jax.eval_shape(lambda field: jax.tree.map(slot.format.load, field), field)
    magnitudes = slot.kind == "magnitude"
    checks.check_match(owner, "gradients", updates, "optimizer state", numbers, magnitudes)


def _check_format(owner: str, slot: Slot, field: Any, updates: Updates) -> None:
    """Raises TypeError for an array of another format: what a format stores, it stores again."""
    leaves, structure = tree.flatten(field)
    others, wanted = tree.flatten(updates)
    if structure != wanted:
        return  # An error that `checks.check_match` explains.
    for i, (x, u, own) in enumerate(zip(leaves, others, slot.by_leaf(updates), strict=True)):
        # Bases of blocks are fewer than the words, by whose number their format goes.
        shared = isinstance(own.format, Joint) and slot.kind == "magnitude"
        if shared or not (numerics.is_inexact(u) and hasattr(x, "dtype")):
            continue
        dtype = jax.dtypes.result_type(x)  # NumPy's 64 bits are 32 where JAX has no more.
        is_square = slot.kind == "magnitude" and numerics.is_complex(u)
        beside = jnp.promote_types(dtype, np.complex64) if is_square else dtype
        kept = own.format.dtype(jax.ShapeDtypeStruct(x.shape, beside), slot.kind)
        if kept not in (None, dtype):
            path = quoted(leaf_paths(updates)[i])
            raise TypeError(
                f"{owner}: `{slot.name}` of the state of the parameter {path} is "
                f"{checks.describe(x)}, which this optimizer keeps as {kept}; "
                "`adamx.convert_state(tx_from, tx_to, params, state)` goes on with it in another "
                "format"
            )


def _apart(slot: Slot, updates: Updates, field: Any) -> tuple[Updates, Any]:
    """Updates and magnitudes where these have numbers, and words as numbers."""
    if slot.kind == "signed":
        return updates, as_numbers(field)
    leaves, structure = tree.flatten(field)
    others, wanted = tree.flatten(updates)
    is_number = [x is None or numerics.is_inexact(x) for x in leaves]
    leaves = [x if own else None for x, own in zip(leaves, is_number, strict=True)]
    if structure == wanted:
        kept = [None if x is None else u for u, x in zip(others, leaves, strict=True)]
        updates = wanted.unflatten(kept)
    return updates, structure.unflatten(leaves)


def in_precision(scalars: Any, precision: np.dtype) -> Any:
    """Floating scalars in the precision of a leaf, so that none promotes it."""

    def cast(x: Any) -> Any:
        is_array = isinstance(x, (jax.Array, np.ndarray))
        is_floating = is_array and jnp.issubdtype(x.dtype, np.floating)
        return as_dtype(x, precision) if is_floating else x

    return jax.tree.map(cast, scalars)
