"""A step can be differentiated: by gradients, parameters and the numbers of the transformation.

That is how hyperparameters are learned; a square root at 0 or an untaken branch makes it a NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.contract.support import is_float, precision, tree
from tests.contract.table import Case, cases

STEPS = 2
H = 1e-6


def along(start: Any, direction: Any, t: Any) -> Any:
    """`start + t * direction`; what has no direction stays a plain number."""
    return jax.tree.map(lambda x, d: x + t * d if np.any(d) else x, start, direction)


@cases("differentiates two steps")
def test_derivative_is_the_difference_quotient(case: Case) -> None:
    """Along one direction in everything, in float64; just finite where moments are rounded."""
    with precision("float64"):
        tx = jax.tree.map(lambda x: np.float64(x) if is_float(x) else x, case.make())
        # Zero is the end of a number's range: it stays.
        drift = jax.tree.map(lambda x: 0.1 * x if is_float(x) else 0, tx)
        inputs = [jax.device_get(tree("float64", seed)) for seed in range(STEPS + 1)]
        drifts = [jax.device_get(tree("float64", seed)) for seed in range(10, STEPS + 11)]

        # By reverse mode, which an infinite derivative in an untaken branch reaches as well.
        @jax.jit
        @jax.value_and_grad
        def loss(t: Any) -> Any:
            tx_t = along(tx, drift, t)
            params, *gradients = along(inputs, drifts, t)
            state = tx_t.init(params)
            for grads in gradients:
                params, state = tx_t.step(grads, state, params)
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

        _, derivative = loss(0.0)
        if case.smooth:
            quotient = (loss(H)[0] - loss(-H)[0]) / (2 * H)
            np.testing.assert_allclose(derivative, quotient, rtol=1e-6)
        else:
            assert np.isfinite(derivative)
