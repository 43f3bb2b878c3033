"""A name of optax that is not here says where it is; the others are where optax has them."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import optax.losses
import optax.projections
import optax.schedules
import optax.transforms
import pytest

import adamx
from adamx.core import elsewhere


def public(module: ModuleType) -> list[str]:
    return [name for name in dir(module) if not name.startswith("_")]


ABSENT = [
    name
    for library in (optax, optax.contrib, optax.losses, optax.projections)
    for name in public(library)
    if not hasattr(adamx, name)
]


@pytest.mark.parametrize("name", dict.fromkeys(ABSENT))
def test_every_absent_name_of_optax_says_where_it_is(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"`adamx` has no '{name}'[:;] .*optax") as caught:
        getattr(adamx, name)
    assert caught.value.name == name
    for found in re.findall(r"`adamx\.([\w.]+)", str(caught.value)):
        thing: Any = adamx
        for part in found.split("."):
            thing = getattr(thing, part)


def test_a_part_that_is_imported_by_itself_says_so() -> None:
    error = elsewhere.missing("interop", adamx.__all__)
    assert "write `import adamx.interop`" in str(error)


@pytest.mark.parametrize("name", elsewhere._HERE)
def test_only_names_of_optax_are_explained(name: str) -> None:
    libraries = (optax, optax.contrib, optax.transforms)
    assert any(hasattr(library, name) for library in libraries) or name == "ScalarOrSchedule"
    assert not hasattr(adamx, name)


@pytest.mark.parametrize("part", ["schedules", "transforms"])
def test_names_may_be_written_with_optaxs_package_in_front(part: str) -> None:
    there, here = getattr(optax, part), getattr(adamx, part)
    both = {name for name in public(there) if name in adamx.__all__}
    assert len(both) > 10
    for name in both:
        assert getattr(here, name) is getattr(adamx, name)
    with pytest.raises(AttributeError, match="`adamx` has no 'nothing_like_it'"):
        here.nothing_like_it  # noqa: B018


def test_misspelt_names_are_guessed_and_nothing_else_changes() -> None:
    with pytest.raises(AttributeError, match="did you mean 'cosine_decay_schedule'"):
        adamx.cosine_decay_shedule  # noqa: B018
    assert "MultiSteps" not in dir(adamx)
    assert not hasattr(adamx, "__wrapped__")
    with pytest.raises(ImportError):
        from adamx import MultiSteps  # noqa: F401


def test_optaxs_other_names() -> None:
    assert adamx.partition is adamx.multi_transform
    tx = adamx.adam(0.1)
    state: adamx.OptState = tx.init(jnp.ones(2))
    updates: adamx.Updates = jnp.ones(2)
    params: adamx.Params = jnp.ones(2)
    assert len(tx.update(updates, state, params)) == 2


def test_safe_increment() -> None:
    for given in (jnp.asarray(3), jnp.asarray(2**31 - 1), jnp.arange(2, dtype=jnp.uint8)):
        np.testing.assert_array_equal(adamx.safe_increment(given), optax.safe_increment(given))
    for bad in (1.5, 3, None, jnp.ones(())):
        with pytest.raises(TypeError, match="safe_increment: `count` must be an integer array"):
            adamx.safe_increment(bad)


def test_incremental_update() -> None:
    new, old = ({"w": jnp.full(2, x), "n": None} for x in (3.0, 1.0))
    for share in (0.25, jnp.asarray(0.25)):
        mixed = adamx.incremental_update(new, old, share)
        np.testing.assert_array_equal(mixed["w"], optax.incremental_update(new, old, share)["w"])
        assert mixed["n"] is None
    half = adamx.incremental_update(jnp.ones(2), jnp.zeros(2, jnp.bfloat16), 0.5)
    assert half.dtype == jnp.bfloat16
    assert adamx.incremental_update(jnp.asarray(7), jnp.asarray(3), 0.5) == 7
    for bad in (True, "0.1", None, 1j):
        with pytest.raises(TypeError, match="incremental_update: `step_size` must be a number"):
            adamx.incremental_update(new, old, bad)
    with pytest.raises(ValueError, match="must be a scalar"):
        adamx.incremental_update(new, old, jnp.ones(2))
    with pytest.raises(ValueError, match=r"new tensors at \['w'\] has shape"):
        adamx.incremental_update({**new, "w": jnp.ones((2, 1))}, old, 0.5)
