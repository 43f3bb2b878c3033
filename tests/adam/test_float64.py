"""Numbers of a step in the precision of float64, where x64 is on."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.family.radam import _rectification
from tests.contract.support import precision


@pytest.mark.parametrize("b2", [0.5, 0.9, 0.99, 0.999, 0.9999])
def test_the_length_of_radams_average(b2: float) -> None:
    """rho_t = 2 / (1 - b2) - 1 - 2 t b2**t / (1 - b2**t)."""
    for t in (1, 2, 5, 6, 20, 1000):
        with localcontext() as context:
            context.prec = 50
            b, power = Decimal(b2), Decimal(b2) ** t
            wanted = float(2 / (1 - b) - 1 - 2 * t * power / (1 - power))
        with precision("float64"):
            rho, _ = _rectification(b2, jnp.asarray(t))
            assert math.isclose(float(rho), wanted, rel_tol=1e-14)


def test_the_product_of_nadams_momenta() -> None:
    with precision("float64"):
        tx: Any = adamx.scale_by_nadam(momentum_decay=1.0)
        grads = jnp.ones(2, float)
        state, product = tx.init(grads), 1.0
        for t in range(1, 6):
            _, state = tx.update(grads, state)
            product *= 0.9 * (1.0 - 0.5 * 0.96**t)
        np.testing.assert_allclose(float(state.mu_product), product, rtol=1e-15)
    assert tx.init(jnp.ones(2)).mu_product.dtype == jnp.float32
