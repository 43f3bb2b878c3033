"""Fewer bits in files: words stay words, NumPy reads the rest, and the recipe beside them names the
format, so that a load into another one is refused by that name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint
import pytest
import safetensors.numpy

import adamx
from adamx.interop import export

# What the moments and the parameters are stored in, and what a configuration calls it.
MOMENTS: dict[str, Any] = {"float32": None, "bfloat16": "bfloat16", "pair": "pair"}
NAMED = {"float32": "None", "bfloat16": "bfloat16_format", "pair": "pair_format"}
BITS: dict[str, int | None] = {"float32": None, "+0": 0, "+8": 8, "+16": 16, "+32": 32}
EVERY = [*itertools.product(MOMENTS, BITS)]


def recipe(moments: str, bits: str) -> Any:
    adamw = adamx.adamw(1e-2, state_format=MOMENTS[moments])
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamw)
    return tx if BITS[bits] is None else adamx.bfloat16_params(tx, BITS[bits])


def start(bits: str) -> Any:
    rng = np.random.default_rng(0)
    dtype = jnp.float32 if BITS[bits] is None else jnp.bfloat16
    return {
        "kernel": jnp.asarray(rng.standard_normal((64, 64)), dtype),
        "bias": jnp.asarray(rng.standard_normal(64), dtype),
    }


def trained(moments: str, bits: str) -> dict[str, Any]:
    """Parameters and state after a step."""
    tx, params = recipe(moments, bits), start(bits)
    params, state = tx.step(jax.tree.map(jnp.cos, params), tx.init(params), params)
    return {"params": params, "state": state}


def like(moments: str, bits: str) -> dict[str, Any]:
    params = start(bits)
    return {"params": params, "state": jax.eval_shape(recipe(moments, bits).init, params)}


def same(a: Any, b: Any) -> bool:
    def bits(x: Any) -> Any:
        return x.dtype, np.asarray(x).tobytes()

    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(lambda a, b: bits(a) == bits(b), a, b)
    )


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(("moments", "bits"), EVERY)
def test_words_stay_words_and_the_header_names_them(
    moments: str, bits: str, suffix: str, tmp_path: Path
) -> None:
    path, tx, saved = tmp_path / f"run{suffix}", recipe(moments, bits), trained(moments, bits)
    export.save(path, saved, adamx.get_config(tx))

    # Readers that know nothing of bfloat16 can hold every array; words are as they are.
    arrays = np.load(path) if suffix == ".npz" else safetensors.numpy.load_file(path)
    wanted = export.to_flat(saved)
    for name, array in wanted.items():
        stored = arrays[name]
        assert stored.dtype.kind in "iuf"
        if array.dtype == ml_dtypes.bfloat16:
            assert (stored.dtype, stored.shape) == (np.uint8, (*array.shape, 2))
            assert stored.tobytes() == array.tobytes()
        else:
            assert stored.dtype == array.dtype
            assert np.array_equal(stored, array)

    assert adamx.from_config(export.load_config(path) or {}) == tx
    loaded = export.load(path, like(moments, bits), adamx.get_config(tx))
    assert same(loaded, saved)
    grads = jax.tree.map(jnp.sin, saved["params"])
    steps = (tx.step(grads, x["state"], x["params"]) for x in (loaded, saved))
    assert same(*steps)


def mismatch(saved: tuple[str, str], wanted: tuple[str, str]) -> str:
    """What a load must say: the outermost difference, with both names."""
    (moments, bits), (other, others) = saved, wanted
    if (BITS[bits] is None) != (BITS[others] is None):
        kinds = ["chain" if BITS[x] is None else "bfloat16_params" for x in (bits, others)]
        return f"config was {kinds[0]}, now {kinds[1]}"
    if moments != other:
        return "state_format was .*" + NAMED[moments] + ".*now .*" + NAMED[other]
    return f"config.extra_bits was {BITS[bits]}, now {BITS[others]}"


@pytest.mark.parametrize(("moments", "bits"), EVERY)
def test_another_format_is_refused_by_its_name(moments: str, bits: str, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    export.save(path, trained(moments, bits), adamx.get_config(recipe(moments, bits)))
    for other in EVERY:
        if other == (moments, bits):
            continue
        with pytest.raises(ValueError, match=mismatch((moments, bits), other)):
            export.load(path, like(*other), adamx.get_config(recipe(*other)))
        # Without the recipe it is the arrays that do not fit.
        with pytest.raises(ValueError, match=r"what was saved (does not fit|has other leaves)"):
            export.load(path, like(*other))


@pytest.mark.parametrize(("moments", "bits"), EVERY)
def test_orbax_keeps_every_word_and_the_recipe_beside_it(
    moments: str, bits: str, tmp_path: Path
) -> None:
    tx, saved = recipe(moments, bits), trained(moments, bits)
    args = orbax.checkpoint.args
    with orbax.checkpoint.Checkpointer(orbax.checkpoint.CompositeCheckpointHandler()) as writer:
        writer.save(
            tmp_path / "saved",
            args.Composite(
                run=args.StandardSave(saved), recipe=args.JsonSave(adamx.get_config(tx))
            ),
        )
        restored = writer.restore(
            tmp_path / "saved",
            args.Composite(
                run=args.StandardRestore(like(moments, bits)), recipe=args.JsonRestore()
            ),
        )
    assert same(restored["run"], saved)
    assert adamx.from_config(restored["recipe"]) == tx
