"""What a state holds for a parameter is placed like the parameter.

A replicated moment takes the memory that sharding was to save.
"""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

import adamx
from tests.contract.table import Case, every_case


@every_case
def test_every_leaf_of_a_parameter_s_shape_has_its_sharding(case: Case) -> None:
    mesh = jax.make_mesh((2, 4), ("data", "model"))
    where = {
        "b": NamedSharding(mesh, PartitionSpec("model")),
        "w": NamedSharding(mesh, PartitionSpec("data", "model")),
    }
    params = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=where[name])
        for name, shape in (("b", (12,)), ("w", (6, 8)))
    }
    expected = {params[name].shape: where[name] for name in where}
    tx = case.make()
    state = jax.eval_shape(tx.init, params)
    placed = adamx.sharding.state_sharding(tx, params)
    for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(placed), strict=True):
        if leaf.shape in expected:
            assert sharding.is_equivalent_to(expected[leaf.shape], leaf.ndim)
        elif not leaf.shape:
            assert sharding.is_fully_replicated
