"""What may be stepped by rows: rules of single elements, whose state has a place beside a table."""

import jax.numpy as jnp
import numpy as np
import pytest

import adamx

LR = adamx.scale_by_learning_rate(0.1)
FIT = {
    "clip": adamx.chain(adamx.clip(1.0), adamx.adam(0.1)),
    "radam": adamx.radam(0.1),
    "scheduled": adamx.adamw(adamx.linear_schedule(0.1, 0.0, 5), weight_decay=0.1),
    "by path": adamx.chain(adamx.scale_by_adam(), adamx.scale_by_path(("", 0.5)), LR),
}
MISFIT = {
    "norm behind the core": adamx.chain(adamx.scale_by_adam(), adamx.clip_by_global_norm(1.0), LR),
    "norm in front": adamx.chain(adamx.clip_by_norm(1.0), adamx.adam(0.1)),
    "trust ratio": adamx.lamb(0.1),
    "spikes": adamx.chain(adamx.clip_spikes(3.0), adamx.adam(0.1)),
    "units": adamx.chain(adamx.adaptive_grad_clip(0.1), adamx.adam(0.1)),
    "noise": adamx.chain(adamx.add_noise(0.1, 0.5, key=0), adamx.adam(0.1)),
    "a report": adamx.chain(adamx.clip(1.0, report=True), adamx.adam(0.1)),
    "a number of its own": adamx.chain(adamx.scale_by_nadam(), LR),
    "an average": adamx.chain(adamx.adam(0.1), adamx.ema_params(0.9)),
    "a wrapper": adamx.apply_if_finite(adamx.adam(0.1)),
}


@pytest.mark.parametrize("name", FIT)
def test_rules_of_single_elements_fit(name: str) -> None:
    assert adamx.sparse.rows(FIT[name], "lazy").inner == FIT[name]


def test_a_core_without_squares_has_no_second_moment_of_a_row() -> None:
    adamx.sparse.rows(adamx.adamax(0.1), "lazy")
    with pytest.raises(ValueError, match=r"`rowwise` needs .* squares, not scale_by_adamax"):
        adamx.sparse.rows(adamx.adamax(0.1), "rowwise")


def test_rows_without_columns_have_a_second_moment_of_zero() -> None:
    table, tx = jnp.zeros((3, 0)), adamx.sparse.adam(0.1, "rowwise")
    _, state = tx.step(table, tx.init(table), table)
    np.testing.assert_array_equal(state.nu, np.zeros(3))


@pytest.mark.parametrize("name", MISFIT)
def test_what_looks_at_other_elements_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="links that work element by element"):
        adamx.sparse.rows(MISFIT[name], "lazy")


def test_the_arguments_of_check_guards_are_not_mixed_up() -> None:
    tx = adamx.apply_if_finite(adamx.adam(0.1), 2)
    with pytest.raises(TypeError, match="the transformation comes first"):
        adamx.check_guards(tx.init(1.0), tx)
