"""Optimizer states from optax and to optax: a run begun there goes on here, and the way back.

A *transformation* of ours becomes optax's own pair by `to_optax(tx)`.  One of optax cannot be
converted, as its numbers are hidden in closures: write the recipe again with the same names
(`optax.adamw(...)` is `adamx.adamw(...)`) or use it unchanged as a link of `adamx.chain`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, numerics
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.transformation import GradientTransformation, Params, State
from adamx.family.adamax import ScaleByAdamax
from adamx.family.amsgrad import ScaleByAmsgrad
from adamx.interop.leaves import check_paths, fit, fit_tree
from adamx.interop.optax_pair import as_pair
from adamx.interop.states import (
    Move,
    Node,
    check_ignored,
    class_name,
    every_class,
    map_nodes,
    nodes,
    parts,
)
from adamx.wrappers.accumulation import MultiSteps

if TYPE_CHECKING:
    import optax

_COUNTER = "ScaleByScheduleState"
# Classes of optax whose counterpart has another name and the same fields.
_SAME = {
    frozenset({"ScaleByBeliefState", "ScaleByAdamState"}),
    frozenset({"WeightDecaySchedule", _COUNTER}),
}
# Which links of ours go with a state of optax, where its class tells.
_MADE_BY = {
    "ScaleByBeliefState": {"scale_by_belief"},
    "ScaleByAdamState": {
        "scale_by_adam",
        "scale_by_adamax",
        "scale_by_adopt",
        "scale_by_radam",
        "scale_by_yogi",
    },
}


def from_optax(
    tx: GradientTransformation, optax_state: Any, params: Params, ignore: Sequence[str] = ()
) -> State:
    """The state of `tx` that goes on where a run with optax stopped.

    `tx` must be the same recipe as the optax transformation that made `optax_state`; chains may be
    nested differently, and the parameters may be in other containers.  Every number of the optax
    state must find its place and every place its number:

      moments, counts, averages    as they are, in the dtypes that `tx.init` gives them: optax's
                                   moments of 16-bit parameters become float32, exactly
      `masked`, `multi_transform`  by label; optax's `MaskedNode` is `None` here
      `MultiSteps`                 the running mean of the gradients becomes their sum
      `apply_if_finite`            `notfinite_count` and `total_notfinite` become
                                   `skipped_in_a_row` and `skipped_steps`
      `inject_hyperparams`         the hyperparameters and the counts of their schedules

    States look alike for `adam`, `nadam`, `adamax`, `radam`, `yogi` and `adopt`, in optax, too:
    that `tx` is the right one of these nothing can check.

    Args:
      tx: the transformation to go on with.
      optax_state: its state in optax, or the part of it that `tx` stands for.
      params: the parameters that `tx.init` would be given.
      ignore: names of state classes that only one side has.  In the optax state such a part is
        left behind (of a wrapper only what it adds); in the state of `tx` it starts afresh.

    Returns:
      A state for `tx.update`, in memory of its own, placed as `tx.init(params)` is.

    Raises:
      ValueError: parts or leaves on one side only, another shape, another AMSGrad; a negative
        count or second moment.
      TypeError: a part that was made by another transformation, another kind of dtype.

    Example:
      >>> import adamx, jax.numpy as jnp, optax
      >>> from adamx.interop.optax import from_optax
      >>> params = {"w": jnp.ones(2)}
      >>> theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
      >>> _, state = theirs.update(params, theirs.init(params))
      >>> tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adam(0.1))
      >>> int(from_optax(tx, state, params)[1][0].count)
      1
    """
    owner = "from_optax"
    checks.check_depth(owner, optax_state)
    target = as_transformation(Where(owner, "tx"), tx).init(params)
    check_ignored(owner, ignore, optax_state, target)
    _check_maker(owner, tx, optax_state, ignore)
    return Move(owner, ignore, functools.partial(_special, tx)).states(optax_state, target)


@overload
def to_optax(
    tx: GradientTransformation, *, optax_states: bool = False
) -> optax.GradientTransformationExtraArgs: ...
@overload
def to_optax(
    tx: GradientTransformation, state: State, template: Any, ignore: Sequence[str] = ()
) -> Any: ...
def to_optax(
    tx: GradientTransformation,
    state: State = None,
    template: Any = None,
    ignore: Sequence[str] = (),
    *,
    optax_states: bool = False,
) -> Any:
    """The transformation as optax's own pair, or with `state` the state that goes on in optax.

    `to_optax(tx)` is for code that asks for optax's class instead of calling `init` and `update`:

      numpyro's `SVI`, and whatever checks `isinstance(tx, optax.GradientTransformation)`
      `optax.chain`, `masked`, `multi_transform`, `MultiSteps` with an extra argument (`value=`):
        optax drops extra arguments of whatever is not its own, so that a guard would not see them
      `tx[0]`, `len(tx)` and typed arguments `tx: optax.GradientTransformation`
      look-ups of a state by its class (`optax.ScaleByAdamState`): with `optax_states=True`

    Everything else, flax's `TrainState` and optax's wrappers without extra arguments included,
    takes `tx` as it is.

    `to_optax(tx, state, template)` is the inverse of `from_optax`: the optax state that goes on
    where a run with `tx` stopped.

    Args:
      tx: the transformation, or the one that made `state`.
      state: its state.
      template: `optax_tx.init(params)`, for the structure, the dtypes and the placement; 16-bit
        moments there mean rounding.
      ignore: as in `from_optax`; what only the template has keeps the template's numbers.
      optax_states: whether the pair's states are of optax's classes, where optax has one of the
        same name and fields (those of the Adam family, schedules, masks, groups); else ours.

    Returns:
      An `optax.GradientTransformationExtraArgs`; with `state`, a state like `template`.

    Raises:
      TypeError: `tx` is no transformation of adamx, `optax_states` no boolean; a state without a
        template; otherwise as `from_optax`.
      ValueError: as `from_optax`.

    Example:
      >>> import adamx, jax.numpy as jnp, optax
      >>> from adamx.interop.optax import to_optax
      >>> params = {"w": jnp.ones(2)}
      >>> tx = adamx.adamw(0.1)
      >>> pair = to_optax(tx, optax_states=True)
      >>> isinstance(pair, optax.GradientTransformation), type(pair.init(params)[0]).__module__
      (True, 'optax._src.transform')
      >>> _, state = tx.update(params, tx.init(params), params)
      >>> int(to_optax(tx, state, optax.adamw(0.1).init(params))[0].count)
      1
    """
    owner = "to_optax"
    if state is None and template is None:
        return as_pair(owner, tx, optax_states)
    if state is None or template is None:
        raise TypeError(
            f"{owner}: `state` and `template` go together: `to_optax(tx, state, "
            "optax_tx.init(params))`; `to_optax(tx)` alone gives the transformation"
        )
    checks.check_depth(owner, (state, template))
    check_ignored(owner, ignore, state, template)
    _check_maker(owner, tx, template, ignore)
    return Move(owner, ignore, functools.partial(_special, tx)).states(state, template)


def _check_maker(owner: str, tx: Any, optax_state: Any, ignore: Sequence[str]) -> None:
    """Raises where the classes of the optax state tell that `tx` is another recipe."""
    links = list(parts(tx))
    names = {link.public_name for link in links}
    found = every_class(optax_state) - set(ignore)
    told_apart = names & set().union(*_MADE_BY.values())
    for theirs, ours in _MADE_BY.items():
        if theirs in found and told_apart and not ours & names:
            raise TypeError(
                f"{owner}: optax's {theirs} goes with {' or '.join(sorted(ours))}, but `tx` has "
                f"{', '.join(sorted(told_apart))}"
            )
    if "ScaleByAmsgradState" in found and any(
        isinstance(link, ScaleByAmsgrad) and link.raw_maximum for link in links
    ):
        raise ValueError(
            f"{owner}: optax keeps the maximum of the corrected second moments; use "
            "`scale_by_amsgrad` without `raw_maximum`"
        )
    if "ScaleByAdamState" in found and any(
        isinstance(link, ScaleByAdamax) and link.eps_outside for link in links
    ):
        raise ValueError(
            f"{owner}: optax keeps eps inside the maximum of AdaMax; use `scale_by_adamax` without "
            "`eps_outside`"
        )


def _special(tx: Any, source: Node, target: Node, move: Move) -> Any:
    """The target node where two classes mean the same in different fields, else None."""
    pair = (class_name(source.value), class_name(target.value))
    if frozenset(pair) in _SAME:
        return move.fields(source, target, source.value._fields)
    rule = _RULES.get(pair)
    alike = getattr(source.value, "_fields", None) == getattr(target.value, "_fields", None)
    return None if rule is None or alike else rule(tx, source, target, move)


def _multi_steps(tx: Any, source: Node, target: Node, move: Move) -> Any:
    """optax keeps the running mean of the gradients, we keep their sum."""
    to_sum = hasattr(source.value, "skip_state")
    theirs = source if to_sum else target
    if jax.tree.leaves(theirs.value.skip_state):
        raise TypeError(
            f"{move.owner}: {theirs} has a `skip_state`, which `multi_steps` has not; guard the "
            "step with `apply_if_finite` or `skip_spikes` instead"
        )
    switches = {link.use_grad_mean for link in parts(tx) if isinstance(link, MultiSteps)}
    if len(switches) != 1:
        raise ValueError(f"{move.owner}: all `multi_steps` in `tx` must have one `use_grad_mean`")
    factor = 1.0
    if switches == {True}:
        gathered = float(fit(move.owner, "mini_step", source.value.mini_step, np.int32(0)))
        factor = gathered if to_sum else 1.0 / max(gathered, 1.0)
    total = jax.tree.map(lambda x: numerics.widen(jnp.asarray(x)) * factor, source.value.acc_grads)
    scaled = Node(source.path, source.value._replace(acc_grads=total))
    names = ("mini_step", "gradient_step", "inner_opt_state", "acc_grads")
    return move.fields(scaled, target, names)


def _from_finite(tx: Any, source: Node, target: Node, move: Move) -> Any:
    theirs, ours = source.value, target.value
    if ours.statistics != ():
        raise TypeError(
            f"{move.owner}: {source} goes with `apply_if_finite`, not with another guard"
        )
    in_a_row, skipped = theirs.notfinite_count, theirs.total_notfinite
    return ours._replace(
        skipped_in_a_row=fit(move.owner, "notfinite_count", in_a_row, ours.skipped_in_a_row),
        skipped_steps=fit(move.owner, "total_notfinite", skipped, ours.skipped_steps),
        inner_state=move.field(source, target, "inner_state"),
    )


def _to_finite(tx: Any, source: Node, target: Node, move: Move) -> Any:
    ours, theirs = source.value, target.value
    if ours.statistics != ():
        raise TypeError(
            f"{move.owner}: {source} is not of `apply_if_finite`; optax has no such guard"
        )
    in_a_row = np.asarray(ours.skipped_in_a_row)
    return theirs._replace(
        notfinite_count=fit(move.owner, "skipped_in_a_row", in_a_row, theirs.notfinite_count),
        last_finite=fit(move.owner, "skipped_in_a_row", in_a_row == 0, theirs.last_finite),
        total_notfinite=fit(
            move.owner, "skipped_steps", ours.skipped_steps, theirs.total_notfinite
        ),
        inner_state=move.field(source, target, "inner_state"),
    )


def _check_counts(move: Move, source: Node, theirs: Any) -> None:
    """One step count for all schedules: ours has no other."""
    count = np.asarray(theirs.count)
    for name, state in theirs.hyperparams_states.items():
        if not np.array_equal(np.asarray(state.count), count):
            raise ValueError(
                f"{move.owner}: in {source} the schedule of {name!r} is at step "
                f"{np.asarray(state.count)}, all at {count}"
            )


def _inner_counted(move: Move, source: Node, target: Node, count: Any) -> Any:
    """The inner state; ours counts in it for its schedules, optax beside it."""
    ours, theirs = (nodes(node.value.inner_state) for node in (source, target))
    if (_COUNTER in map(_node_class, ours)) == (_COUNTER in map(_node_class, theirs)):
        return move.field(source, target, "inner_state")

    def counted(node: Node) -> Any:
        if _node_class(node) != _COUNTER:
            return node.value
        return node.value._replace(count=fit(move.owner, "count", count, node.value.count))

    inner = map_nodes(counted, target.value.inner_state)
    move = move._replace(ignore=(*move.ignore, _COUNTER))
    target = Node(target.path, target.value._replace(inner_state=inner))
    return move.field(source, target, "inner_state")


def _node_class(node: Node) -> str:
    return class_name(node.value)


def _from_injected(tx: Any, source: Node, target: Node, move: Move) -> Any:
    theirs, ours = source.value, target.value
    check_paths(
        move.owner,
        "optax's `hyperparams`",
        theirs.hyperparams,
        {**ours.hyperparams, **ours.scheduled},
    )
    check_paths(
        move.owner, "optax's `hyperparams_states`", theirs.hyperparams_states, ours.scheduled
    )
    _check_counts(move, source, theirs)

    def values(like: Any) -> Any:
        given = {name: theirs.hyperparams[name] for name in like}
        return fit_tree(move.owner, given, like, "hyperparams")

    return ours._replace(
        count=fit(move.owner, "count", theirs.count, ours.count),
        hyperparams=values(ours.hyperparams),
        scheduled=values(ours.scheduled),
        inner_state=_inner_counted(move, source, target, theirs.count),
    )


def _to_injected(tx: Any, source: Node, target: Node, move: Move) -> Any:
    ours, theirs = source.value, target.value
    values = {**ours.hyperparams, **ours.scheduled}
    check_paths(move.owner, "our `scheduled`", ours.scheduled, theirs.hyperparams_states)
    states = {
        name: state._replace(count=fit(move.owner, "count", ours.count, state.count))
        for name, state in theirs.hyperparams_states.items()
    }
    return theirs._replace(
        count=fit(move.owner, "count", ours.count, theirs.count),
        hyperparams=fit_tree(move.owner, values, theirs.hyperparams, "hyperparams"),
        hyperparams_states=states,
        inner_state=_inner_counted(move, source, target, ours.count),
    )


_INJECTED = ("InjectStatefulHyperparamsState", "InjectHyperparamsState")
_RULES: dict[tuple[str, str], Callable[[Any, Node, Node, Move], Any]] = {
    ("MultiStepsState", "MultiStepsState"): _multi_steps,
    ("ApplyIfFiniteState", "GuardState"): _from_finite,
    ("GuardState", "ApplyIfFiniteState"): _to_finite,
    _INJECTED: _from_injected,
    _INJECTED[::-1]: _to_injected,
}
