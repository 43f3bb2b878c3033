"""Rows of a table: a gradient that is zero but for the rows a batch has read.

`SparseRows` *is* a dense array, written shorter: every transformation gives the same result for
it as for `to_dense()` of it, and only the cost differs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import fields, numerics
from adamx.core.indexing import gather, positions, scatter_add, zero_rows
from adamx.core.ranking import rank

# The largest row number that int32 holds.
_LARGEST = int(np.iinfo(np.int32).max)


def _array(name: str, x: object) -> chex.Array:
    return fields.check_array(fields.Where("SparseRows", name), x)


def _scalar(name: str, x: Any) -> Any:
    if _array(name, x).ndim:
        raise ValueError(
            f"SparseRows: only a scalar may multiply it, got shape {jnp.shape(x)}; "
            "write `rows.replace(values=...)` or `rows.to_dense() * x`"
        )
    return x


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class SparseRows:
    """An array of shape `(num_rows, ...)` that is zero in all but a few rows.

        dense[r] = sum over i with indices[i] == r of values[i]

    Duplicate indices are summed; indices outside `[0, num_rows)` are dropped, -1 included.  It is
    a pytree of two arrays, but every transformation takes it as one leaf, in the place of a
    gradient of shape `(num_rows, ...)`.  Nothing about it may depend on the indices' values, so
    that it can be traced: a batch with fewer rows is padded with the index -1.

    Args:
      indices: integers of any dtype, shape `(n,)`; n may be 0.
      values: floating or complex, shape `(n, ...)`; the row of each index.
      num_rows: the number of rows of the table.
      is_coalesced: promises int32 indices that increase strictly and are not negative; set by
        `coalesce`.

    Raises:
      TypeError: indices that are no integers.
      ValueError: indices of another number of axes than one, or another number of them than rows.

    Reference:
      TensorFlow's `IndexedSlices`.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> rows = adamx.SparseRows(jnp.array([2, 0, 2, -1]), jnp.ones((4, 1)), 3)
      >>> rows.to_dense().ravel()
      Array([1., 0., 2.], dtype=float32)
    """

    indices: chex.Array
    values: chex.Array
    num_rows: int
    is_coalesced: bool = False

    # NumPy's arrays leave `array + rows` and `number * rows` to this class.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        values = _array("values", self.values)
        indices = np.asarray(self.indices) if isinstance(self.indices, list) else self.indices
        num_rows = int(fields.check_count(fields.Where("SparseRows", "num_rows"), self.num_rows, 0))
        object.__setattr__(self, "num_rows", num_rows)
        fields.check_switch(fields.Where("SparseRows", "is_coalesced"), self.is_coalesced)
        if isinstance(indices, np.ndarray) and indices.dtype.kind in "iu":
            # Before JAX drops the upper half of 64 bits.
            inside = (indices >= 0) & (indices < self.num_rows)
            narrow = np.where(inside, indices, 0).astype(np.int32)
            indices = np.where(inside, narrow, np.int32(-1))  # -1 is no unsigned integer
        indices = _array("indices", indices)
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "values", values)
        if not jnp.issubdtype(indices.dtype, np.integer):
            raise TypeError(f"SparseRows: indices must be integers, got {indices.dtype.name}")
        if indices.ndim != 1 or values.ndim < 1 or len(indices) != len(values):
            raise ValueError(
                f"SparseRows: indices must have shape (n,) and values (n, ...), got "
                f"{indices.shape} and {values.shape}; for a batch of shape {indices.shape} write "
                "`indices.reshape(-1)` and `values.reshape(-1, d)`"
            )
        if self.num_rows > _LARGEST - len(indices):
            raise ValueError(
                f"SparseRows: num_rows must be in [0, 2**31 - n), got {self.num_rows}; "
                "divide a larger table into several"
            )

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """The two arrays; what is static goes with the structure."""
        key = jax.tree_util.GetAttrKey
        children = ((key("indices"), self.indices), (key("values"), self.values))
        return children, (self.num_rows, self.is_coalesced)

    @classmethod
    def tree_unflatten(cls, static: tuple[int, bool], children: Sequence[Any]) -> Self:
        """Rebuilds without checks: JAX also puts other things than arrays in their place."""
        self = object.__new__(cls)
        names = ("indices", "values", "num_rows", "is_coalesced")
        for name, value in zip(names, (*children, *static), strict=True):
            object.__setattr__(self, name, value)
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the dense array."""
        return (self.num_rows, *self.values.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """That of the values."""
        own: np.dtype = np.dtype(self.values.dtype)
        return own

    @property
    def ndim(self) -> int:
        """That of the dense array."""
        return int(self.values.ndim)

    @property
    def size(self) -> int:
        """The number of elements of the dense array."""
        return int(np.prod(self.shape))

    def positions(self) -> chex.Array:
        """The indices as int32, with something from `num_rows` up for those outside the table."""
        return self.indices if self.is_coalesced else positions(self.indices, self.num_rows)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"SparseRows: unknown field {name!r}; it has {', '.join(known)}")
        return dataclasses.replace(self, **changes)

    def astype(self, dtype: Any) -> Self:
        """The values in another dtype.

        Raises:
          TypeError: no dtype of floats or complex numbers.
        """
        try:
            own = None if dtype is None else jnp.dtype(dtype)
        except TypeError:
            own = None
        if own is None or not jnp.issubdtype(own, np.inexact):
            raise TypeError(
                f"SparseRows.astype: `dtype` must be a floating or complex dtype, got {dtype!r}"
            )
        return self.replace(values=self.values.astype(own))

    def coalesce(self) -> Self:
        """The same array with every row at most once: what squares and clips need.

        The indices increase strictly; place i, if it is not needed, holds `num_rows + i` and zeros.
        There are as many as before, but at most `num_rows`.  Sums are formed in at least float32.

        On GPU duplicates are added in no fixed order, so that sums may differ in the last bits from
        run to run; `XLA_FLAGS=--xla_gpu_deterministic_ops=true` fixes the order, at a price.

        Example:
          >>> import adamx, jax.numpy as jnp
          >>> rows = adamx.SparseRows(jnp.array([2, -1, 2]), jnp.ones((3, 1)), 3).coalesce()
          >>> rows.indices, rows.values.ravel()
          (Array([2, 4, 5], dtype=int32), Array([2., 0., 0.], dtype=float32))
        """
        if self.is_coalesced:
            return self
        unique, place = rank(self.positions(), self.num_rows)
        wide = numerics.widen(self.values)
        sums = zero_rows(wide, len(unique)).at[place].add(wide, mode="drop")
        return self.replace(
            indices=unique, values=sums.astype(self.values.dtype), is_coalesced=True
        )

    def to_dense(self) -> chex.Array:
        """The array of shape `(num_rows, ...)`, summed in at least float32."""
        wide = numerics.widen(self.values)
        dense = self.add_to(jnp.zeros(self.shape, wide.dtype), wide)
        return dense.astype(self.values.dtype)

    def add_to(self, table: chex.Array, values: chex.Array | None = None) -> chex.Array:
        """`table` with `values` (these rows' own by default) added to its rows, in place if it
        can be; duplicates add up in the table's dtype.

        Raises:
          ValueError: a table of another shape.
        """
        added = self.values if values is None else values
        table = _array("table", table)
        self._check_alike(table)
        known = {"indices_are_sorted": True, "unique_indices": True} if self.is_coalesced else {}
        return scatter_add(table, self.positions(), added, **known)

    def _check_alike(self, other: Any) -> None:
        if not isinstance(other, SparseRows):
            other = _array("other", other)
        if np.shape(other) != self.shape:
            raise ValueError(
                f"SparseRows: a sum needs arrays of one shape, got {self.shape} and "
                f"{np.shape(other)}; nothing is broadcast"
            )

    def __add__(self, other: Any) -> Any:
        """With sparse rows: both lists of rows after each other; with an array: dense."""
        self._check_alike(other)
        if isinstance(other, SparseRows):
            return SparseRows.concatenate([self, other])
        dtype = jnp.promote_types(self.dtype, jax.dtypes.result_type(other))
        wide = jnp.asarray(other).astype(
            jnp.promote_types(dtype, numerics.widen(self.values).dtype)
        )
        return self.add_to(wide).astype(dtype)

    __radd__ = __add__

    def __mul__(self, factor: Any) -> Self:
        """Times one number."""
        return self.replace(values=self.values * _scalar("factor", factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Self:
        """Divided by one number."""
        return self.replace(values=self.values / _scalar("divisor", divisor))

    def __neg__(self) -> Self:
        return self.replace(values=-self.values)

    @classmethod
    def concatenate(cls, parts: Sequence[SparseRows]) -> SparseRows:
        """The sum of several: their rows one after the other.

        Args:
          parts: at least one, all of one shape; indices and values are promoted to one dtype.

        Raises:
          TypeError: no list of SparseRows.
          ValueError: no parts, or parts of different shapes.
        """
        where = fields.Where("SparseRows.concatenate", "parts")
        parts = fields.items(where, "a list of SparseRows", parts)
        for part in parts:
            if not isinstance(part, SparseRows):
                raise TypeError(f"SparseRows.concatenate: expected SparseRows, got {part!r}")
        if not parts:
            raise ValueError("SparseRows.concatenate: expected at least one part")
        if len(parts) == 1:
            return parts[0]
        for part in parts[1:]:
            parts[0]._check_alike(part)
        return cls(
            jnp.concatenate([part.positions() for part in parts]),
            jnp.concatenate([part.values for part in parts]),
            parts[0].num_rows,
        )

    @classmethod
    def from_dense(cls, x: chex.Array, row_mask: chex.Array, size: int | None = None) -> SparseRows:
        """The rows of a dense array where a mask is True; the others must not matter.

        Args:
          x: shape `(num_rows, ...)`.
          row_mask: booleans, shape `(num_rows,)`.
          size: how many rows to hold, at least as many as are True; counted if it is None, which
            needs a mask that is not traced.

        Raises:
          ValueError: a mask of another shape; more rows than `size` (under `jit`, where that cannot
            be known, every value is NaN then).

        Example:
          >>> import adamx, jax.numpy as jnp
          >>> x = jnp.array([[1.0], [2.0], [3.0]])
          >>> adamx.SparseRows.from_dense(x, x[:, 0] > 1.5, size=3).indices
          Array([1, 2, 5], dtype=int32)
        """
        x, mask = _array("x", x), _array("row_mask", row_mask)
        if size is not None:
            where = fields.Where("SparseRows.from_dense", "size")
            size = int(fields.check_count(where, size, 0))
        if mask.dtype != bool or mask.shape != x.shape[:1]:
            raise ValueError(
                f"SparseRows.from_dense: row_mask must be bool{list(x.shape[:1])}, got "
                f"{mask.dtype.name}{list(mask.shape)}"
            )
        number = jnp.count_nonzero(mask)
        if not isinstance(number, jax.core.Tracer) and size is not None and number > size:
            raise ValueError(f"SparseRows.from_dense: {number} rows do not fit into size={size}")
        size = int(number) if size is None else size
        unused = len(x) + jnp.arange(size, dtype=jnp.int32)
        ids = jnp.nonzero(mask, size=size, fill_value=len(x))[0].astype(jnp.int32)
        values = gather(x, ids)
        values = jnp.where(number > size, jnp.asarray(jnp.nan, x.dtype), values)
        return cls(jnp.where(ids < len(x), ids, unused), values, len(x), is_coalesced=True)

    @classmethod
    def from_bcoo(cls, matrix: Any) -> SparseRows:
        """From a `jax.experimental.sparse.BCOO` whose only sparse axis is the first.

        Raises:
          ValueError: another layout; `bcoo_update_layout(matrix, n_dense=matrix.ndim - 1)` changes
            it.

        Example:
          >>> import adamx, jax.numpy as jnp
          >>> from jax.experimental import sparse
          >>> matrix = sparse.BCOO.fromdense(jnp.array([[0.0, 0.0], [1.0, 2.0]]), n_dense=1)
          >>> adamx.SparseRows.from_bcoo(matrix).to_dense()
          Array([[0., 0.],
                 [1., 2.]], dtype=float32)
        """
        if not hasattr(matrix, "n_sparse"):
            raise TypeError(f"SparseRows.from_bcoo: expected a BCOO matrix, got {matrix!r}")
        if (matrix.n_batch, matrix.n_sparse) != (0, 1):
            raise ValueError(
                "SparseRows.from_bcoo: only the first axis may be sparse, got "
                f"n_batch={matrix.n_batch}, n_sparse={matrix.n_sparse}, n_dense={matrix.n_dense}; "
                "write `bcoo_update_layout(matrix, n_dense=matrix.ndim - 1)`"
            )
        return cls(matrix.indices[:, 0], matrix.data, matrix.shape[0])

    @classmethod
    def from_segments(
        cls,
        indices: chex.Array,
        segment_ids: chex.Array,
        grads: chex.Array,
        num_rows: int,
        *,
        weights: chex.Array | None = None,
        mean: bool = False,
    ) -> SparseRows:
        """The gradient of a table from that of pooled bags of its rows.

            bag[s] = sum over i in s of w_i table[indices[i]]           or, with `mean`,
            bag[s] = sum over i in s of w_i table[indices[i]] / sum over i in s of w_i

        Args:
          indices: integers, shape `(n,)`; those outside the table count for nothing.
          segment_ids: integers, shape `(n,)`; the bag of each index, in any order.
          grads: the gradient of the bags, shape `(bags, ...)`.
          num_rows: the number of rows of the table.
          weights: shape `(n,)`; None for 1.
          mean: divide by the weights of the bag.

        Raises:
          ValueError: arrays that do not fit together.

        Reference:
          torch `EmbeddingBag`; TensorFlow `embedding_lookup_sparse`.

        Example:
          >>> import adamx, jax.numpy as jnp
          >>> ids, bags, grads = jnp.array([0, 2, 2]), jnp.array([0, 0, 1]), jnp.ones((2, 1))
          >>> rows = adamx.SparseRows.from_segments(ids, bags, grads, num_rows=3, mean=True)
          >>> rows.to_dense().ravel()
          Array([0.5, 0. , 1.5], dtype=float32)
        """
        indices, segment_ids = _array("indices", indices), _array("segment_ids", segment_ids)
        grads = _array("grads", grads)
        ones = jnp.ones(indices.shape, grads.dtype)
        given = ones if weights is None else _array("weights", weights)
        if not indices.shape == segment_ids.shape == given.shape:
            raise ValueError(
                "SparseRows.from_segments: indices, segment_ids and weights must have one shape "
                f"(n,), got {indices.shape}, {segment_ids.shape} and {given.shape}"
            )
        wide = numerics.widen(given)
        bags = positions(segment_ids, len(grads))
        if mean:
            counted = jnp.where((indices >= 0) & (indices < num_rows), wide, 0.0)
            total = jnp.zeros(len(grads), wide.dtype).at[bags].add(counted, mode="drop")
            shares = jnp.where(total == 0.0, 0.0, 1.0 / jnp.where(total == 0.0, 1.0, total))
            wide = wide * shares.at[bags].get(mode="fill", fill_value=0)
        values = grads.at[bags].get(mode="fill", fill_value=0)
        scaled = values * wide.reshape(-1, *[1] * (values.ndim - 1))
        return cls(indices, scaled.astype(grads.dtype), num_rows)
