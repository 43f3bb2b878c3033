"""Adam, AdamW and AMSGrad for trees that hold large tables beside dense parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.adam.formula import corrections
from adamx.core import fields, numerics, tree
from adamx.core.fields import Where
from adamx.core.hyperparameter import Hyperparameter, ScalarOrSchedule, hyperparameter, resolve
from adamx.core.mask import Mask, resolve_mask
from adamx.core.mask import mask as mask_field
from adamx.core.rows import SparseRows
from adamx.core.transformation import Params, State, Updates
from adamx.sparse.exact import Exact
from adamx.sparse.modes import Dense, Lazy, Mode, Rowwise, Step
from adamx.sparse.pieces import Gradient, LeafState
from adamx.transforms.paths import check_patterns, first_match, leaf_paths, near_misses
from adamx.transforms.scaling import HasLearningRate

MODES: dict[str, Callable[[bool], Mode]] = {
    "dense": Dense,
    "lazy": Lazy,
    "exact": Exact,
    "rowwise": Rowwise,
}

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

    def flush(self, params: Params) -> tuple[Params, SparseAdamState]:
        """Parameters and state with nothing left to be paid."""
        leaves, structure = tree.flatten(params)
        rows = []
        for p, *column in zip(leaves, *map(structure.flatten_up_to, self[1:]), strict=True):
            leaf = LeafState(*column)
            if hasattr(leaf.memory, "flush"):
                p, leaf = leaf.memory.flush(jnp.asarray(p), leaf.mu, leaf.nu)
            rows.append((p, *leaf))
        columns = zip(*rows, strict=True) if rows else [()] * 4
        params, *moments = map(structure.unflatten, columns)
        return params, SparseAdamState(self.count, *moments)

    def current_params(self, params: Params) -> Params:
        """The parameters as they would be in mode `dense`, where the mode is `exact`."""
        return self.flush(params)[0]


class SparseAdamTransformation(HasLearningRate, abstract=True):
    """Every parameter steps in the mode that is chosen by its path; learning rate included."""

    amsgrad: ClassVar[bool] = False

    modes: Modes = fields.static(_check_modes)
    b1: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    b2: Hyperparameter = hyperparameter(fields.DECAY_RATE)
    eps: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    eps_root: Hyperparameter = hyperparameter(fields.NONNEGATIVE)
    mu_dtype: str | None = fields.dtype()
    nu_dtype: str | None = fields.dtype()
    eps_hat: bool = fields.switch()

    def check_together(self) -> None:
        names = [self.modes] if isinstance(self.modes, str) else [name for _, name in self.modes]
        for name in dict.fromkeys(names):
            MODES[name](self.amsgrad).check(self.public_name, self.b1, self.b2, self.eps_root)

    def puts_off_updates(self) -> bool:
        return "exact" in (
            [self.modes] if isinstance(self.modes, str) else dict(self.modes).values()
        )

    def weight_decay_at(self, count: chex.Array) -> Any:
        """The decoupled weight decay at the 0-based step `count`; exactly 0.0 for none."""
        return 0.0

    def decaying(self, params: Params) -> list[bool]:
        """Which of the leaves decay."""
        return [False] * len(tree.flatten(params)[0])

    def _modes_of(self, params: Params) -> list[Mode]:
        """One for every leaf; those that are not trained are not asked."""
        leaves, _ = tree.flatten(params)
        dense = MODES["dense"](self.amsgrad)
        if isinstance(self.modes, str):
            mode = MODES[self.modes](self.amsgrad)
            return [mode if np.ndim(leaf) else dense for leaf in leaves]
        # Inside a group, the parameters of the others are None: a pattern for them is a mistake.
        present = [i for i, leaf in enumerate(leaves) if leaf is not None]
        paths = leaf_paths(params)
        patterns = tuple(pattern for pattern, _ in self.modes)
        matches = first_match(self.public_name, patterns, [paths[i] for i in present])
        modes = [dense] * len(leaves)
        for i, match in zip(present, matches, strict=True):
            if match is not None and np.ndim(leaves[i]):  # A number has no rows.
                modes[i] = MODES[self.modes[match][1]](self.amsgrad)
        return modes

    def init(self, params: Params) -> State:
        leaves, structure = tree.flatten(params)
        states = [
            mode.init(jnp.asarray(leaf), self.mu_dtype, self.nu_dtype)
            if numerics.is_inexact(leaf)
            else LeafState(None, None)
            for leaf, mode in zip(leaves, self._modes_of(params), strict=True)
        ]
        columns = zip(*states, strict=True) if states else ([], [], [])
        return SparseAdamState(jnp.zeros((), jnp.int32), *map(structure.unflatten, columns))

    def _check_leaf(self, params: Params, i: int, mode: Mode, leaf: LeafState) -> None:
        """Raises for the state of another mode, whose moments might broadcast."""
        table = tree.flatten(params)[0][i]
        own = jax.eval_shape(
            lambda t: mode.init(t, self.mu_dtype, self.nu_dtype),
            jax.ShapeDtypeStruct(np.shape(table), jax.dtypes.result_type(table)),
        )
        if _shapes(leaf) != _shapes(own):
            raise ValueError(
                f"{self.public_name}: the state of the parameter {leaf_paths(params)[i]!r} is not "
                f"that of its mode `{type(mode).__name__.lower()}`; was it made with other "
                "`modes`, or with or without AMSGrad?"
            )

    def _step(self, count: chex.Array) -> Step:
        """The numbers of the step after `count` steps."""

        def at(name: str) -> Any:
            return resolve(getattr(self, name), count, f"{self.public_name}: {name}")

        after = numerics.safe_increment(count)
        numbers = (at(name) for name in ("b1", "b2", "eps", "eps_root"))
        return Step(
            count=after,
            corrections=corrections(after, *numbers, eps_hat=self.eps_hat),
            learning_rate=at("learning_rate"),
            weight_decay=self.weight_decay_at(count),
        )

    def update(
        self,
        updates: Updates,
        state: State,
        params: Params | None = None,
        *,
        before_writing: Callable[[int, Gradient], Gradient] | None = None,
        **extra: Any,
    ) -> tuple[Updates, State]:
        """As everywhere.  `before_writing(i, gradient)` sees the rows that the step will write of
        parameter i, counted as the tree's leaves are, and may return the same made otherwise.
        """
        owner = self.public_name
        tree.check_state(owner, state, SparseAdamState)
        tree.require_params(owner, params)
        tree.check_match(owner, "gradients", updates, "parameters", params)
        tree.check_match(owner, "gradients", updates, "optimizer state", state.mu)
        step = self._step(state.count)
        gradients, structure = tree.flatten(updates)
        parameters, _ = tree.flatten(params)
        columns = map(structure.flatten_up_to, state[1:])
        results = []
        modes, decaying = self._modes_of(params), self.decaying(params)
        for i, (g, p, *column) in enumerate(zip(gradients, parameters, *columns, strict=True)):
            leaf = LeafState(*column)
            if not numerics.is_inexact(g):
                results.append((g, *leaf))
                continue
            self._check_leaf(params, i, modes[i], leaf)
            table = jnp.asarray(p)
            g = modes[i].touched(g, leaf) if isinstance(g, SparseRows) else jnp.asarray(g)
            if before_writing is not None:
                g = before_writing(i, g)
            own = step if decaying[i] else step._replace(weight_decay=0.0)
            change, leaf = modes[i].update(own, g, leaf, table)
            results.append((change.astype(jnp.promote_types(g.dtype, table.dtype)), *leaf))
        changes, *states = zip(*results, strict=True) if results else [()] * 4
        count = numerics.safe_increment(state.count)
        return structure.unflatten(changes), SparseAdamState(
            count, *map(structure.unflatten, states)
        )

    def recipe_arguments(self) -> list[str]:
        modes = self.modes if isinstance(self.modes, str) else dict(self.modes)
        shown = super().recipe_arguments()
        return [f"modes={modes!r}" if item.startswith("modes=") else item for item in shown]


class SparseAdam(SparseAdamTransformation, name="sparse.adam"):
    """p - learning_rate * m_hat / (sqrt(v_hat + eps_root) + eps), row by row."""


class SparseAmsgrad(SparseAdamTransformation, name="sparse.amsgrad"):
    """As `sparse.adam`, with the largest v_hat so far."""

    amsgrad = True


class SparseAdamw(SparseAdamTransformation, name="sparse.adamw"):
    """As `sparse.adam`, with decoupled weight decay of the rows that step."""

    weight_decay: Hyperparameter = hyperparameter(fields.NONNEGATIVE, kw_only=True)
    mask: Mask = mask_field()

    def weight_decay_at(self, count: chex.Array) -> Any:
        return resolve(self.weight_decay, count, f"{self.public_name}: weight_decay")

    def decaying(self, params: Params) -> list[bool]:
        selected: list[bool] = tree.flatten(resolve_mask(self.public_name, self.mask, params))[0]
        return selected


def adam(
    learning_rate: ScalarOrSchedule,
    modes: str | Mapping[str, str] = "lazy",
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nu_dtype: Any = None,
    eps_hat: bool = False,
) -> SparseAdam:
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
    return SparseAdam.checked(
        learning_rate=learning_rate,
        modes=modes,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        nu_dtype=nu_dtype,
        eps_hat=eps_hat,
    )


def adamw(
    learning_rate: ScalarOrSchedule,
    modes: str | Mapping[str, str] = "lazy",
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    nu_dtype: Any = None,
    eps_hat: bool = False,
) -> SparseAdamw:
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
    return SparseAdamw.checked(
        learning_rate=learning_rate,
        modes=modes,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        weight_decay=weight_decay,
        mask=mask,
        nu_dtype=nu_dtype,
        eps_hat=eps_hat,
    )


def amsgrad(
    learning_rate: ScalarOrSchedule,
    modes: str | Mapping[str, str] = "lazy",
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nu_dtype: Any = None,
    eps_hat: bool = False,
) -> SparseAmsgrad:
    """AMSGrad for tables: `sparse.adam` with the largest second moment so far.

        p <- p - learning_rate * m_hat / (sqrt(max over time of v_hat + eps_root) + eps)

    In mode `lazy` and `rowwise` the maximum is over the steps that touched the row.

    Args:
      learning_rate, modes, b1, b2, eps, eps_root, mu_dtype, nu_dtype, eps_hat: see `sparse.adam`.

    Raises:
      ValueError, TypeError: as `sparse.adam`.

    Reference:
      Reddi, Kale & Kumar, On the Convergence of Adam and Beyond, 2018, Algorithm 2.

    Example:
      >>> import adamx
      >>> adamx.sparse.amsgrad(1e-3, "dense").modes
      'dense'
    """
    return SparseAmsgrad.checked(
        learning_rate=learning_rate,
        modes=modes,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        nu_dtype=nu_dtype,
        eps_hat=eps_hat,
    )
