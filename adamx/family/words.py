"""A step of Adam whose moments are in one word, of the format `pair`.

The update is read from the word as it was stored, by the core's own `direction`: what is applied is
what is remembered, and no float32 moment has two readers, for which XLA would keep it as an array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import hyperparameter, numerics, tree
from adamx.core.format import Joint, Place
from adamx.core.hyperparameter import Number
from adamx.core.link import PerLeaf, View, in_precision
from adamx.core.slot import Slot
from adamx.core.transformation import State
from adamx.formats.bits import key_of, random_bits
from adamx.formats.named import as_format
from adamx.formats.pair import (
    BLOCK,
    FIXED,
    Denominator,
    PairFormat,
    block_base,
    block_max,
    decode,
    direction_and_v,
    encode,
    largest_v,
)

if TYPE_CHECKING:
    from adamx.family.moments import Core


class WordScalars(NamedTuple):
    """The numbers of one step for a leaf that is stored in words."""

    core: Any  # of the core itself
    before: Denominator  # of the step that stored the words
    now: Denominator
    root: Number  # sqrt(1 - b2**t): D over it is the denominator of the direction
    block: int | None  # elements that share a base, None where all do
    key: chex.Array  # uint32[], of the random bits


def with_words(core: Core, s: Any, view: View, state: State) -> Any:
    """The numbers of a step, for every leaf as it is stored; `s` are those of the core."""
    form = as_format(core.state_format)
    if not isinstance(form, Joint):
        return s
    before = _stored_with(core, state.count)
    count = numerics.safe_increment(state.count)
    now = _denominator(core, count)
    root = hyperparameter.sqrt(hyperparameter.one_minus_power(core.at("b2", state.count), count))
    paths = [path for path, _ in tree.flatten_with_paths(view.updates)]
    slots = Slot("mu", format=form).by_leaf(view.updates)

    def own(path: str, slot: Slot, stored: Any) -> Any:
        pair = slot.format
        if not isinstance(pair, PairFormat) or getattr(stored, "dtype", None) != jnp.uint16:
            return s
        key = key_of(pair.seed, Place(state.count, f"mu{path}"), stored)
        return WordScalars(s, before, now, root, pair.block_of(stored), key)

    # A state of another structure is refused where the leaves are gone through.
    return PerLeaf([*map(own, paths, slots, tree.flatten(state.mu)[0])])


def _stored_with(core: Core, count: chex.Array) -> Denominator:
    """D of the step that stored the words, after `count` steps; before the first they are 0."""
    return _denominator(core, jnp.maximum(count, 1))


def _denominator(core: Core, count: chex.Array) -> Denominator:
    """D of step `count`, 1 on the first: eps beside sqrt(v), not beside the corrected root."""
    b2, eps, eps_root = (core.at(name, count - 1) for name in ("b2", "eps", "eps_root"))
    if not core.eps_hat:
        rest = hyperparameter.one_minus_power(b2, count)
        eps = eps * hyperparameter.sqrt(rest)
        if not hyperparameter.is_exactly_zero(eps_root):
            eps_root = eps_root * rest
    return Denominator(eps, eps_root)


def other_format(owner: str) -> TypeError:
    """The error for moments that are neither words nor floats."""
    return TypeError(
        f"{owner}: words of the format `pair` are in `mu`, with None or the bases of blocks in "
        "`nu`, and floats are in both; was the state made with another `state_format`?"
    )


def step_words(
    core: Core,
    s: WordScalars,
    g: chex.Array,
    word: chex.Array,
    base: Any,
    rows: chex.Array | None = None,
) -> Any:
    """The direction after a gradient, the new words, and the new bases or None.

    `rows` are the numbers of those that these are of a table.
    """
    blocks = None if s.block is None else (*word.shape[:-1], word.shape[-1] // s.block)
    if getattr(base, "shape", None) != blocks or numerics.is_inexact(base):
        raise other_format(core.public_name)
    s = in_precision(s, jnp.dtype(jnp.float32))
    g = g.astype(jnp.float32)
    bits = random_bits(s.key, g.shape, rows)
    if blocks is None:
        u, word = _step(core, s, g, word, bits)
        return u, word, None
    new = block_base(_bound(core, s, g, word, base.astype(jnp.int32)))
    codes = [(BLOCK, _spread(x, word)) for x in (base, new)]
    u, word = _step(core, s, g, word, bits, (codes[0], codes[1]))
    return u, word, new


def _spread(base: chex.Array, word: chex.Array) -> chex.Array:
    """The base of every word, int32.

    In the shape of the leaf: words in another one would be read before they are stored.
    """
    apart = (*base.shape, word.shape[-1] // base.shape[-1])
    return jnp.broadcast_to(base.astype(jnp.int32)[..., None], apart).reshape(word.shape)


def _bits_of_finite(x: chex.Array) -> chex.Array:
    """The words of numbers of at least 0, which have their order; 0 for what is none."""
    return jnp.where(jnp.isfinite(x), jax.lax.bitcast_convert_type(x, jnp.int32), 0)


def _bound(
    core: Core, s: WordScalars, g: chex.Array, word: chex.Array, base: chex.Array
) -> chex.Array:
    """A bound of the v of each block after this gradient, NaN apart."""
    assert s.block is not None
    v = largest_v(block_max(word.astype(jnp.int32), s.block), base)
    largest = block_max(_bits_of_finite(jnp.abs(g)), s.block)
    largest = jax.lax.bitcast_convert_type(largest, jnp.float32)
    _, bound = core.remember(s.core, largest, numerics.squared_magnitude, jnp.zeros_like(v), v)
    return bound


def _step(
    core: Core,
    s: WordScalars,
    g: chex.Array,
    word: chex.Array,
    bits: chex.Array,
    codes: tuple[tuple[Any, ...], tuple[Any, ...]] = ((), ()),
) -> tuple[chex.Array, chex.Array]:
    before, now = codes
    m, v = core.remember(s.core, g, numerics.squared_magnitude, *decode(word, s.before, *before))
    word = encode(m, v, s.now, bits, *now)
    r, v = direction_and_v(word, *now)
    # The ratio is stored: the loop of the parameters needs neither a root nor a division.
    return core.direction(s.core, g, r * s.now(v), v, ratio=r * s.root), word


def unpack(
    core: Core, count: chex.Array, word: chex.Array, base: Any
) -> tuple[chex.Array, chex.Array]:
    """Both moments in float32, of what a core stored after `count` steps."""
    denominator = in_precision(_stored_with(core, count), jnp.dtype(jnp.float32))
    code = () if base is None else (BLOCK, _spread(base, word))
    return decode(word, denominator, *code)


def pack(
    core: Core, count: chex.Array, m: chex.Array, v: chex.Array, like: Any
) -> tuple[chex.Array, chex.Array | None]:
    """The nearest words, and bases of blocks if they are wanted in `like`.

    Of what `unpack` returned it is what stands for the same numbers.
    """
    m, v = m.astype(jnp.float32), v.astype(jnp.float32)
    denominator = in_precision(_stored_with(core, count), jnp.dtype(jnp.float32))
    if like is None:
        return encode(m, v, denominator, jnp.full(m.shape, FIXED.nearest)), None
    largest = block_max(_bits_of_finite(v), m.shape[-1] // like.shape[-1])
    base = block_base(jax.lax.bitcast_convert_type(largest, jnp.float32))
    bits = jnp.full(m.shape, BLOCK.nearest)
    return encode(m, v, denominator, bits, BLOCK, _spread(base, m)), base.astype(like.dtype)
