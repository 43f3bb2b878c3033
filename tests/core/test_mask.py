"""Masks: a tree of booleans, a prefix of one, or a function that returns one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

PARAMS = {"layer": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}, "head": jnp.ones(3)}


def decayed(mask: Any, params: Any = PARAMS) -> Any:
    """Which leaves a decay of 1 moves."""
    tx = adamx.add_decayed_weights(1.0, mask=mask)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    return jax.tree.map(lambda u: bool(jnp.any(u != 0)), updates)


def matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, {"layer": {"w": True, "b": True}, "head": True}),
        (True, {"layer": {"w": True, "b": True}, "head": True}),
        ({"layer": True, "head": False}, {"layer": {"w": True, "b": True}, "head": False}),
        (
            {"layer": {"w": True, "b": False}, "head": False},
            {"layer": {"w": True, "b": False}, "head": False},
        ),
        (matrices, {"layer": {"w": True, "b": False}, "head": False}),
        (
            lambda params: {"layer": False, "head": True},
            {"layer": {"w": False, "b": False}, "head": True},
        ),
    ],
    ids=["none", "all", "prefix", "full", "function", "function_of_prefix"],
)
def test_selects(mask: Any, expected: Any) -> None:
    assert decayed(mask) == expected


@pytest.mark.parametrize("mask", [matrices, {"w": True, "frozen": None}], ids=["function", "tree"])
def test_a_mask_made_by_tree_map_has_none_where_the_parameters_have(mask: Any) -> None:
    params = {"w": jnp.ones((2, 2)), "frozen": None}
    assert decayed(mask, params) == {"w": True, "frozen": None}


@pytest.mark.parametrize("leaf", [2, "yes", 0.0, np.ones(2, bool), jnp.ones(())], ids=repr)
def test_leaves_are_booleans(leaf: Any) -> None:
    message = r"add_decayed_weights: `mask` must be True or False at \['head'\], got"
    with pytest.raises(TypeError, match=message):
        adamx.add_decayed_weights(0.1, mask={"layer": True, "head": leaf})
    with pytest.raises(TypeError, match=r"mask at \['head'\] must be True or False"):
        decayed(lambda params: {"layer": True, "head": leaf})
    config = {"name": "add_decayed_weights", "weight_decay": 0.1, "mask": {"tree": {"head": leaf}}}
    with pytest.raises(TypeError, match=r"must be True or False at \['head'\]"):
        adamx.from_config(config)


def test_none_is_no_answer_for_a_trained_leaf() -> None:
    with pytest.raises(TypeError, match=r"mask at \['head'\] must be True or False, got None"):
        decayed({"layer": True, "head": None})


@pytest.mark.parametrize("mask", [{"layer": True}, {"layer": True, "tail": True}, [True, False]])
def test_a_mask_that_is_no_prefix_is_refused(mask: Any) -> None:
    with pytest.raises(ValueError, match="add_decayed_weights: the mask does not fit"):
        decayed(mask)


def test_a_tree_of_booleans_is_part_of_the_value() -> None:
    masks = [{"w": True, "b": False}, {"b": False, "w": True}, {"w": True, "b": True}]
    one, same, other = (adamx.add_decayed_weights(0.1, mask=mask) for mask in masks)
    assert (one == same, hash(one) == hash(same), one == other) == (True, True, False)
    assert repr(one).endswith("mask={'b': False, 'w': True})")
    assert one.replace(weight_decay=0.2).mask == one.mask


TRUTH = [(True, False), (1, 0), (np.True_, np.False_), (np.array(True), np.array(False))]


@pytest.mark.parametrize(("yes", "no"), [*TRUTH, (jnp.array(True), jnp.array(False))], ids=repr)
def test_every_truth_value_selects(yes: Any, no: Any) -> None:
    expected = {"layer": {"w": True, "b": True}, "head": False}
    mask = {"layer": yes, "head": no}
    assert decayed(mask) == decayed(lambda params: mask) == expected


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Module:
    """A layer that is a tree and may be called, as those of equinox and flax are."""

    w: Any
    b: Any

    def __call__(self, x: Any) -> Any:
        raise AssertionError("a mask and a tree of labels are not called")


def test_a_module_is_a_tree_and_not_a_function() -> None:
    params = Module(jnp.ones(2), jnp.ones(2))
    assert decayed(Module(True, False), params) == Module(True, False)
    groups = {"a": adamx.scale(2.0), "b": adamx.freeze()}
    tx = adamx.multi_transform(groups, Module("a", "b"))
    updates, _ = tx.update(params, tx.init(params), params)
    assert (float(updates.w[0]), float(updates.b[0])) == (2.0, 0.0)
    partial = jax.tree_util.Partial(lambda yes, p: jax.tree.map(lambda _: yes, p), True)
    assert decayed(partial, params) == Module(True, True)
