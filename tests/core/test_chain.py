"""Chains refuse what is no link, and treat another library's transformation as one."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import adamx

SCALE = adamx.scale(-0.5)


@pytest.mark.parametrize(
    "link", [adamx.adam, 0.1, None, "adam", (SCALE, SCALE)], ids=lambda link: type(link).__name__
)
def test_a_link_is_a_transformation(link: Any) -> None:
    message = r"chain: `link 1` must be a gradient transformation \(with `init` and `update`\), got"
    with pytest.raises(TypeError, match=message):
        adamx.chain(SCALE, link)
    with pytest.raises(TypeError, match=f"named_{message}"):
        adamx.named_chain(("a", SCALE), ("b", link))


@pytest.mark.parametrize("link", [SCALE, ("a",), ("a", SCALE, 1), ["a", SCALE]], ids=repr)
def test_a_named_link_is_a_pair(link: Any) -> None:
    with pytest.raises(TypeError, match=r"named_chain: links are pairs \(name, transformation\)"):
        adamx.named_chain(link)


def test_names_are_distinct_strings() -> None:
    with pytest.raises(ValueError, match=r"named_chain: `names` must be distinct, got"):
        adamx.named_chain(("a", SCALE), ("a", SCALE))
    with pytest.raises(TypeError, match="named_chain: `names` must be strings, got 0"):
        adamx.named_chain((0, SCALE))  # type: ignore[arg-type]


def test_an_empty_chain_is_the_identity() -> None:
    tx = adamx.chain()
    assert tx.init(1.0) == ()
    assert tx.update(2.0, (), 1.0) == (2.0, ())
    assert tx.step(2.0, (), 1.0) == (3.0, ())


def test_links_run_from_first_to_last() -> None:
    add = adamx.stateless(lambda updates, params: updates + 1.0)
    assert adamx.chain(add, SCALE).update(2.0, ((), ()))[0] == -1.5
    assert adamx.chain(SCALE, add).update(2.0, ((), ()))[0] == 0.0


def test_a_named_chain_keeps_its_states_by_name() -> None:
    tx = adamx.named_chain(("z", adamx.scale_by_adam()), ("a", adamx.ema_params(0.9)))
    params = jnp.ones(2)
    state = tx.init(params)
    assert list(state) == ["z", "a"]
    _, after = jax.jit(tx.update)(params, state, params)
    assert isinstance(after["z"], adamx.ScaleByAdamState)
    assert isinstance(after["a"], adamx.EmaParamsState)


def test_the_state_of_a_longer_chain_is_refused() -> None:
    tx = adamx.chain(SCALE, adamx.scale_by_adam())
    with pytest.raises(TypeError, match=r"tuple of 2 states .* got tuple of length 3"):
        tx.update(1.0, (*tx.init(1.0), ()))
    with pytest.raises(TypeError, match=r"keys \['a'\] .* got \['b'\]"):
        adamx.named_chain(("a", SCALE)).update(1.0, {"b": ()})


def test_every_link_has_its_name() -> None:
    with pytest.raises(ValueError, match="named_chain: 1 `names` for 2 `links`"):
        adamx.core.chain.NamedChain([SCALE, SCALE], ["a"])


def test_one_link_s_name_is_in_the_compiled_program() -> None:
    """So that a profile says which link an operation belongs to."""
    text = (
        jax.jit(adamx.adam(0.1).update)
        .lower(1.0, adamx.adam(0.1).init(1.0))
        .as_text(debug_info=True)
    )
    assert "scale_by_adam/" in text
    assert "scale_by_learning_rate/" in text


def test_a_foreign_link_gives_what_it_gives_alone() -> None:
    params, grads = {"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}
    ours = adamx.chain(optax.trace(0.9), adamx.scale_by_learning_rate(0.1))
    theirs = optax.chain(optax.trace(0.9), optax.scale_by_learning_rate(0.1))
    state, other = ours.init(params), theirs.init(params)
    for _ in range(3):
        updates, state = ours.update(grads, state, params)
        expected, other = theirs.update(grads, other, params)
        chex.assert_trees_all_equal(updates, expected)


def test_only_links_that_take_extra_arguments_get_them() -> None:
    def update(updates: Any, state: Any, params: Any = None, *, value: Any, **_: Any) -> Any:
        return updates * value, state

    taking = optax.GradientTransformationExtraArgs(lambda params: (), update)
    tx = adamx.chain(optax.scale(2.0), taking, SCALE)
    assert tx.update(1.0, tx.init(1.0), 1.0, value=3.0)[0] == -3.0
    with pytest.raises(TypeError, match="value"):
        tx.update(1.0, tx.init(1.0), 1.0)


def test_foreign_links_compare_by_identity_and_print_their_origin() -> None:
    link = optax.trace(0.9)
    assert adamx.chain(link) == adamx.chain(link)
    assert hash(adamx.chain(link)) == hash(adamx.chain(link))
    assert adamx.chain(link) != adamx.chain(optax.trace(0.9))
    assert repr(adamx.chain(link)).startswith("chain(<optax.")
    nameless = optax.GradientTransformation(
        lambda params: (), functools.partial(lambda updates, state, params=None: (updates, state))
    )
    assert repr(adamx.chain(nameless)) == "chain(<functools.partial>)"
    assert adamx.chain(nameless, SCALE).update(1.0, ((), ()))[0] == -0.5
