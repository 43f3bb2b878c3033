"""Every state fits into a flat file and comes back leaf by leaf.

Two leaves with one path, or a path that depends on a container, would lose or mix up moments.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from adamx.interop.export import from_flat, to_flat
from tests.contract.support import tree
from tests.contract.table import Case, every_case


def numbered(state: Any) -> Any:
    """Every leaf filled with a number of its own."""
    leaves, structure = jax.tree.flatten(state)
    return structure.unflatten([jnp.full(x.shape, i, x.dtype) for i, x in enumerate(leaves)])


@every_case
def test_a_state_comes_back_from_its_paths(case: Case) -> None:
    like = jax.eval_shape(case.make().init, tree())
    state = numbered(like)
    chex.assert_trees_all_equal(from_flat(to_flat(state), like), state)
