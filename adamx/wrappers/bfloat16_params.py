"""Parameters in bfloat16 that learn: what a step would lose is kept, or rounded at random."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from adamx.core import checks, fields, numerics, tree
from adamx.core.chain import run_links
from adamx.core.fields import Where
from adamx.core.format import Place, as_numbers
from adamx.core.indexing import gather, scatter
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.core.transformation import P, Params, State, Updates
from adamx.core.wrapper import Wrapper
from adamx.core.writer import write_leaf
from adamx.formats.bfloat16 import round_at_random
from adamx.formats.bits import key_of, random_bits
from adamx.formats.rest import DTYPES, Rest, is_bfloat16, join, split


class Bfloat16ParamsState(NamedTuple):
    """The number of steps, what the parameters do not hold, and the state inside."""

    count: chex.Array  # int32[], steps taken; random bits are made of it
    rest: Updates  # uint8, uint16 or float32 like the parameters; None where nothing is kept
    inner_state: State

    def float32_params(self, params: Params) -> Params:
        """The parameters in float32, as the recipe inside sees them; they outlive a donation."""
        _check_rest("float32_params", params, self.rest)
        wide: Params = tree.unshared(_wide(params, self.rest), params)
        return wide


def _check_bits(where: Where, value: object) -> int:
    bits = fields.check_static_count(where, value)
    if bits not in (0, *DTYPES):
        raise where.error(ValueError, f"0, {', '.join(map(str, DTYPES))}", value)
    return bits


class Bfloat16Params(Wrapper):
    """Parameters in bfloat16 that learn as those in float32 do.

        p, rest <- split(join(p, rest) + u)

    Rounded to nearest, a bfloat16 parameter loses every update smaller than 1/512 of it.  Here

        extra_bits   bytes of a parameter     p + u is
        0            2                        rounded up or down at random, exact in the mean
        8            3                        kept to 1/65,536 of the parameter
        16           4                        float32, to the last bit
        32           6                        float32, with the bfloat16 copy of it beside

    The whole recipe goes inside, so that weight decay, trust ratios and averages see the parameter
    in float32.  Forward and backward pass get the bfloat16 array as ever.  Parameters of other
    dtypes take the ordinary step, and rows of tables are rounded alone.  The random bits are a hash
    of seed, step, leaf and element, see `bfloat16_format`.

    `update` returns float32 differences for these parameters, for `apply_updates` of adamx or of
    optax: in 4 of a million elements that change by about themselves their sum is another
    neighbour than `step` writes; where a change is below a hundredth, in none.  optax's wrappers
    with a conditional (`optax.apply_if_finite`) want updates in the dtype of the gradient: take
    those of adamx, inside or outside.

    Args:
      inner: the whole recipe, clipping and averages of the parameters included.
      extra_bits: what the state keeps of every parameter: 0, 8, 16 or 32 bits.
      seed: a whole number, at least 0, for 0 extra bits.

    Returns:
      A transformation with state `Bfloat16ParamsState(count, rest, inner_state)`.  The moments
      inside are those of float32 parameters; `state.float32_params(params)` are these.

    Raises:
      TypeError: `inner` is no transformation; parameters in float16, which has too small a range.
      ValueError: another number of bits; a negative seed; a table in mode `exact` inside; no
        parameters at `update`.  What changes updates is refused behind it and around it.

    Reference:
      Gupta et al., Deep Learning with Limited Numerical Precision, 2015, section 3.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.bfloat16_params(adamx.adamw(1e-3, state_format="pair"))
      >>> params = jnp.ones((256, 256), jnp.bfloat16)
      >>> params, state = tx.step(jnp.ones((256, 256)), tx.init(params), params)
      >>> print(params.dtype.name, params.astype(jnp.float32).mean().round(4))  # not all still 1
      bfloat16 0.99899995
    """

    extra_bits: int = fields.static(_check_bits, default=0)
    seed: int = fields.static(fields.check_static_count, default=0, kw_only=True)

    def why_final(self) -> str:
        return (
            "which has rounded by then what they lead to; put it inside: "
            "`bfloat16_params(the whole recipe)`"
        )

    def slots(self) -> tuple[Slot, ...]:
        # A parameter without a rest is in the middle of what it stands for.
        start: Any = "parameter" if self.extra_bits == 32 else (1 << self.extra_bits) >> 1
        return (Slot("rest", format=Rest(self.extra_bits), start=start),)

    def init(self, params: Params) -> State:
        self._check(params)
        (slot,) = self.slots()
        rest = slot.init(params)
        wide = _wide(params, None)
        return Bfloat16ParamsState(jnp.zeros((), jnp.int32), rest, self.inner.init(wide))

    def stored(self, params: Params, narrow: Any) -> tuple[Params, Any]:
        """Parameters in the bits that there are, rounded to nearest, and what is left of them.

        Args:
          params: as the recipe inside sees them.
          narrow: which ones are to be bfloat16, as a tree of booleans.
        """
        kept = Rest(self.extra_bits)

        def leaf(p: Any, chosen: bool) -> tuple[Any, Any]:
            if not chosen:
                return p, None
            like = kept.dtype(jax.ShapeDtypeStruct(p.shape, jnp.bfloat16), "signed")
            x = numerics.widen(p)
            if like is None:
                return x.astype(jnp.bfloat16), None
            return split(x, jax.ShapeDtypeStruct(p.shape, like))

        leaves, structure = tree.flatten(params)
        pairs = [leaf(*each) for each in zip(leaves, tree.flatten(narrow)[0], strict=True)]
        return tuple(structure.unflatten([pair[i] for pair in pairs]) for i in (0, 1))

    def _check(self, params: Params) -> None:
        checks.check_arrays(self.public_name, "parameters", params)
        for path, leaf in tree.flatten_with_paths(params):
            if numerics.is_inexact(leaf) and jax.dtypes.result_type(leaf) == jnp.float16:
                raise TypeError(
                    f"{self.public_name}: the parameter at {path} is float16, in which small "
                    "updates and large weights are lost; keep it in float32, or write "
                    "`params.astype(jnp.bfloat16)`"
                )

    def _updates(
        self, grads: Updates, state: State, params: Params | None, extra: dict[str, Any]
    ) -> tuple[Updates, State]:
        """The updates of the float32 parameters, and the state inside after them."""
        checks.check_state(self.public_name, state, Bfloat16ParamsState, {"count": checks.COUNT})
        checks.require_params(self.public_name, params)
        self._check(params)
        checks.check_match(self.public_name, "gradients", grads, "parameters", params)
        _check_rest(self.public_name, params, state.rest, Rest(self.extra_bits))
        # As a link of a chain, so that nothing is rounded to the dtype of the gradient.
        updates, (inner,) = run_links(
            [self.inner], grads, [state.inner_state], _wide(params, state.rest), extra
        )
        return updates, inner

    def _written(self, updates: Updates, state: State, params: Params) -> tuple[Params, Any]:
        """The new parameters and what they do not hold."""
        checks.check_match(self.public_name, "updates", updates, "parameters", params)
        leaves, structure = tree.flatten(params)
        paths = [path for path, _ in tree.flatten_with_paths(params)]
        columns = (tree.flatten(x)[0] for x in (updates, state.rest))
        pairs = [
            self._write(Place(state.count, f"parameter{path}"), *leaf)
            for path, *leaf in zip(paths, leaves, *columns, strict=True)
        ]
        new, rest = zip(*pairs, strict=True) if pairs else ((), ())
        return structure.unflatten(new), structure.unflatten(rest)

    def _write(self, place: Place, p: Any, u: Any, rest: Any) -> tuple[Any, Any]:
        if not (is_bfloat16(p) and numerics.is_inexact(u)):
            return write_leaf(p, u), rest
        if not isinstance(u, SparseRows):
            return self._rounded(place, join(p, rest) + u, p, rest)
        u = u.coalesce()
        old = [None if x is None else gather(x, u.indices) for x in (p, rest)]
        new = self._rounded(place, join(*old) + u.values, p, rest, u.indices)
        return tuple(
            x if rows is None else scatter(x, u.indices, rows)
            for x, rows in zip((p, rest), new, strict=True)
        )

    def _rounded(
        self, place: Place, x: chex.Array, p: Any, rest: Any, rows: chex.Array | None = None
    ) -> tuple[chex.Array, chex.Array | None]:
        """A float32 array, or some rows of it, in the bits that there are."""
        x = x.astype(jnp.float32)
        if rest is not None:
            return split(x, rest)
        return round_at_random(x, random_bits(key_of(self.seed, place, p), x.shape, rows)), None

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, State]:
        inner, inner_state = self._updates(updates, state, params, extra)
        new, rest = self._written(inner, state, params)

        def difference(old: Any, after: Any, u: Any) -> Any:
            if not (is_bfloat16(old) and numerics.is_inexact(u)):
                return u
            return numerics.widen(after) - numerics.widen(jnp.asarray(old))

        differences = jax.tree.map(difference, params, new, inner, is_leaf=tree.is_leaf)
        return differences, self._after(state, rest, inner_state)

    def step(self, grads: Updates, state: State, params: P, **extra: Any) -> tuple[P, State]:
        updates, inner_state = self._updates(grads, state, params, extra)
        new, rest = self._written(updates, state, params)
        return new, self._after(state, rest, inner_state)

    def _after(self, state: State, rest: Any, inner: State) -> State:
        return Bfloat16ParamsState(numerics.safe_increment(state.count), rest, inner)


def _check_rest(owner: str, params: Params, rest: Any, kept: Rest | None = None) -> None:
    """Raises unless `rest` fits the parameters, with the bits that are kept of them."""
    checks.check_read(owner, params, "`rest` of the state", as_numbers(rest))
    if kept is None:
        return
    for (path, p), x in zip(tree.flatten_with_paths(params), tree.flatten(rest)[0], strict=True):
        wanted, given = kept.dtype(p, "signed"), getattr(x, "dtype", None)
        if wanted != given:
            raise TypeError(
                f"{owner}: `rest` of the state must be {wanted} at {path}, got {given}; was it "
                "made with other `extra_bits`, or for parameters of another dtype?"
            )


def _wide(params: Params, rest: Any) -> Params:
    """bfloat16 parameters in float32, with what they do not hold; also of shapes alone."""

    def widen(p: Any, rest: Any = None) -> Any:
        if not is_bfloat16(p):
            return p
        if isinstance(p, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(p.shape, jnp.float32)
        return join(p, rest)

    more = () if rest is None else (rest,)
    wide: Params = jax.tree.map(widen, params, *more, is_leaf=tree.is_leaf)
    return wide


bfloat16_params = Bfloat16Params
