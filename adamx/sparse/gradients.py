"""Gradients of the rows that a loss reads, in place of gradients of whole tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from adamx.core import numerics, tree
from adamx.core.checks import check_arrays
from adamx.core.fields import Where, call, check_array, check_switch
from adamx.core.indexing import gather, positions, replicated
from adamx.core.paths import by_path, check_patterns
from adamx.core.ranking import distinct, find
from adamx.core.rows import SparseRows
from adamx.core.transformation import Params, State, Updates
from adamx.sparse.exact import StaleRows
from adamx.sparse.rows import SparseAdamState

# From a pattern of paths to a function of the batch that says which rows the loss reads.
Tables: TypeAlias = Mapping[str, Callable[..., Any]]

_OWNER = "sparse.value_and_grad"
_OF_BATCH = "a function (*batch) -> ids"


def _no_key(*args: Any) -> Any:
    raise TypeError("the row ids of a Lookup are no random key; write table[ids]")


# A dtype that JAX carries through all of its transformations and never computes with: as int32, ids
# would be rounded where all of the parameters are cast, and added where all of them are summed.
_IDS = define_prng_impl(
    key_shape=(1,),
    seed=_no_key,
    split=_no_key,
    random_bits=_no_key,
    fold_in=_no_key,
    name="adamx.sparse.Lookup",
    tag="row ids of a sparse.Lookup: cast floating leaves only, write table[ids]",
)


def _sealed(ids: chex.Array) -> chex.Array:
    """Ids with which nothing can be computed."""
    return jax.random.wrap_key_data(ids.astype(jnp.uint32)[..., None], impl=_IDS)


def _opened(ids: chex.Array) -> chex.Array:
    """The int32 of which `_sealed` was made."""
    return jax.random.key_data(ids)[..., 0].astype(jnp.int32)


@jax.tree_util.register_pytree_with_keys_class
class Lookup:
    """A table as a loss sees it: `table[ids]` reads rows, and nothing else works.

    Ids may be integers of any dtype and shape.  An id outside of the table reads a row of zeros,
    and no gradient goes back to it: -1 pads.  An id that was not announced reads NaNs.

    It is a pytree, so that parameters can be arguments of `vmap`, `scan` and `jax.checkpoint`.  Its
    leaves are the rows and their sealed ids, which are no numbers for JAX: a cast of every leaf or
    a sum over all of them, a penalty for example, raises.  Cast floating leaves only, or the table
    by `table.astype(dtype)`, or what was read; and let a penalty on whole tables be weight decay:
    a sum over floating leaves only, as `adamx.global_norm` makes it, is of the announced rows.
    """

    def __init__(self, ids: chex.Array, rows: chex.Array, num_rows: int) -> None:
        """`ids` are sealed."""
        self._ids, self._rows, self._num_rows = ids, rows, num_rows

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """The ids and their rows."""
        key = jax.tree_util.GetAttrKey
        return ((key("ids"), self._ids), (key("rows"), self._rows)), self._num_rows

    @classmethod
    def tree_unflatten(cls, num_rows: int, children: Sequence[Any]) -> Lookup:
        """Rebuilds it from its parts."""
        ids, rows = children
        return cls(ids, rows, num_rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the table."""
        return (self._num_rows, *self._rows.shape[1:])

    @property
    def ndim(self) -> int:
        """That of the table."""
        return int(self._rows.ndim)

    @property
    def dtype(self) -> Any:
        """That of the table."""
        return self._rows.dtype

    def astype(self, dtype: Any) -> Lookup:
        """A view that reads rows in another dtype."""
        return Lookup(self._ids, self._rows.astype(dtype), self._num_rows)

    def __getitem__(self, ids: Any) -> chex.Array:
        if isinstance(ids, (tuple, slice)) or ids is None or ids is Ellipsis:
            raise TypeError(f"Lookup: a table is read as table[ids] with integers, got {ids!r}")
        ids = jnp.asarray(ids)
        if not jnp.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"Lookup: ids must be integers, got {ids.dtype.name}{list(ids.shape)}")
        wanted = positions(ids, self._num_rows)
        announced = _opened(self._ids)
        if not len(announced):
            place, known = jnp.zeros_like(wanted), jnp.zeros_like(wanted, bool)
            rows = jnp.zeros((*wanted.shape, *self._rows.shape[1:]), self.dtype)
        else:
            place = jnp.minimum(find(announced, wanted), len(announced) - 1)
            known = (gather(announced, place) == wanted) & (wanted < self._num_rows)
            rows = gather(self._rows, place)
        otherwise = jnp.where(wanted < self._num_rows, jnp.nan, 0.0).astype(self.dtype)
        known, otherwise = (x.reshape(x.shape + (1,) * (self.ndim - 1)) for x in (known, otherwise))
        return jnp.where(known, rows, otherwise)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(self._refusal())

    __iter__ = __bool__ = __array__ = __jax_array__ = _refuse
    __neg__ = __pos__ = __abs__ = __invert__ = _refuse
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _refuse
    __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __divmod__ = __rdivmod__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name if name.startswith("_") else self._refusal())

    def _refusal(self) -> str:
        return (
            f"only rows of this table of shape {self.shape} were read, as it is one of the "
            f"`tables` of {_OWNER}; write table[ids].  A table that the loss also reads as a "
            "whole (as output weights, say) has a dense gradient: leave it out of `tables`"
        )


def lookup(table: chex.Array | Lookup, ids: chex.Array) -> chex.Array:
    """Rows of a table, zeros for ids outside of it: for losses whose batches are padded with -1.

    `table[ids]` does the same in a loss that is differentiated with `sparse.value_and_grad`; but an
    array, with which the loss may be evaluated, takes -1 for the last row.

    Args:
      table: shape `(num_rows, ...)`; an array, or what a loss got in its place.
      ids: integers of any dtype and shape.

    Returns:
      An array of shape `(*ids.shape, ...)`.

    Raises:
      TypeError: ids that are no integers.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> adamx.sparse.lookup(jnp.array([1.0, 2.0]), jnp.array([1, -1, 0]))
      Array([2., 0., 1.], dtype=float32)
    """
    if isinstance(table, Lookup):
        return table[ids]
    table, ids = (
        check_array(Where("sparse.lookup", name), x) for name, x in (("table", table), ("ids", ids))
    )
    if not jnp.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"sparse.lookup: ids must be integers, got {ids.dtype.name}")
    if not table.ndim:
        raise ValueError("sparse.lookup: `table` must have rows along its first axis, got a number")
    return gather(table, positions(ids, len(table)))


def _read(state: State, params: Params, i: int, ids: chex.Array) -> chex.Array:
    """Rows of the i-th leaf as they are by now; anything for ids past its end."""
    leaves, structure = tree.flatten(params)
    table = jnp.asarray(leaves[i])
    for node in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, SparseAdamState)):
        if isinstance(node, SparseAdamState):
            mu, nu, memory = (structure.flatten_up_to(x)[i] for x in node[1:])
            if isinstance(memory, StaleRows):
                inside = jnp.minimum(ids, max(len(table) - 1, 0))
                return memory.read(table, mu, nu, inside)
    return gather(table, ids, indices_are_sorted=True, unique_indices=True)


def value_and_grad(
    loss_fn: Callable[..., Any], tables: Tables, has_aux: bool = False
) -> Callable[..., tuple[Any, Updates]]:
    """`jax.value_and_grad` with gradients of `SparseRows` for the tables that a loss looks up.

    Rows are read before the loss is differentiated, and the gradient is that of these rows: no
    array of the size of a table is made.  In the loss, `params["embed"][ids]` reads rows, as often
    as you like and anywhere, also under `vmap`, `scan` and `jax.checkpoint`; an id outside of the
    table, such as the padding -1, reads zeros.  The same loss can be evaluated with plain arrays.

    A table that a loss also reads as a whole, such as embeddings that are output weights too, has
    a dense gradient: leave it out of `tables`, and nothing about it is different.

    Args:
      loss_fn: `loss_fn(params, *batch) -> loss`, a real scalar; with `has_aux`, `-> (loss, aux)`.
      tables: which parameters are looked up, and where: a dict from patterns of their paths to
        functions `(*batch) -> ids`.  Ids are integers of any dtype and shape, or a pytree of
        them; more than the loss reads may be announced, but an id that is read without having
        been announced gives NaNs.
      has_aux: whether `loss_fn` returns something besides the loss.

    Returns:
      A function `(params, *batch, state=None) -> (loss, grads)`, or `((loss, aux), grads)`.  The
      gradient of a table are `SparseRows` that are coalesced, as many as ids were announced.  Pass
      the optimizer's `state` where a table is in mode `exact`: rows are then read as they are by
      now.

    Raises:
      TypeError: `loss_fn` or a function of `tables` not callable; `has_aux` neither True nor
        False; ids that are no integers; in the loss, a table read otherwise than by `table[ids]`,
        or every leaf of the parameters cast or summed: cast floating leaves only, and let the
        optimizer decay weights.
      ValueError: a pattern that is no regular expression, or is found in no path.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> def loss_fn(params, tokens):
      ...     return jnp.sum(params["embed"][tokens] @ params["w"])
      >>> grad_fn = adamx.sparse.value_and_grad(loss_fn, {"embed": lambda tokens: tokens})
      >>> params = {"embed": jnp.ones((100, 2)), "w": jnp.array([1.0, 3.0])}
      >>> loss, grads = grad_fn(params, jnp.array([[7, 3], [7, -1]]))
      >>> grads["embed"].indices, grads["embed"].values
      (Array([  3,   7, 102, 103], dtype=int32), Array([[1., 3.],
             [2., 6.],
             [0., 0.],
             [0., 0.]], dtype=float32))
    """
    if not callable(loss_fn):
        raise TypeError(f"{_OWNER}: `loss_fn` must be a function, got {loss_fn!r}")
    patterns = check_tables(_OWNER, tables)
    has_aux = check_switch(Where(_OWNER, "has_aux"), has_aux)
    rules = [*tables.items()]

    def run(params: Params, *batch: Any, state: State = None) -> tuple[Any, Updates]:
        found = by_path(_OWNER, patterns, rules, params)
        leaves, structure = tree.flatten(params)
        shapes = [np.shape(leaf) for leaf in leaves]
        ids = {}
        for i, rule in enumerate(found):
            if rule is not None:
                pattern, announce = rule
                _check_table(pattern, leaves[i])
                found_ids = call(Where(_OWNER, f"tables[{pattern!r}]"), _OF_BATCH, announce, *batch)
                ids[i] = _announced(pattern, found_ids, shapes[i][0])
                leaves[i] = _read(state, params, i, ids[i])

        def loss_of_rows(leaves: list[Any]) -> Any:
            given = [
                Lookup(_sealed(ids[i]), leaf, shapes[i][0]) if i in ids else leaf
                for i, leaf in enumerate(leaves)
            ]
            return loss_fn(structure.unflatten(given), *batch)

        value, grads = jax.value_and_grad(loss_of_rows, has_aux=has_aux, allow_int=True)(leaves)
        for i, which in ids.items():
            grads[i] = SparseRows(which, grads[i], shapes[i][0], is_coalesced=True)
        return value, structure.unflatten(grads)

    return run


def check_tables(owner: str, tables: Tables) -> tuple[str, ...]:
    """The patterns of `tables`.

    Raises:
      TypeError: no dict from patterns to functions.
      ValueError: a pattern that is no regular expression.
    """
    if not isinstance(tables, Mapping) or not all(map(callable, tables.values())):
        raise TypeError(
            f"{owner}: `tables` must be a dict from patterns to functions of the batch that give "
            f"ids, got {tables!r}"
        )
    return check_patterns(Where(owner, "tables"), [*tables]) if tables else ()


def _check_table(pattern: str, leaf: Any) -> None:
    if not numerics.is_inexact(leaf) or np.ndim(leaf) < 1:
        raise TypeError(
            f"{_OWNER}: the parameter of {pattern!r} must be a table of floating numbers with the "
            f"rows along its first axis, got {leaf!r}"
        )


def _announced(pattern: str, ids: Any, num_rows: int) -> chex.Array:
    """All ids of a pytree of them, each once."""
    parts = [jnp.asarray(x) for x in jax.tree.leaves(ids)]
    for part in parts:
        if not jnp.issubdtype(part.dtype, np.integer):
            raise TypeError(
                f"{_OWNER}: the ids of {pattern!r} must be integers, got "
                f"{part.dtype.name}{list(part.shape)}"
            )
    flat = [replicated(positions(part, num_rows)).ravel() for part in parts]
    return distinct(jnp.concatenate(flat) if flat else jnp.zeros(0, jnp.int32), num_rows)


def sum_micro_batches(grads: Updates) -> Updates:
    """The sum of gradients that are stacked along a new first axis, as `lax.scan` returns them.

    Rows are put after each other, so that they stay sparse: k micro-batches of n rows give k n
    rows.

    Args:
      grads: a tree of arrays of shape `(k, ...)`, and of `SparseRows` whose indices and values have
        that axis in front.

    Returns:
      A gradient tree.

    Raises:
      TypeError: leaves that are no arrays.
      ValueError: `SparseRows` that are not stacked, or a number.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> grad_fn = adamx.sparse.value_and_grad(lambda t, ids: jnp.sum(t[ids]), {"": lambda i: i})
      >>> table, micro_batches = jnp.zeros(5), jnp.array([[1, 2], [2, 3]])
      >>> grads = jax.lax.map(lambda ids: grad_fn(table, ids)[1], micro_batches)
      >>> adamx.sparse.sum_micro_batches(grads).to_dense()
      Array([0., 1., 2., 1., 0.], dtype=float32)
    """

    check_arrays("sparse.sum_micro_batches", "gradients", grads)

    def add(g: Any) -> Any:
        if not np.ndim(g):
            raise ValueError(
                "sparse.sum_micro_batches: gradients must be stacked along a new first axis, got a "
                "number"
            )
        if not isinstance(g, SparseRows):
            return jnp.sum(numerics.widen(g), axis=0).astype(g.dtype)
        if g.indices.ndim != 2:
            raise ValueError(
                "sparse.sum_micro_batches: SparseRows must be stacked, with indices of shape "
                f"(k, n); got {g.indices.shape}"
            )
        return SparseRows(g.indices.ravel(), g.values.reshape(-1, *g.values.shape[2:]), g.num_rows)

    return tree.map_trained(add, grads)
