"""Any pytree as a flat file: path -> array, with a version, a checksum and no pickling.

A file says nothing about containers, only about paths (`0/mu/layer/kernel`): what was saved from
a dict can be loaded into a flax `FrozenDict`, a dataclass or a NamedTuple with the same names, a
list into a tuple.  The suffix chooses the format:

    .npz           a zip of NumPy arrays, one `<path>.npy` per leaf, and `adamx.json`
    .safetensors   one tensor per leaf, and the text of `adamx.json` as metadata under "adamx"

    adamx.json     {"format": "adamx", "version": 1, "checksum": sha256 of all that follows,
                    "config": get_config(tx) or null,
                    "leaves": {path: {"dtype": name, "shape": [...]}}}

Dtypes that NumPy itself has not, and complex numbers (which safetensors has not), are stored as
their bytes: uint8 with one more axis.  Typed PRNG keys are stored as their uint32 data.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adamx.core import checks, tree
from adamx.core.paths import leaf_paths, quoted
from adamx.interop import flat_files
from adamx.interop.flat_files import FilePath
from adamx.interop.leaves import by_path, check_paths, placed, to_numpy

_SHOWN = 5
_KEY_KINDS = ("threefry2x32", "rbg", "unsafe_rbg")


def to_flat(contents: chex.ArrayTree) -> dict[str, np.ndarray]:
    """The leaves by path as NumPy arrays; `None` leaves are left out.

    Args:
      contents: any pytree of arrays and numbers: parameters, an optimizer state, or both.

    Returns:
      A dictionary in the order of the leaves; bfloat16 and the like in their dtypes, typed PRNG
      keys as their uint32 data.

    Raises:
      TypeError: a leaf that holds no numbers.
      ValueError: two leaves with one path; an array of which other processes hold a part.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> from adamx.interop.export import to_flat
      >>> sorted(to_flat(adamx.adam(0.1).init({"w": jnp.zeros(2)})))
      ['0/count', '0/mu/w', '0/nu/w']
    """
    return {path: _to_numpy("to_flat", path, x) for path, x in by_path("to_flat", contents).items()}


def from_flat(flat: dict[str, np.ndarray], like: chex.ArrayTree) -> Any:
    """The inverse of `to_flat`: a tree like `like` with the arrays of `flat`.

    Args:
      flat: arrays by path.
      like: a pytree of arrays, numbers or `jax.ShapeDtypeStruct`s that says what is wanted; its
        own numbers are not used.

    Returns:
      A pytree of the structure of `like`: each leaf with the dtype, shape and sharding that it has
      there, in NumPy where it is in NumPy.

    Raises:
      ValueError: paths on one side only; leaves of another shape or dtype, each with its path.
      TypeError: no dictionary of arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from adamx.interop.export import from_flat, to_flat
      >>> from_flat(to_flat({"a": [1.0, jnp.ones(2)]}), {"a": (0.0, jnp.zeros(2))})
      {'a': (1.0, Array([1., 1.], dtype=float32))}
    """
    if not isinstance(flat, Mapping):
        raise TypeError(f"from_flat: `flat` must be a dictionary of arrays by path, got {flat!r}")
    flat = {path: _to_numpy("from_flat", path, x) for path, x in flat.items()}
    described = {path: (x.dtype.name, x.shape) for path, x in flat.items()}
    for path, leaf in by_path("from_flat", like).items():
        data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else None
        if data is not None and described.get(path) == (data.dtype.name, data.shape):
            described[path] = (str(leaf.dtype), leaf.shape)
    _check_fit("from_flat", described, like)
    return _restored(flat, like)


def save(path: FilePath, contents: chex.ArrayTree, config: dict[str, Any] | None = None) -> None:
    """Writes a pytree to a file, whole or not at all.

    The file is written beside its place and moved there when it is complete: what was there before
    stays until then, and a crash leaves it as it was.

    Args:
      path: ends in `.npz` or `.safetensors` (which needs the package of that name).
      contents: any pytree of arrays and numbers, such as `{"params": params, "state": state}`.
      config: what else to keep, as plain JSON: `adamx.get_config(tx)`.

    Raises:
      ValueError: another suffix; otherwise as `to_flat`.
      TypeError: as `to_flat`; a `config` that is no dictionary or that JSON cannot hold.
      ModuleNotFoundError: safetensors is not installed.

    Example:
      >>> import adamx, jax.numpy as jnp, tempfile
      >>> from adamx.interop import export
      >>> tx, params = adamx.adam(0.1), {"w": jnp.ones(2)}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = f"{folder}/run.npz"
      ...     export.save(path, tx.init(params), adamx.get_config(tx))
      ...     state = export.load(path, tx.init(params))
      ...     same = adamx.from_config(export.load_config(path)) == tx
      >>> same, int(state[0].count)
      (True, 0)
    """
    _check_config("save", config)
    arrays, leaves = {}, {}
    for name, leaf in by_path("save", contents).items():
        array = _to_numpy("save", name, leaf)
        dtype = str(leaf.dtype) if _is_key(leaf) else array.dtype.name
        leaves[name] = {"dtype": dtype, "shape": list(np.shape(leaf))}
        arrays[name] = flat_files.stored(array)
    flat_files.write(path, config, leaves, arrays)


def load(path: FilePath, like: chex.ArrayTree, config: dict[str, Any] | None = None) -> Any:
    """Reads what `save` wrote into the structure of `like`.

    The file's header is compared with `like` before an array is read, everything is checked before
    anything is built, and nothing that exists is changed.

    Args:
      path: the file.
      like: see `from_flat`: for an optimizer state `tx.init(params)`, or
        `jax.eval_shape(tx.init, params)` to allocate nothing.
      config: what the file must have been saved with: `adamx.get_config(tx)`; None for anything.

    Returns:
      A pytree as `from_flat` returns it.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a truncated or altered file, or one of another version or kind; another `config`,
        with the first entry that differs; paths, shapes or dtypes that differ from `like`.
      TypeError: a `config` that is no dictionary.

    Example:
      >>> import jax.numpy as jnp, tempfile
      >>> from adamx.interop import export
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export.save(f"{folder}/a.npz", {"w": jnp.arange(3)})
      ...     export.load(f"{folder}/a.npz", {"w": jnp.zeros(3, int)})
      {'w': Array([0, 1, 2], dtype=int32)}
    """
    _check_config("load", config)
    plain = None if config is None else json.loads(json.dumps(config))

    def described(header: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
        leaves = header["leaves"]
        return {name: (leaf["dtype"], tuple(leaf["shape"])) for name, leaf in leaves.items()}

    def check(header: dict[str, Any]) -> None:
        difference = None if plain is None else _difference(header["config"], plain)
        if difference is not None:
            raise ValueError(f"load: {path} was saved with another config: {difference}")
        _check_fit("load", described(header), like)

    header, stored = flat_files.read("load", path, check)
    arrays = {
        name: flat_files.plain_again(stored[name], leaf["dtype"])
        for name, leaf in header["leaves"].items()
    }
    return _restored(arrays, like)


def load_config(path: FilePath) -> dict[str, Any] | None:
    """The `config` that a file was saved with; `adamx.from_config` makes the optimizer of it.

    Args:
      path: the file.

    Returns:
      The dictionary, or None if there was none.

    Raises:
      FileNotFoundError, ValueError: as `load`.

    Example:
      >>> import tempfile
      >>> from adamx.interop import export
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export.save(f"{folder}/a.npz", 1.0, {"name": "scale", "step_size": 0.5})
      ...     export.load_config(f"{folder}/a.npz")
      {'name': 'scale', 'step_size': 0.5}
    """
    config: dict[str, Any] | None = flat_files.read("load_config", path).header["config"]
    return config


def _check_config(owner: str, config: Any) -> None:
    """Raises for what is no dictionary, such as the transformation itself, or no plain JSON."""
    if config is None:
        return
    if not isinstance(config, dict):
        hint = "; give `adamx.get_config(tx)`" if hasattr(config, "update") else ""
        raise TypeError(
            f"{owner}: `config` must be a dictionary, got {type(config).__name__}{hint}"
        )
    checks.check_depth(owner, config)
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}: `config` must be plain JSON: {error}") from None


def _is_key(leaf: Any) -> bool:
    """Whether it is a typed PRNG key (or the shape of one)."""
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _to_numpy(owner: str, path: str, leaf: Any) -> np.ndarray:
    if isinstance(leaf, (jax.core.Tracer, np.ma.MaskedArray)):
        raise TypeError(
            f"{owner}: {quoted(path)} is {leaf!r}; give an array with its numbers, outside "
            "of `jit` and without a mask"
        )
    if isinstance(leaf, jax.Array):
        if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            raise ValueError(
                f"{owner}: other processes hold a part of {quoted(path)}; gather it first: "
                "`jax.experimental.multihost_utils.process_allgather`"
            )
        leaf = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    array = to_numpy(leaf)
    is_number = array.dtype == bool or jnp.issubdtype(array.dtype, np.number)
    if not is_number or array.dtype.char in "gG":  # longdouble, which is another on every machine
        raise TypeError(
            f"{owner}: {quoted(path)} is {reprlib.repr(leaf)}, which is no array of numbers that "
            f"JAX has ({array.dtype})"
        )
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _check_fit(
    owner: str, described: dict[str, tuple[str, tuple[int, ...]]], like: chex.ArrayTree
) -> None:
    """Raises unless what was saved is what `like` asks for, with every mismatch."""
    wanted = by_path(owner, like)
    check_paths(owner, "what was saved", described, wanted)
    wrong = []
    for path, leaf in wanted.items():
        where = path or tree.WHOLE
        dtype = str(leaf.dtype) if _is_key(leaf) else _numpy_dtype(leaf).name
        asked = (dtype, tuple(np.shape(leaf)))
        if described[path] != asked:
            shown = (f"{name}{list(shape)}" for name, shape in (described[path], asked))
            wrong.append("  {}: {}, but {} is asked for".format(where, *shown))
        elif not _is_key(leaf) and _canonical(leaf) != _numpy_dtype(leaf):
            wrong.append(f"  {where}: {dtype} needs jax's 64-bit mode (`jax_enable_x64`)")
    if wrong:
        more = [f"  and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        lines = [f"{owner}: what was saved does not fit:", *wrong[:_SHOWN], *more]
        raise ValueError("\n".join(lines))


def _restored(arrays: dict[str, np.ndarray], like: chex.ArrayTree) -> Any:
    """A tree like `like`, of the arrays."""
    leaves, structure = tree.flatten(like)
    return structure.unflatten(
        [
            None if leaf is None else _like(arrays[path], leaf)
            for path, leaf in zip(leaf_paths(like), leaves, strict=True)
        ]
    )


def _numpy_dtype(leaf: Any) -> np.dtype:
    return np.dtype(leaf.dtype) if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _canonical(leaf: Any) -> np.dtype:
    """The dtype that the leaf would get; NumPy arrays and Python numbers keep theirs."""
    own = _numpy_dtype(leaf)
    in_jax = isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct))
    return np.dtype(jax.dtypes.canonicalize_dtype(own)) if in_jax else own


def _like(array: np.ndarray, leaf: Any) -> Any:
    """The array as what `leaf` is: a key, a Python number, in NumPy or on devices."""
    if _is_key(leaf):
        kinds = {jax.random.key(0, impl=kind).dtype: kind for kind in _KEY_KINDS}
        return placed(jax.random.wrap_key_data(jnp.asarray(array), impl=kinds[leaf.dtype]), leaf)
    if isinstance(leaf, (bool, int, float, complex)):
        return type(leaf)(array.item())
    return placed(array, leaf)


def _difference(saved: Any, given: Any, path: str = "config") -> str | None:
    """The first entry in which two JSON values differ; of two kinds of values, their names."""
    names = [x.get("name") if isinstance(x, dict) else None for x in (saved, given)]
    if None not in names and names[0] != names[1]:
        return f"{path} was {names[0]}, now {names[1]}"
    if isinstance(saved, dict) and isinstance(given, dict) and set(saved) == set(given):
        pairs = [(saved[key], given[key], f"{path}.{key}") for key in given]
    elif isinstance(saved, list) and isinstance(given, list) and len(saved) == len(given):
        items = enumerate(zip(saved, given, strict=True))
        pairs = [(a, b, f"{path}[{i}]") for i, (a, b) in items]
    else:
        return None if saved == given else f"{path} was {saved!r}, now {given!r}"
    return next(filter(None, (_difference(*pair) for pair in pairs)), None)
