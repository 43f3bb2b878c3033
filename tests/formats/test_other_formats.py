"""A state in one format is not taken for one in another."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import pytest

import adamx
from tests.selection import one_in

KEPT = {
    "float32": adamx.adam(1e-2),
    "bfloat16 to nearest": adamx.adam(1e-2, mu_dtype="bfloat16", nu_dtype="bfloat16"),
    "bfloat16": adamx.adam(1e-2, state_format="bfloat16"),
    "pair": adamx.adam(1e-2, state_format=adamx.pair_format(min_size=0)),
    "blocks": adamx.adam(1e-2, state_format=adamx.pair_format(4, 0)),
    "rows": adamx.sparse.rows(adamx.adam(1e-2), "lazy"),
    "rows with nu in bfloat16": adamx.sparse.rows(adamx.adam(1e-2, nu_dtype="bfloat16"), "lazy"),
    "rows of bfloat16": adamx.sparse.rows(adamx.adam(1e-2, state_format="bfloat16"), "lazy"),
    "rows of words": adamx.sparse.rows(
        adamx.adam(1e-2, state_format=adamx.pair_format(min_size=0)), "lazy"
    ),
}
ALIKE = {"bfloat16 to nearest", "bfloat16"}


OTHERS = [
    (made, given)
    for made, given in itertools.permutations(KEPT, 2)
    if ("rows" in made) == ("rows" in given) and {made, given} != ALIKE
]


@pytest.mark.parametrize(("made", "given"), one_in(3, OTHERS, "every pair of formats"))
def test_the_state_of_another_format_is_refused(made: str, given: str) -> None:
    """Taken, a second moment would stand still in 16 bits, or no memory be saved."""
    params = jnp.ones((2, 8))
    state = KEPT[made].init(params)
    with pytest.raises((TypeError, ValueError), match=r"convert_state|another `state_format`"):
        KEPT[given].step(params, state, params)


def test_words_and_floats_are_told_apart() -> None:
    params = {"w": jnp.ones(8)}
    words = adamx.scale_by_adam(state_format=adamx.pair_format(min_size=0))
    with pytest.raises(TypeError, match="uint16"):
        adamx.scale_by_adam().update(params, words.init(params))
    state = words.init(params)._replace(nu=params)
    with pytest.raises(TypeError, match="in `mu`"):
        words.update(params, state)
    state = adamx.scale_by_adam().init(params)._replace(nu={"w": None})
    with pytest.raises(TypeError, match=r"float32.*keeps as uint16; `adamx.convert_state"):
        words.update(params, state)
