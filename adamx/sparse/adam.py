"""Adam, AdamW and AMSGrad for trees that hold large tables beside dense parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import ScalarOrSchedule
from adamx.core.link import Link, PerLeaf, View
from adamx.core.mask import mask as mask_field
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.core.transformation import Params, State, Updates
from adamx.family.adam import ScaleByAdam
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.sparse.exact import Exact, StaleRows
from adamx.sparse.policies import Average, Dense, Lazy, LeafState, RowRule, Rowwise
from adamx.transforms.paths import check_patterns, first_match, leaf_paths, near_misses
from adamx.transforms.scaling import HasLearningRate, ScaleByLearningRate
from adamx.transforms.weight_decay import AddDecayedWeights

MODES: dict[str, Lazy] = {policy.name: policy for policy in (Dense(), Lazy(), Exact(), Rowwise())}

Modes: TypeAlias = str | tuple[tuple[str, str], ...]


def _check_mode(where: Where, mode: Any) -> str:
    if not isinstance(mode, str):
        raise where.error(TypeError, "the name of a mode, or a dict from patterns to them", mode)
    if mode not in MODES:
        raise ValueError(f"{where.owner}: unknown mode {mode!r}; {near_misses(mode, MODES)}")
    return mode


def _check_modes(where: Where, value: Any) -> Modes:
    if isinstance(value, str):
        return _check_mode(where, value)
    if not isinstance(value, (Mapping, tuple, list)):
        raise where.error(TypeError, "the name of a mode, or a dict from patterns to them", value)
    rules = [*(value.items() if isinstance(value, Mapping) else value)]
    patterns = check_patterns(where, [pattern for pattern, _ in rules])
    return tuple(zip(patterns, (_check_mode(where, mode) for _, mode in rules), strict=True))


def _shapes(leaf: LeafState) -> tuple[Any, list[tuple[int, ...]]]:
    """The form of a state, whatever its dtypes."""
    leaves, structure = jax.tree.flatten(leaf)
    return structure, [np.shape(x) for x in leaves]


class SparseAdamState(NamedTuple):
    """The moments of Adam, and what the modes remember beside them."""

    count: chex.Array  # int32[], steps taken
    mu: Updates  # first moment, like the parameters; None where nothing is trained
    nu: Updates  # second moment, like the parameters but real; [num_rows] in mode `rowwise`
    memory: Any  # per parameter: the mode's own, None if it needs nothing

    def leaves(self, structure: Any) -> list[LeafState]:
        """What is remembered about every parameter, in order."""
        columns = map(structure.flatten_up_to, self[1:])
        return [LeafState(*column) for column in zip(*columns, strict=True)]

    def with_leaves(self, structure: Any, leaves: Sequence[LeafState]) -> SparseAdamState:
        """The state with others."""
        columns = zip(*leaves, strict=True) if leaves else ([], [], [])
        return SparseAdamState(self.count, *map(structure.unflatten, columns))

    def flush(self, params: Params) -> tuple[Params, SparseAdamState]:
        """Parameters and state without stale rows."""
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
        return self.flush(params)[0]


class RowsTransformation(HasLearningRate, abstract=True):
    """Links whose rules run on the rows that a policy chooses, parameter by parameter."""

    @property
    def modes(self) -> Modes:
        """The name of a policy, or pairs of a pattern and a name: a field of every optimizer."""
        raise NotImplementedError(type(self).__name__)

    def links(self) -> tuple[Link, ...]:
        """What a row goes through, from its gradient to its change."""
        raise NotImplementedError(type(self).__name__)

    def check_together(self) -> None:
        for name in dict.fromkeys(self._names()):
            MODES[name].check(self.public_name, self.links())

    def _names(self) -> list[str]:
        return [self.modes] if isinstance(self.modes, str) else [name for _, name in self.modes]

    def defers_updates(self) -> bool:
        return "exact" in self._names()

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("mu"), Slot("nu"), Slot("memory"))

    def policies(self, params: Params) -> list[Lazy]:
        """One for every leaf; those that are not trained are not asked."""
        leaves, _ = tree.flatten(params)
        if isinstance(self.modes, str):
            return [MODES[self.modes if np.ndim(leaf) else "dense"] for leaf in leaves]
        # Inside a group, the parameters of the others are None: a pattern for them is a mistake.
        present = [i for i, leaf in enumerate(leaves) if leaf is not None]
        paths = leaf_paths(params)
        patterns = tuple(pattern for pattern, _ in self.modes)
        matches = first_match(self.public_name, patterns, [paths[i] for i in present])
        policies = [MODES["dense"]] * len(leaves)
        for i, match in zip(present, matches, strict=True):
            if match is not None and np.ndim(leaves[i]):  # A number has no rows.
                policies[i] = MODES[self.modes[match][1]]
        return policies

    def _init_leaf(self, policy: Lazy, table: Any) -> LeafState:
        return policy.init(table, tuple(slot for link in self.links() for slot in link.slots()))

    def init(self, params: Params) -> State:
        leaves, structure = tree.flatten(params)
        states = [
            self._init_leaf(policy, jnp.asarray(leaf))
            if numerics.is_inexact(leaf)
            else LeafState(None, None)
            for leaf, policy in zip(leaves, self.policies(params), strict=True)
        ]
        empty = SparseAdamState(jnp.zeros((), jnp.int32), None, None, None)
        return empty.with_leaves(structure, states)

    def _check_leaf(self, params: Params, i: int, policy: Lazy, leaf: LeafState) -> None:
        """Raises for the state of another mode, whose moments might broadcast."""
        table = tree.flatten(params)[0][i]
        shape = jax.ShapeDtypeStruct(np.shape(table), jax.dtypes.result_type(table))
        own = jax.eval_shape(lambda t: self._init_leaf(policy, t), shape)
        if _shapes(leaf) != _shapes(own):
            raise ValueError(
                f"{self.public_name}: the state of the parameter {leaf_paths(params)[i]!r} is not "
                f"that of its mode `{policy.name}`; was it made with other `modes`, or with or "
                "without AMSGrad?"
            )

    def _rules(self, view: View, state: SparseAdamState) -> list[RowRule]:
        """The links with the numbers of this step, for every leaf."""
        links, number = self.links(), len(tree.flatten(view.params)[0])
        count = numerics.safe_increment(state.count)
        found = [link.scalars(view, state)[0] for link in links]
        columns = [s.leaves if isinstance(s, PerLeaf) else [s] * number for s in found]
        return [RowRule(links, own, count) for own in zip(*columns, strict=True)]

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
        tree.check_state(owner, state, SparseAdamState)
        tree.require_params(owner, params)
        tree.check_match(owner, "gradients", updates, "parameters", params)
        tree.check_match(owner, "gradients", updates, "optimizer state", state.mu)
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
            self._check_leaf(params, i, policy, leaf)
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


def _core(core: type[Any], of: Any, **switches: bool) -> Link:
    """The core of an optimizer whose fields have the same names."""
    names = ("b1", "b2", "eps", "eps_root", "mu_dtype", "nu_dtype", "eps_hat")
    built: Link = core(**{name: getattr(of, name) for name in names}, **switches)
    return built


class SparseAdam(RowsTransformation, name="sparse.adam"):
    """Adam that steps the rows of a table which a batch has touched, and dense parameters too.

        m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) |g|**2
        p <- p - learning_rate * m_hat / (sqrt(v_hat + eps_root) + eps)

    for the rows of a gradient that is `SparseRows`; bias corrections use the number of steps taken
    in all.  What becomes of the other rows is the mode's:

    - `dense`: they step with a gradient of 0, at the cost of the whole table (TensorFlow's Adam);
    - `lazy`: nothing (torch `SparseAdam`, TensorFlow Addons `LazyAdam`);
    - `exact`: what `dense` does to them, paid when they are next read: see `sparse.flush`;
    - `rowwise`: nothing, and v is one number per row, the average of the mean of |g|**2 over the
      row (FBGEMM's partial row-wise Adam).

    A gradient that is an array touches every row: that is the ordinary Adam, except in `rowwise`.
    It is a whole optimizer, learning rate and decay included; links that clip go in front of it.
    With mode `exact`, no link that changes updates may be behind it.

    Args:
      learning_rate: a number >= 0, a scalar array, or a schedule of the 0-based step count.
      modes: the name of a mode for all parameters; or a dict from patterns to modes, in which the
        first pattern that is found in a parameter's path decides, as in `label_by_path`, and the
        others are `dense`.
      b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `scale_by_adam`.

    Returns:
      A transformation with state `SparseAdamState(count, mu, nu, memory)`; updates are
      `SparseRows` where gradients are, but in mode `dense`.

    Raises:
      ValueError: a number outside its range, or with which a mode does not work; an unknown mode;
        not a regular expression.  At `init` and `update`: a pattern that is found in no path; no
        `params`; gradients of another structure or shape.
      TypeError: an argument of the wrong kind; at `update`, another optimizer's state.

    Reference:
      Kingma & Ba, Adam, 2015, Algorithm 1.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.sparse.adam(0.1, {"table": "lazy"})
      >>> params = {"bias": jnp.zeros(1), "table": jnp.zeros((4, 1))}
      >>> rows = adamx.SparseRows(jnp.array([2, 2]), jnp.ones((2, 1)), num_rows=4)
      >>> params, state = tx.step({"bias": jnp.ones(1), "table": rows}, tx.init(params), params)
      >>> params["table"].ravel().round(3)
      Array([ 0. ,  0. , -0.1,  0. ], dtype=float32)
    """

    modes: Any = fields.static(_check_modes, default="lazy")
    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-8)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: Any = fields.dtype(default=None)
    nu_dtype: Any = fields.dtype(default=None, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)

    def links(self) -> tuple[Link, ...]:
        return _core(ScaleByAdam, self), ScaleByLearningRate(self.learning_rate)


class SparseAdamw(RowsTransformation, name="sparse.adamw"):
    """AdamW for tables: `sparse.adam` with decoupled weight decay.

        p <- p - learning_rate * (m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay * p)

    In modes `lazy` and `rowwise` only touched rows decay, in `dense` and `exact` all do.

    Args:
      learning_rate, modes, b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `sparse.adam`.
      weight_decay, mask: see `add_decayed_weights`.

    Raises:
      ValueError, TypeError: as `sparse.adam`.

    Reference:
      Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.sparse.adamw(1e-3, {"embed": "exact"}, weight_decay=0.1).modes
      (('embed', 'exact'),)
    """

    modes: Any = fields.static(_check_modes, default="lazy")
    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-8)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: Any = fields.dtype(default=None)
    weight_decay: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-4)
    mask: Any = mask_field(default=None)
    nu_dtype: Any = fields.dtype(default=None, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)

    def links(self) -> tuple[Link, ...]:
        return (
            _core(ScaleByAdam, self),
            AddDecayedWeights(self.weight_decay, self.mask),
            ScaleByLearningRate(self.learning_rate),
        )


class SparseAmsgrad(RowsTransformation, name="sparse.amsgrad"):
    """AMSGrad for tables: `sparse.adam` with the largest second moment so far.

        p <- p - learning_rate * m_hat / (sqrt(max over time of v_hat + eps_root) + eps)

    In mode `lazy` and `rowwise` the maximum is over the steps that touched the row.

    Args:
      learning_rate, modes, b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `sparse.adam`.
      raw_maximum: see `scale_by_amsgrad`; not in mode `exact`.

    Raises:
      ValueError, TypeError: as `sparse.adam`.

    Reference:
      Reddi, Kale & Kumar, On the Convergence of Adam and Beyond, 2018, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.sparse.amsgrad(1e-3, "dense").modes
      'dense'
    """

    modes: Any = fields.static(_check_modes, default="lazy")
    b1: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.9)
    b2: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.999)
    eps: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=1e-8)
    eps_root: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE, default=0.0)
    mu_dtype: Any = fields.dtype(default=None)
    raw_maximum: bool = fields.switch(default=False, kw_only=True)
    nu_dtype: Any = fields.dtype(default=None, kw_only=True)
    eps_hat: bool = fields.switch(default=False, kw_only=True)

    def links(self) -> tuple[Link, ...]:
        core = _core(ScaleByAmsgrad, self, raw_maximum=self.raw_maximum)
        return core, ScaleByLearningRate(self.learning_rate)


adam = SparseAdam
adamw = SparseAdamw
amsgrad = SparseAmsgrad
