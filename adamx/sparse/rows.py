"""Links whose rules run on some rows of a table, as the policy of the table says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import PyTreeDef

from adamx.core import checks, fields, numerics, tree
from adamx.core.chain import LinkedTransformation
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.format import ByPath, as_numbers
from adamx.core.link import Link, PerLeaf, View, check_slot
from adamx.core.observer import Observer
from adamx.core.paths import by_path, check_patterns, leaf_paths, near_misses, quoted
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.core.transformation import GradientTransformation, Params, State, Updates, walk
from adamx.core.writer import warn_of_lost_updates
from adamx.family.moments import HasMoments
from adamx.formats.named import check_paths
from adamx.sparse.counted import Counted
from adamx.sparse.exact import Exact, StaleRows
from adamx.sparse.policies import Average, Dense, Lazy, LeafState, Policy, RowRule, Rowwise

MODES: dict[str, Policy] = {
    policy.name: policy for policy in (Dense(), Lazy(), Exact(), Rowwise(), Counted())
}

# The slots of a core, in the order of `LeafState`.
_MOMENTS = [["mu"], ["mu", "nu"], ["mu", "nu", "nu_max"]]

Modes: TypeAlias = str | tuple[tuple[str, str], ...]


def _check_mode(where: Where, mode: object) -> str:
    if not isinstance(mode, str):
        raise where.error(TypeError, "the name of a mode, or a dict from patterns to them", mode)
    if mode not in MODES:
        raise ValueError(f"{where.owner}: unknown mode {mode!r}; {near_misses(mode, MODES)}")
    return mode


def check_modes(where: Where, value: object) -> Modes:
    """The name of a mode, or rules `(pattern, name)`."""
    if isinstance(value, str):
        return _check_mode(where, value)
    if not isinstance(value, (Mapping, tuple, list)):
        raise where.error(TypeError, "the name of a mode, or a dict from patterns to them", value)
    rules = [*(value.items() if isinstance(value, Mapping) else value)]
    for rule in rules:
        if not (isinstance(rule, (tuple, list)) and len(rule) == 2):
            raise where.error(TypeError, "pairs of a pattern and the name of a mode", rule)
    patterns = check_patterns(where, [pattern for pattern, _ in rules])
    return tuple(zip(patterns, (_check_mode(where, mode) for _, mode in rules), strict=True))


def _form(leaf: LeafState) -> tuple[Any, list[tuple[Any, ...]]]:
    """The form of a state: its shapes and dtypes."""
    leaves, structure = jax.tree.flatten(leaf)
    return structure, [(np.shape(x), jax.dtypes.result_type(x)) for x in leaves]


class SparseAdamState(NamedTuple):
    """The moments of Adam, and what the modes remember beside them."""

    count: chex.Array  # int32[], steps taken
    mu: Updates  # first moment, like the parameters; None where nothing is trained
    nu: Updates  # second moment, like the parameters but real; [num_rows] in mode `rowwise`
    memory: Any  # per parameter: the mode's own, None if it needs nothing

    def leaves(self, structure: PyTreeDef) -> list[LeafState]:
        """The slots of every parameter, in order."""
        columns = map(structure.flatten_up_to, self[1:])
        leaves = [LeafState(*column) for column in zip(*columns, strict=True)]
        for memory in (leaf.memory for leaf in leaves):
            if not (memory is None or isinstance(memory, StaleRows) or hasattr(memory, "dtype")):
                raise TypeError(
                    "sparse: what mode `exact` remembers of a table must be the StaleRows that "
                    f"`init` returned, got {type(memory).__name__}; `nnx.Optimizer` takes it "
                    "apart: keep the state beside the model, and step with `make_step`"
                )
        return leaves

    def with_leaves(self, structure: PyTreeDef, leaves: Sequence[LeafState]) -> SparseAdamState:
        """The state with others."""
        columns = zip(*leaves, strict=True) if leaves else ([], [], [])
        return SparseAdamState(self.count, *map(structure.unflatten, columns))

    def check_read(self, owner: str, params: Params) -> None:
        """Raises, as `checks.check_read`, unless the state is that of these parameters."""
        checks.check_read(owner, params, "optimizer state", as_numbers(self.mu))

    def flush(self, params: Params, owner: str = "sparse.flush") -> tuple[Params, SparseAdamState]:
        """Parameters and state without stale rows."""
        self.check_read(owner, params)
        leaves, structure = tree.flatten(params)
        pairs = [
            leaf.memory.flush(jnp.asarray(p), leaf.mu, leaf.nu)
            if isinstance(leaf.memory, StaleRows)
            else (p, leaf)
            for p, leaf in zip(leaves, self.leaves(structure), strict=True)
        ]
        state = self.with_leaves(structure, [leaf for _, leaf in pairs])
        return structure.unflatten([p for p, _ in pairs]), state

    def current_params(self, params: Params) -> Params:
        """The parameters as they would be in mode `dense`, where the mode is `exact`."""
        return self.flush(params, "eval_params")[0]


class RowsTransformation(GradientTransformation, abstract=True):
    """Links whose rules run on the rows that a policy chooses, parameter by parameter."""

    @property
    def modes(self) -> Modes:
        """The name of a policy, or pairs of a pattern and a name: a field of every optimizer."""
        raise NotImplementedError(type(self).__name__)

    def links(self) -> tuple[Link, ...]:
        """The links that a row goes through, from its gradient to its change."""
        raise NotImplementedError(type(self).__name__)

    def check_together(self) -> None:
        slots = [slot for link in self.links() for slot in link.slots()]
        for name in dict.fromkeys(self._names()):
            MODES[name].check(self.public_name, self.links())
            # Choices by path are checked with the parameters.
            one = [slot for slot in slots if not isinstance(slot.format, ByPath)]
            MODES[name].check_slots(self.public_name, one)

    def _names(self) -> list[str]:
        return [self.modes] if isinstance(self.modes, str) else [name for _, name in self.modes]

    def why_final(self) -> str:
        if "exact" not in self._names():
            return ""
        return (
            "whose tables in mode `exact` make up for rows later and by themselves; put what "
            "changes them in front, a factor into the learning rate, or choose another mode"
        )

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("mu"), Slot("nu"), Slot("memory"))

    def policies(self, params: Params) -> list[Policy]:
        """One for every leaf; those that are not trained are not asked."""
        leaves, _ = tree.flatten(params)
        if isinstance(self.modes, str):
            return [MODES[self.modes if np.ndim(leaf) else "dense"] for leaf in leaves]
        patterns, names = zip(*self.modes, strict=True)
        found = by_path(self.public_name, patterns, names, params, otherwise="dense")
        # A number has no rows.
        pairs = zip(found, leaves, strict=True)
        return [MODES[name if np.ndim(leaf) else "dense"] for name, leaf in pairs]

    def _slots_by_leaf(self, params: Params) -> list[tuple[tuple[Slot, ...], ...]]:
        """The slots of every link, for every leaf."""
        number = len(tree.flatten(params)[0])
        by_link = [
            [*zip(*(slot.by_leaf(params) for slot in link.slots()), strict=True)] or [()] * number
            for link in self.links()
        ]
        return [*zip(*by_link, strict=True)]

    def _init_leaf(
        self, policy: Policy, table: chex.Array, slots: Sequence[Sequence[Slot]]
    ) -> LeafState:
        own = tuple(slot for some in slots for slot in some)
        policy.check_slots(self.public_name, own)
        return policy.init(table, own)

    def init(self, params: Params) -> State:
        for link in self.links():
            if isinstance(link, HasMoments):
                check_paths(link.public_name, link.state_format, params)
        leaves, structure = tree.flatten(params)
        states = [
            self._init_leaf(policy, jnp.asarray(leaf), slots)
            if numerics.is_inexact(leaf)
            else LeafState(None)
            for leaf, policy, slots in zip(
                leaves, self.policies(params), self._slots_by_leaf(params), strict=True
            )
        ]
        empty = SparseAdamState(jnp.zeros((), jnp.int32), None, None, None)
        return empty.with_leaves(structure, states)

    def _check_leaf(
        self, params: Params, i: int, policy: Policy, leaf: LeafState, rule: RowRule
    ) -> None:
        """Raises for the state of another mode, whose moments might broadcast."""
        table = tree.flatten(params)[0][i]
        shape = jax.ShapeDtypeStruct(np.shape(table), jax.dtypes.result_type(table))
        own = jax.eval_shape(lambda t: self._init_leaf(policy, t, rule.slots), shape)
        if _form(leaf) != _form(own):
            path = quoted(leaf_paths(params)[i])
            raise ValueError(
                f"{self.public_name}: the state of the parameter {path} is not that of its mode "
                f"`{policy.name}`; was it made with other `modes`, another "
                "`state_format`, or with or without AMSGrad?"
            )

    def _rules(self, view: View, state: SparseAdamState) -> list[RowRule]:
        """The links with the numbers of this step, for every leaf."""
        links, number = self.links(), len(tree.flatten(view.params)[0])
        paths = [path for path, _ in tree.flatten_with_paths(view.params)]
        count = numerics.safe_increment(state.count)
        found = [link.scalars(view, state)[0] for link in links]
        columns = [s.leaves if isinstance(s, PerLeaf) else [s] * number for s in found]
        leaves = zip(
            zip(*columns, strict=True), self._slots_by_leaf(view.params), paths, strict=True
        )
        return [RowRule(links, own, slots, count, path) for own, slots, path in leaves]

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        changes, state, _ = self.update_averaged(updates, state, params, extra, None)
        return changes, state

    def update_averaged(
        self,
        updates: Updates,
        state: State,
        params: Params | None,
        extra: dict[str, Any],
        averages: Sequence[Average | None] | None,
    ) -> tuple[Updates, State, list[Any]]:
        """`update`, and the new states of averages beside the parameters, one for every leaf."""
        owner = self.public_name
        checks.check_state(owner, state, SparseAdamState, {"count": checks.COUNT})
        checks.require_params(owner, params)
        checks.check_match(owner, "gradients", updates, "parameters", params)
        first = next(slot for link in self.links() for slot in link.slots())
        check_slot(owner, first, state.mu, updates)
        gradients, structure = tree.flatten(updates)
        rules = self._rules(View(updates, params, extra), state)
        rows = zip(
            gradients,
            tree.flatten(params)[0],
            state.leaves(structure),
            self.policies(params),
            rules,
            [None] * len(gradients) if averages is None else averages,
            strict=True,
        )
        results = []
        for i, (g, p, leaf, policy, rule, average) in enumerate(rows):
            if not numerics.is_inexact(g):
                # Without an update the parameter stands still, and its average is paid later.
                results.append((g, leaf, None if average is None else average.state))
                continue
            self._check_leaf(params, i, policy, leaf, rule)
            table = jnp.asarray(p)
            g = policy.touched(g, leaf) if isinstance(g, SparseRows) else jnp.asarray(g)
            change, leaf, ema = policy.update(rule, g, leaf, table, average)
            results.append((change.astype(jnp.promote_types(g.dtype, table.dtype)), leaf, ema))
        changes, leaves, averaged = zip(*results, strict=True) if results else ((), (), ())
        state = state._replace(count=numerics.safe_increment(state.count))
        return structure.unflatten(changes), state.with_leaves(structure, leaves), list(averaged)

    def recipe_arguments(self) -> list[str]:
        modes = self.modes if isinstance(self.modes, str) else dict(self.modes)
        shown = super().recipe_arguments()
        return [f"modes={modes!r}" if item.startswith("modes=") else item for item in shown]


def _slots_of(links: Sequence[Link]) -> list[str]:
    return [slot.name for link in links for slot in link.slots()]


def _fits(link: Link) -> bool:
    """Whether the rule may run on some rows, and its state has a place beside the tables."""
    kept = {"count", *(slot.name for slot in link.slots())}
    alone = link.elementwise and not isinstance(link, Observer)
    return alone and {*link.state_type()._fields} <= kept


def _check_links(where: Where, value: object) -> GradientTransformation:
    tx = as_transformation(where, value)
    links: list[Link] = []
    for visit in walk(tx):
        link = visit.transformation
        if isinstance(link, Link) and _fits(link):
            links.append(link)
        elif not isinstance(link, LinkedTransformation):
            raise where.error(
                TypeError,
                "a chain of links that work element by element, such as `adamx.adamw(1e-3)`; put "
                "clips by norm in front and averages behind",
                link,
            )
    if _slots_of(links) not in _MOMENTS:
        raise where.error(
            TypeError,
            "a chain with one core that keeps `mu`, or `mu` and `nu` (and `nu_max`)",
            tx,
        )
    return tx


def _shared(tx: GradientTransformation, state: State) -> State:
    """The state of all links of a chain, which count their steps together, for each of them."""
    if not isinstance(tx, LinkedTransformation):
        return state
    return tx.join([_shared(link, state) for link in tx.links])


class Rows(RowsTransformation, name="sparse.rows"):
    """Steps the rows of a table that a batch has touched, by the rules of any chain.

    `sparse.adam(1e-3, modes)` is `sparse.rows(adamx.adam(1e-3), modes)`, and so are the others.

    Args:
      inner: a chain of links that work element by element, with one core that keeps two moments,
        or AMSGrad's three: `adamw`, `adabelief`, `yogi`, `radam` and the like.
      modes: see `sparse.adam`; mode `exact` follows Adam and AMSGrad with weight decay.

    Returns:
      A transformation with state `SparseAdamState(count, mu, nu, memory)`.

    Raises:
      TypeError: another kind of transformation in `inner`.
      ValueError: as `sparse.adam`.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.sparse.rows(adamx.adabelief(0.1), {"table": "lazy"})
      >>> params = {"bias": jnp.zeros(1), "table": jnp.zeros((4, 1))}
      >>> rows = adamx.SparseRows(jnp.array([2, 2]), jnp.ones((2, 1)), num_rows=4)
      >>> params, state = tx.step({"bias": jnp.ones(1), "table": rows}, tx.init(params), params)
      >>> [round(float(x), 3) for x in params["table"][:, 0]]
      [0.0, 0.0, -0.111, 0.0]
    """

    inner: GradientTransformation = fields.child(_check_links)
    modes: Any = fields.static(check_modes, default="lazy")

    def children(self) -> dict[str, GradientTransformation]:
        return {"inner": self.inner}

    def child_states(self, state: State) -> dict[str, State]:
        return {"inner": _shared(self.inner, state)}

    def init(self, params: Params) -> State:
        warn_of_lost_updates(self.public_name, params)
        return super().init(params)

    def links(self) -> tuple[Link, ...]:
        found = (visit.transformation for visit in walk(self.inner))
        return tuple(link for link in found if isinstance(link, Link))


rows = Rows
