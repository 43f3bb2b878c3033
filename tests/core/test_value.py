"""A value refuses arguments that make no sense where they are written, not 10 000 steps later."""

import dataclasses
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adamx
from adamx.core import fields
from adamx.core.value import Value

ADAM = adamx.scale_by_adam(b1=0.8)


def test_replace_changes_one_field_and_leaves_the_original() -> None:
    changed = ADAM.replace(b2=0.5)
    assert (changed.b1, changed.b2, ADAM.b2) == (0.8, 0.5, 0.999)
    assert changed != ADAM
    assert changed.replace(b2=0.999) == ADAM


def test_fields_cannot_be_assigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ADAM.b1 = 0.5


def test_replace_refuses_unknown_fields_and_names_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"scale_by_adam: unknown argument 'lr'; it takes b1, b2"):
        ADAM.replace(lr=0.1)


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(TypeError, match="clip_by_global_norm: missing argument 'max_norm'"):
        adamx.from_config({"name": "clip_by_global_norm"})


@pytest.mark.parametrize(
    "value",
    ["0.9", None, [0.9], True, np.True_, 0.9 + 0j, object()],
    ids=lambda value: type(value).__name__,
)
def test_a_number_must_be_one(value: Any) -> None:
    with pytest.raises(TypeError, match=r"scale_by_adam: `b1` must be a number, .*, got"):
        ADAM.replace(b1=value)


@pytest.mark.parametrize("value", [jnp.array(True), np.array(1j), np.array("x")], ids=repr)
def test_an_array_must_hold_real_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"`b1` must be a number.* \(real\), got"):
        ADAM.replace(b1=value)


@pytest.mark.parametrize("value", [1.0, 1, -0.1, math.nan, math.inf, np.float32(2)], ids=repr)
def test_a_decay_rate_is_below_one(value: Any) -> None:
    with pytest.raises(ValueError, match=r"`b1` must be in \[0, 1\), got"):
        ADAM.replace(b1=value)


@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf, -math.inf])
def test_a_learning_rate_is_not_negative(value: float) -> None:
    message = r"scale_by_learning_rate: `learning_rate` must be in \[0, inf\), got"
    with pytest.raises(ValueError, match=message):
        adamx.adam(value)


def test_a_positive_number_is_not_zero() -> None:
    with pytest.raises(ValueError, match=r"`decay_rate` must be in \(0, inf\), got 0"):
        adamx.exponential_decay(0.1, 2, 0)


@pytest.mark.parametrize("value", [0, 1, np.int8(0), np.float16(0.5)], ids=repr)
def test_numbers_of_any_real_kind_become_floats(value: Any) -> None:
    assert type(adamx.adam(value).links[1].learning_rate) is float


def test_arrays_and_tracers_are_taken_as_they_are() -> None:
    rate = jnp.asarray([0.1, 0.2])
    assert adamx.scale_by_learning_rate(rate).learning_rate is rate
    assert jax.jit(lambda x: adamx.adam(x).links[1].learning_rate)(0.5) == 0.5
    # A traced number is not known yet, so it is not compared with the range.
    assert jax.jit(lambda x: adamx.adam(x).links[1].learning_rate)(-0.5) == -0.5


@pytest.mark.parametrize(
    "rate",
    [
        jnp.asarray(-0.1),
        np.array([0.1, -0.1]),
        jnp.asarray(jnp.nan),
        np.array(np.inf, np.float16),
        jnp.bfloat16(-1),
        np.array(1e300),
        np.array(-1),
    ],
    ids=repr,
)
def test_an_array_out_of_range_is_refused_like_a_number(rate: Any) -> None:
    wanted = r"(in \[0, inf\)|a number that float32 can hold), got (array|Array)"
    with pytest.raises(ValueError, match=rf"`learning_rate` must be {wanted}"):
        adamx.adam(rate)


@pytest.mark.parametrize(
    "value", [np.zeros((), "m8")[()], np.timedelta64(1, "s"), np.datetime64(1, "s")]
)
def test_a_duration_is_no_number(value: Any) -> None:
    for bad in (value, np.array(value)):
        with pytest.raises(TypeError, match="`b1` must be a number"):
            ADAM.replace(b1=bad)
        with pytest.raises(TypeError, match="`max_consecutive_errors` must be"):
            adamx.apply_if_finite(ADAM, max_consecutive_errors=bad)


@pytest.mark.parametrize("steps", [2**31, 2.0**31, np.uint32(2**31), np.array(2**31)], ids=repr)
def test_a_count_is_no_more_than_a_step_count_holds(steps: Any) -> None:
    with pytest.raises(ValueError, match="`start_step` must be at most 2147483647, got"):
        adamx.ema_params(0.9, start_step=steps)
    if np.ndim(steps) == 0 and not isinstance(steps, np.ndarray):
        with pytest.raises(ValueError, match="`max_consecutive_errors` must be at most 2147483647"):
            adamx.apply_if_finite(ADAM, max_consecutive_errors=steps)


def test_an_array_of_counts_is_compared_with_the_minimum() -> None:
    with pytest.raises(ValueError, match="`every` must be at least 1, got Array"):
        adamx.ema_params(0.9, every=jnp.array([1, 0]))


@pytest.mark.parametrize("value", [1, "yes", None, jnp.array(True)], ids=repr)
def test_a_switch_is_true_or_false(value: Any) -> None:
    with pytest.raises(TypeError, match="`nesterov` must be True or False"):
        ADAM.replace(nesterov=value)


@pytest.mark.parametrize(("value", "error"), [("int32", ValueError), ("float31", TypeError)])
def test_a_dtype_is_a_floating_one(value: Any, error: Any) -> None:
    with pytest.raises(error, match="`mu_dtype` must be a floating dtype or None"):
        ADAM.replace(mu_dtype=value)


@pytest.mark.parametrize("value", [jnp.bfloat16, "bfloat16", jnp.dtype("bfloat16")], ids=repr)
def test_a_dtype_is_kept_by_name(value: Any) -> None:
    assert ADAM.replace(mu_dtype=value).mu_dtype == "bfloat16"


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_number_of_steps_is_whole(value: Any, error: Any) -> None:
    with pytest.raises(error, match="`every` must be"):
        adamx.ema_params(0.9, every=value)


def test_a_function_must_be_callable() -> None:
    with pytest.raises(TypeError, match=r"stateless: `f` must be a function .*, got 3"):
        adamx.stateless(3)  # type: ignore[arg-type]


def test_equality_looks_at_dtype_shape_and_bits_of_arrays() -> None:
    def rate(x: Any) -> Any:
        return adamx.scale(x)

    assert rate(jnp.float32(0.5)) == rate(np.asarray(0.5, np.float32))
    nans = [jax.tree.map(lambda _: jnp.asarray(jnp.nan), rate(1.0)) for _ in range(2)]
    assert nans[0] == nans[1]
    for other in (0.5, jnp.bfloat16(0.5), jnp.full(1, 0.5, jnp.float32), jnp.float32(0.25)):
        assert rate(jnp.float32(0.5)) != rate(other)


def test_values_of_different_kinds_differ() -> None:
    assert adamx.scale(0.1) != adamx.scale_by_learning_rate(0.1)
    assert adamx.adam(0.1, mu_dtype="bfloat16") != adamx.adam(0.1)
    assert adamx.named_chain(("a", ADAM)) != adamx.named_chain(("b", ADAM))


def test_a_traced_value_has_no_hash() -> None:
    with pytest.raises(TypeError, match="traced numbers has no hash"):
        jax.jit(hash)(adamx.scale(0.1))


def test_long_recipes_are_broken_into_lines() -> None:
    tx = adamx.adamw(adamx.cosine_decay_schedule(0.1, 10), weight_decay=0.01)
    lines = repr(tx).splitlines()
    assert lines[0] == "chain("
    assert lines[2] == "    add_decayed_weights(weight_decay=0.01),"
    assert lines[-1] == ")"


class Halve(adamx.GradientTransformation):
    """What a user writes."""

    strength: float = fields.number(fields.POSITIVE)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return jax.tree.map(lambda u: u * 0.5**self.strength, updates), state


def test_a_subclass_elsewhere_is_a_value_under_its_module_s_name() -> None:
    tx = Halve(strength=2)
    assert tx.public_name.endswith("test_value.halve")
    assert repr(tx).endswith("halve(strength=2.0)")
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert adamx.from_config(adamx.get_config(tx)) == tx
    assert jax.jit(lambda tx: tx.update(8.0, tx.init(None))[0])(tx) == 2.0


def test_there_is_one_class_per_public_name() -> None:
    assert Value.public_name == "value"
    assert type(ADAM).public_name == "scale_by_adam"
