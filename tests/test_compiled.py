"""What XLA makes of a step: no gradient-sized temporaries, whatever the number of leaves.

Clipping, decay and bias correction are multiplications by scalars, so that a chain of links
compiles to the loops a person would have written by hand.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

import adamx
from tests.versions import in_place

# Bytes that a step may take besides; XLA:GPU takes 65 kB for the parts of a sum.
SCRATCH = 1024 if jax.default_backend() == "cpu" else 96 * 1024


def one_leaf():
    return {"w": jax.ShapeDtypeStruct((1 << 20,), jnp.float32)}


def gpt2_leaves(width: int = 768):
    """The 148 leaves of GPT-2 small, at any width."""

    def layer(_):
        sizes = {
            "ln_1": {"scale": (width,), "bias": (width,)},
            "qkv": {"kernel": (width, 3 * width), "bias": (3 * width,)},
            "proj": {"kernel": (width, width), "bias": (width,)},
            "ln_2": {"scale": (width,), "bias": (width,)},
            "up": {"kernel": (width, 4 * width), "bias": (4 * width,)},
            "down": {"kernel": (4 * width, width), "bias": (width,)},
        }
        return sizes

    shapes = {
        "wte": (50257, width),
        "wpe": (1024, width),
        "layers": [layer(i) for i in range(12)],
        "ln_f": {"scale": (width,), "bias": (width,)},
    }
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def compile_step(tx, params):
    """The step as people write it: parameters and state first, donated and returned in order."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        return tx.step(grads, state, params)

    return step.lower(params, jax.eval_shape(tx.init, params), params).compile()


def leaf_bytes(params):
    return sum(4 * leaf.size for leaf in jax.tree.leaves(params))


@in_place
@pytest.mark.parametrize(
    "params", [one_leaf(), gpt2_leaves(), gpt2_leaves(48)], ids=["one", "gpt2", "narrow"]
)
def test_clipped_adamw_needs_no_temporaries(params):
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3))
    memory = compile_step(tx, params).memory_analysis()
    assert memory.temp_size_in_bytes < SCRATCH
    # Parameters and both moments are updated in place.
    assert memory.alias_size_in_bytes >= 3 * leaf_bytes(params)


@in_place
def test_an_average_of_the_parameters_needs_no_temporaries():
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3), adamx.ema_params(0.999))
    memory = compile_step(tx, gpt2_leaves(48)).memory_analysis()
    assert memory.temp_size_in_bytes < 2 * SCRATCH
    assert memory.alias_size_in_bytes >= 4 * leaf_bytes(gpt2_leaves(48))


@pytest.mark.cpu_program
def test_the_scalars_of_a_step_are_computed_once():
    """XLA must not repeat the sum over 148 leaves inside every loop that reads the norm."""
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3))
    text = compile_step(tx, gpt2_leaves(48)).as_text()
    # Per leaf: one square to the norm, two averages, epsilon, decay, step; and the scalars once.
    assert text.count(" add(") < 6 * 148 + 50
    assert text.count(" select(") < 10


def test_every_link_is_named_in_the_compiled_program():
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(1e-3))
    text = compile_step(tx, one_leaf()).as_text()
    for name in ("clip_by_global_norm", "scale_by_adam", "add_decayed_weights"):
        assert f"/{name}/" in text


@in_place
def test_a_full_recipe_needs_no_temporaries():
    """clip -> guard -> adamw -> groups -> ema on 148 leaves, under 1 % of the parameters' bytes."""
    groups = adamx.multi_transform(
        {"decay": adamx.adamw(3e-4, weight_decay=0.1), "plain": adamx.adam(3e-4)},
        adamx.label_by_path((r"kernel|wte|wpe", "decay"), default="plain"),
    )
    recipe = adamx.chain(adamx.clip_by_global_norm(1.0), groups, adamx.ema_params(0.999))
    params = gpt2_leaves(192)
    memory = compile_step(adamx.apply_if_finite(recipe), params).memory_analysis()
    assert memory.temp_size_in_bytes < 0.01 * leaf_bytes(params)
    assert memory.alias_size_in_bytes >= 4 * leaf_bytes(params)
