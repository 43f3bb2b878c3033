"""A step of Adam whose moments are in one word, of the format `pair`.

The update is read from the word as it was stored, by the core's own `direction`: what is applied is
what is remembered, and no float32 moment has two readers, for which XLA would keep it as an array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from adamx.core import hyperparameter, numerics, tree
from adamx.core.format import Place
from adamx.core.link import PerLeaf, View, in_precision
from adamx.formats.bits import key_of, random_bits
from adamx.formats.pair import Denominator, PairFormat, decode, encode

# Random bits that round to nearest: half of what `encode` drops of v, and half of a level of m.
_NEAREST = np.uint32((1 << 31) | (1 << 11))


class WordScalars(NamedTuple):
    """The numbers of one step for a leaf that is stored in words."""

    core: Any  # of the core itself
    before: Denominator  # of the step that stored the words
    now: Denominator
    key: chex.Array  # uint32[], of the random bits


def with_words(core: Any, s: Any, view: View, state: Any) -> Any:
    """The numbers of a step, for every leaf as it is stored; `s` are those of the core."""
    pair = core.state_format
    if not isinstance(pair, PairFormat):
        return s
    before = _stored_with(core, state.count)
    now = _denominator(core, numerics.safe_increment(state.count))
    paths = [path for path, _ in tree.flatten_with_paths(view.updates)]

    def own(path: str, stored: Any) -> Any:
        if getattr(stored, "dtype", None) != jnp.uint16:
            return s
        return WordScalars(
            s, before, now, key_of(pair.seed, Place(state.count, f"mu{path}"), stored)
        )

    # A state of another structure is refused where the leaves are gone through.
    return PerLeaf([*map(own, paths, tree.flatten(state.mu)[0])])


def _stored_with(core: Any, count: chex.Array) -> Denominator:
    """D of the step that stored the words, after `count` steps; before the first they are 0."""
    return _denominator(core, jnp.maximum(count, 1))


def _denominator(core: Any, count: chex.Array) -> Denominator:
    """D of step `count`, 1 on the first: eps beside sqrt(v), not beside the corrected root."""
    b2, eps, eps_root = (core.at(name, count - 1) for name in ("b2", "eps", "eps_root"))
    if not getattr(core, "eps_hat", False):
        rest = hyperparameter.one_minus_power(b2, count)
        eps = eps * hyperparameter.sqrt(rest)
        if not hyperparameter.is_exactly_zero(eps_root):
            eps_root = eps_root * rest
    return Denominator(eps, eps_root)


def step_words(core: Any, s: WordScalars, g: chex.Array, word: chex.Array) -> Any:
    """The direction after a gradient, the new words, and None."""
    s = in_precision(s, jnp.dtype(jnp.float32))
    g = g.astype(jnp.float32)
    m, v = core.remember(s.core, g, numerics.squared_magnitude, *decode(word, s.before))
    word = encode(m, v, s.now, random_bits(s.key, g.shape))
    return core.direction(s.core, g, *decode(word, s.now)), word, None


def unpack(core: Any, count: chex.Array, word: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Both moments in float32, of the words that a core stored after `count` steps."""
    return decode(word, in_precision(_stored_with(core, count), jnp.dtype(jnp.float32)))


def pack(core: Any, count: chex.Array, m: chex.Array, v: chex.Array) -> chex.Array:
    """The nearest words; of what `unpack` returned, the same ones."""
    denominator = in_precision(_stored_with(core, count), jnp.dtype(jnp.float32))
    bits = jnp.full(m.shape, _NEAREST)
    return encode(m.astype(jnp.float32), v.astype(jnp.float32), denominator, bits)
