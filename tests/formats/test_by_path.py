"""A format for each pattern of paths, in one argument."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx

PARAMS = {
    "embed": jnp.ones((64, 64)),
    "head": {"kernel": jnp.ones((64, 64)), "bias": jnp.ones(64)},
    "norm": jnp.ones((64, 64)),
}
FORMATS = {"embed": "float32", "head": adamx.pair_format(8), "": "bfloat16"}


def dtypes(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.dtype.name, tree)


def test_the_first_pattern_says_how_a_leaf_is_stored() -> None:
    state = adamx.scale_by_adam(state_format=FORMATS).init(PARAMS)
    assert dtypes(state.mu) == {
        "embed": "float32",
        "head": {"kernel": "uint16", "bias": "float32"},
        "norm": "bfloat16",
    }
    assert dtypes(state.nu) == {
        "embed": "float32",
        "head": {"kernel": "int16", "bias": "float32"},
        "norm": "bfloat16",
    }


def test_every_leaf_takes_the_step_of_its_format() -> None:
    tx = adamx.adamw(1e-2, state_format=FORMATS)
    grads = jax.tree.map(lambda p: jnp.linspace(-1.0, 1.0, p.size).reshape(p.shape), PARAMS)

    def trained(tx: adamx.GradientTransformation) -> Any:
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(3):
            params, state = jax.jit(tx.step)(grads, state, params)
        return params, state[0]

    params, state = trained(tx)
    for path, form in (("embed", None), ("head", FORMATS["head"]), ("norm", "bfloat16")):
        alone, wanted = trained(adamx.adamw(1e-2, state_format=form))
        jax.tree.map(np.testing.assert_array_equal, params[path], alone[path])
        jax.tree.map(np.testing.assert_array_equal, state.mu[path], wanted.mu[path])


def test_leaves_of_no_pattern_are_float32() -> None:
    state = adamx.scale_by_adam(state_format={"norm": "pair"}).init(PARAMS)
    assert dtypes(state.mu)["norm"] == "uint16"
    assert set(jax.tree.leaves(dtypes({**state.mu, "norm": None}))) == {"float32"}


def test_it_is_written_as_json_and_as_an_expression() -> None:
    tx = adamx.adamw(1e-2, state_format=FORMATS)
    assert adamx.from_config(adamx.get_config(tx)) == tx
    assert hash(tx) == hash(adamx.adamw(1e-2, state_format=FORMATS))
    assert "pair_format" in repr(tx)


@pytest.mark.parametrize(
    ("formats", "error", "message"),
    [
        ({"emb_ed": "pair"}, ValueError, "'emb_ed' is found in none.*did you mean 'embed'"),
        ({"embed": "pear"}, ValueError, "one of .*pear"),
        ({"(": "pair"}, ValueError, "a regular expression"),
        ({}, ValueError, "at least one"),
        ({"embed": 3}, TypeError, "one of 'bfloat16'"),
        (["pair"], TypeError, "a dict from patterns to formats"),
    ],
)
def test_what_cannot_be_is_refused(formats: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adamx.adam(1e-3, state_format=formats).init(PARAMS)


@pytest.mark.parametrize("optimizer", [adamx.adopt, adamx.adabelief, adamx.yogi])
def test_a_pattern_that_is_in_no_path_is_refused_by_every_member(optimizer: Any) -> None:
    tx = optimizer(1e-3, state_format={"emb_ed": "bfloat16"})
    with pytest.raises(ValueError, match="'emb_ed' is found in none"):
        tx.init(PARAMS)
    with pytest.raises(ValueError, match="'emb_ed' is found in none"):
        adamx.sparse.rows(tx, "lazy").init(PARAMS)


def test_a_member_that_has_no_pairs_refuses_them_here_too() -> None:
    with pytest.raises(ValueError, match='use `state_format="bfloat16"`'):
        adamx.amsgrad(1e-3, state_format={"embed": "pair"})
    adamx.amsgrad(1e-3, state_format={"embed": "bfloat16"}).init(PARAMS)
