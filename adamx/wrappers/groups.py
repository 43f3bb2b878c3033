"""Different recipes for different parameters.

A transformation that gets some of the parameters sees the whole tree with `None` in the other
places, which is how a leaf that is not trained looks everywhere: there are no placeholders.
Which parameters those are is decided while tracing; the compiled step selects nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax

from adamx.core import checks, compat, fields, tree
from adamx.core.fields import Where
from adamx.core.foreign import as_transformation
from adamx.core.link import Link, PerLeaf, View
from adamx.core.mask import FrozenTree, MaskLike, resolve_mask
from adamx.core.mask import mask as mask_field
from adamx.core.paths import near_misses
from adamx.core.transformation import GradientTransformation, Params, State, Updates
from adamx.core.wrapper import Wrapper
from adamx.wrappers.labels import (
    Label,
    LabelByPath,
    ParamLabels,
    check_labels,
    resolve_labels,
)
from adamx.wrappers.labels import param_labels as param_labels_field


def _only(selected: list[bool], whole: Any) -> Any:
    """The tree with `None` in place of the leaves that are not selected."""
    leaves, structure = tree.flatten(whole)
    return structure.unflatten([x if s else None for x, s in zip(leaves, selected, strict=True)])


def _update_selected(
    owner: str,
    inner: GradientTransformation,
    selected: list[bool],
    updates: Updates,
    state: State,
    params: Params | None,
    extra: dict[str, Any],
    select_extra: bool,
) -> tuple[list[Any], State]:
    """The flat result of `inner` on the selected leaves (`None` elsewhere), and its new state."""
    given = _only(selected, updates)
    if select_extra:
        _, structure = tree.flatten(updates)
        extra = {
            name: _only(selected, value) if tree.flatten(value)[1] == structure else value
            for name, value in extra.items()
        }
    params = None if params is None else _only(selected, params)
    returned, state = inner.update(given, state, params, **extra)
    checks.check_match(owner, "updates that it returned", returned, "updates", given)
    return tree.flatten(returned)[0], state


class MaskedState(NamedTuple):
    """The state of a transformation of some of the parameters."""

    inner_state: State  # as for parameters that are None where the mask is False


class Masked(Wrapper):
    """Transforms some of the parameters' updates; the others pass through unchanged.

    `inner` sees `None` in place of the parameters and updates that are not its own, and keeps no
    state for them.

    Args:
      inner: a transformation of adamx or of optax.
      mask: a pytree of booleans (or a prefix of one), or a function of the parameters that
        returns one, such as `mask_by_path`; None for all.
      mask_compatible_extra_args: also select the leaves of extra arguments of `update` that have
        the structure of the updates.

    Returns:
      A transformation with state `MaskedState(inner_state)`.

    Raises:
      TypeError: `inner` is no transformation; a mask leaf that is not a boolean; at `update`,
        another optimizer's state.
      ValueError: at `init` and `update`, a mask that does not fit the parameters.

    Example:
      >>> import adamx
      >>> tx = adamx.masked(adamx.scale(-0.5), {"w": True, "b": False})
      >>> tx.update({"w": 1.0, "b": 1.0}, tx.init({"w": 0.0, "b": 0.0}))[0]
      {'b': 1.0, 'w': Array(-0.5, dtype=float32)}
    """

    mask: MaskLike = mask_field(default=None)
    mask_compatible_extra_args: bool = fields.switch(default=False, kw_only=True)

    def keeps_updates(self) -> bool:
        return True

    def _selected(self, like: Any) -> list[bool]:
        return tree.flatten(resolve_mask(self.public_name, self.mask, like))[0]

    def init(self, params: Params) -> State:
        return MaskedState(self.inner.init(_only(self._selected(params), params)))

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_state(self.public_name, state, MaskedState)
        if params is not None:
            checks.check_match(self.public_name, "updates", updates, "parameters", params)
        selected = self._selected(updates if params is None else params)
        returned, inner_state = _update_selected(
            f"{self.public_name}: {self.inner.public_name}",
            self.inner,
            selected,
            updates,
            state.inner_state,
            params,
            extra,
            self.mask_compatible_extra_args,
        )
        leaves, structure = tree.flatten(updates)
        merged = [r if s else u for u, r, s in zip(leaves, returned, selected, strict=True)]
        return structure.unflatten(merged), MaskedState(inner_state)


class Freeze(Link):
    """Sets updates to zero, so that the parameters stay as they are; keeps no state.

    Args:
      mask: which parameters are frozen: a pytree of booleans (or a prefix of one), or a function
        of the parameters that returns one; None for all.

    Raises:
      TypeError: a mask leaf that is not a boolean.
      ValueError: at `update`, a mask that does not fit the parameters.

    Example:
      >>> import adamx
      >>> tx = adamx.freeze({"w": False, "b": True})
      >>> tx.update({"w": 2.0, "b": 3.0}, tx.init(None))[0]
      {'b': Array(0., dtype=float32), 'w': Array(2., dtype=float32)}
    """

    mask: MaskLike = mask_field(default=None)

    rows = "linear"
    reads_params = "optional"

    def scalars(self, view: View, state: State) -> tuple[PerLeaf, dict[str, Any]]:
        like = view.updates if view.params is None else view.params
        frozen, _ = tree.flatten(resolve_mask(self.public_name, self.mask, like))
        return PerLeaf([() if chosen else None for chosen in frozen]), {}

    def rule(self, s: Any, u: chex.Array, p: Any) -> chex.Array:
        return compat.full_like(u, 0)


class PartitionState(NamedTuple):
    """One state for every group of parameters."""

    inner_states: dict[Label, State]  # by label, as for parameters that are None elsewhere


def _check_transforms(where: Where, value: object) -> tuple[GradientTransformation, ...]:
    return tuple(
        as_transformation(Where(where.owner, f"{where.argument}[{i}]"), transform)
        for i, transform in enumerate(fields.items(where, "transformations", value))
    )


class MultiTransform(GradientTransformation):
    """Every parameter is updated by the transformation that its label names."""

    labels: Sequence[Label] = fields.static(check_labels)
    transforms: Sequence[GradientTransformation] = fields.child(_check_transforms)
    param_labels: ParamLabels = param_labels_field()
    mask_compatible_extra_args: bool = fields.switch(default=False)

    def keeps_updates(self) -> bool:
        return True

    def children(self) -> dict[str, GradientTransformation]:
        return dict(zip(map(str, self.labels), self.transforms, strict=True))

    def child_states(self, state: State) -> dict[str, State]:
        checks.check_state(self.public_name, state, PartitionState)
        return {str(label): inner for label, inner in state.inner_states.items()}

    def with_child_states(self, state: State, states: dict[str, State]) -> State:
        return PartitionState({label: states[str(label)] for label in self.labels})

    def check_together(self) -> None:
        if len(self.labels) != len(self.transforms) or len({*self.labels}) != len(self.labels):
            raise ValueError(
                f"{self.public_name}: {len(self.transforms)} `transforms` need as many distinct "
                f"`labels`, got {self.labels}"
            )
        given: set[Label | None]
        if isinstance(self.param_labels, LabelByPath):
            given = {*self.param_labels.labels, self.param_labels.default}
        elif isinstance(self.param_labels, FrozenTree):
            given = {*tree.flatten(self.param_labels.thaw())[0]}
        else:
            return
        self._check_labels(given)

    def _check_labels(self, given: set[Label | None]) -> None:
        known = {label for label in given if label is not None}
        for label in sorted(known - {*self.labels}, key=str):
            raise ValueError(
                f"{self.public_name}: no transformation is labelled {label!r}; "
                f"{near_misses(str(label), map(str, self.labels))}"
            )

    def _labels_of(self, like: Any, what: str) -> list[Label | None]:
        """The label of every leaf, `None` for one without that is not trained."""
        labels = resolve_labels(self.public_name, self.param_labels, like, what)
        # A tree was checked as it was given: what it labels may be empty.
        if labels and not isinstance(self.param_labels, FrozenTree):
            self._check_labels({*labels})
        return labels

    def init(self, params: Params) -> State:
        labels = self._labels_of(params, "parameters")
        return PartitionState(
            {
                label: transform.init(_only([x == label for x in labels], params))
                for label, transform in zip(self.labels, self.transforms, strict=True)
            }
        )

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        checks.check_state(self.public_name, state, PartitionState)
        if {*state.inner_states} != {*self.labels}:
            raise TypeError(
                f"{self.public_name}: the state must be the one with labels {[*self.labels]} that "
                f"`init` returned, got {sorted(state.inner_states)}; was it made by another "
                "optimizer?"
            )
        if params is None:
            labels = self._labels_of(updates, "updates")
        else:
            checks.check_match(self.public_name, "updates", updates, "parameters", params)
            labels = self._labels_of(params, "parameters")
        leaves, structure = tree.flatten(updates)
        inner_states = {}
        for label, transform in zip(self.labels, self.transforms, strict=True):
            selected = [x == label for x in labels]
            with jax.named_scope(str(label)):
                returned, inner_states[label] = _update_selected(
                    f"{self.public_name}: {label!r}",
                    transform,
                    selected,
                    updates,
                    state.inner_states[label],
                    params,
                    extra,
                    self.mask_compatible_extra_args,
                )
            leaves = [r if s else u for u, r, s in zip(leaves, returned, selected, strict=True)]
        return structure.unflatten(leaves), PartitionState(inner_states)

    def recipe_arguments(self) -> list[str]:
        pairs = zip(self.labels, self.transforms, strict=True)
        shown = [f"{label!r}: {transform!r}" for label, transform in pairs]
        transforms = "{" + ", ".join(shown) + "}"
        if "\n" in transforms or len(transforms) > 80:
            transforms = "{\n" + textwrap.indent(",\n".join(shown), "    ") + ",\n}"
        wanted = self.param_labels
        arguments = [transforms, getattr(wanted, "__qualname__", None) or repr(wanted)]
        if self.mask_compatible_extra_args:
            arguments.append("mask_compatible_extra_args=True")
        return arguments


masked = Masked


def multi_transform(
    transforms: Mapping[Any, GradientTransformation],
    param_labels: Any,
    *,
    mask_compatible_extra_args: bool = False,
) -> MultiTransform:
    """Gives every parameter to the transformation that its label names.

    Each transformation sees `None` in place of the parameters and updates of the others, and keeps
    no state for them: a norm inside it is the norm of its own group.

    Args:
      transforms: transformations of adamx or of optax, by label: strings, or whole numbers or
        truth values.  One whose label no parameter has gets none.
      param_labels: a pytree of labels (or a prefix of one), or a function of the parameters that
        returns one, such as `label_by_path`.  Leaves that are not trained need no label.
      mask_compatible_extra_args: see `masked`.

    Returns:
      A transformation with state `PartitionState(inner_states)`, a dict of states by label.

    Raises:
      TypeError: `transforms` is no mapping from labels to transformations; a label that is
        neither a string nor a whole number; at `update`, another optimizer's state.
      ValueError: a label without a transformation; a parameter without a label; labels that do
        not fit the parameters.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.multi_transform(
      ...     {"matrices": adamx.adamw(1e-3), "rest": adamx.adam(1e-2), "fixed": adamx.freeze()},
      ...     adamx.label_by_path(("embed", "fixed"), ("kernel", "matrices"), default="rest"),
      ... )
      >>> params = {"embed": jnp.ones(2), "dense": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
      >>> params, state = tx.step(params, tx.init(params), params)
      >>> print(params["embed"], params["dense"]["kernel"], params["dense"]["bias"])
      [1. 1.] [0.9989999 0.9989999] [0.99 0.99]
    """
    if not isinstance(transforms, Mapping):
        raise TypeError(
            "multi_transform: `transforms` must be a dict from labels to transformations, got "
            f"{transforms!r}"
        )
    labels: list[Any] = sorted(check_labels(Where("multi_transform", "transforms"), transforms))
    return MultiTransform(
        labels=labels,
        transforms=[
            as_transformation(Where("multi_transform", f"transforms[{label!r}]"), transforms[label])
            for label in labels
        ],
        param_labels=param_labels,
        mask_compatible_extra_args=mask_compatible_extra_args,
    )


freeze = Freeze
