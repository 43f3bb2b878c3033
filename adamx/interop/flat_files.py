"""The two file formats of `export`: how they are written whole, read, and found to be damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

VERSION = 1
_FORMAT = "adamx"
_HEADER = "adamx.json"
_RESERVED = "__metadata__"
# Stored as they are; everything else as bytes.
_PLAIN = {
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
}
# The names of safetensors for what is stored as it is.
_TENSORS = {"BOOL": "bool"} | {
    f"{kind[0].upper()}{bits}": f"{kind}{bits}"
    for kind in ("int", "uint", "float")
    for bits in (8, 16, 32, 64)
}
FilePath: TypeAlias = str | os.PathLike[str]


class Contents(NamedTuple):
    """The contents of a file."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]  # as stored


def stored(array: np.ndarray) -> np.ndarray:
    """As it is, or its bytes along one more axis."""
    if array.dtype.name in _PLAIN:
        return array
    return np.frombuffer(array.tobytes(), np.uint8).reshape(*array.shape, array.dtype.itemsize)


def plain_again(array: np.ndarray, dtype: str) -> np.ndarray:
    """The inverse of `stored`."""
    if dtype in _PLAIN or dtype.startswith("key<"):
        return array
    own = np.dtype(jnp.dtype(dtype))
    return np.frombuffer(array.tobytes(), own).reshape(array.shape[:-1])


def _checksum(contents: Contents) -> str:
    """Of the version, the configuration, and every leaf's path, dtype, shape and bytes."""
    header = {key: contents.header[key] for key in ("format", "version", "config", "leaves")}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(contents.arrays):
        array = contents.arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _checked_path(owner: str, path: FilePath) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{owner}: `path` must be the path of a file, got {path!r}")
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"{owner}: {path} must end in .npz or .safetensors")
    return path


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` once it is complete."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {path.parent} for {path.name}")
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write_npz(file: IO[bytes], arrays: dict[str, np.ndarray], header: str) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_HEADER, header)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


class _Opened(NamedTuple):
    """The header of a file, and how to read one of its arrays."""

    header: dict[str, Any]
    described: dict[str, tuple[np.dtype, tuple[int, ...]]]  # arrays as stored
    array: Callable[[str], np.ndarray]


def _npy_header(entry: IO[bytes]) -> tuple[np.dtype, tuple[int, ...]]:
    version = np.lib.format.read_magic(entry)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(entry)
    return dtype, tuple(shape)


@contextlib.contextmanager
def _open_npz(path: Path) -> Iterator[_Opened]:
    with zipfile.ZipFile(path) as archive:
        described = {}
        for info in archive.infolist():
            # A small file could hold any amount of zeros.
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed")
            if info.filename != _HEADER:
                with archive.open(info) as entry:
                    described[info.filename.removesuffix(".npy")] = _npy_header(entry)

        def array(name: str) -> np.ndarray:
            with archive.open(f"{name}.npy") as entry:
                read: np.ndarray = np.lib.format.read_array(entry, allow_pickle=False)
                return read

        yield _Opened(json.loads(archive.read(_HEADER)), described, array)


def _write_safetensors(file: IO[bytes], arrays: dict[str, np.ndarray], header: str) -> None:
    import safetensors.numpy

    if _RESERVED in arrays:
        raise ValueError(
            f"save: safetensors keeps the name {_RESERVED!r} for itself; rename the leaf"
        )
    file.write(safetensors.numpy.save(arrays, {_FORMAT: header}))


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[_Opened]:
    import safetensors

    with safetensors.safe_open(path, "numpy") as file:
        described = {}
        for name in file.keys():  # noqa: SIM118  # The file itself cannot be iterated.
            part = file.get_slice(name)
            described[name] = (np.dtype(_TENSORS[part.get_dtype()]), tuple(part.get_shape()))
        yield _Opened(json.loads(file.metadata()[_FORMAT]), described, file.get_tensor)


def write(path: FilePath, config: Any, leaves: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Puts a file in the place of `path`, complete or not at all."""
    path = _checked_path("save", path)
    header = {"format": _FORMAT, "version": VERSION, "config": config, "leaves": leaves}
    header["checksum"] = _checksum(Contents(header, arrays))
    write_as = _write_npz if path.suffix == ".npz" else _write_safetensors
    with _replacing(path) as file:
        write_as(file, arrays, json.dumps(header, allow_nan=False))


def read(
    owner: str, path: FilePath, check: Callable[[dict[str, Any]], None] = lambda header: None
) -> Contents:
    """Everything in a file, after checking that it is what was written.

    `check` sees the header before any array is read, and raises if it is not what is wanted.
    """
    path = _checked_path(owner, path)
    if not path.exists():
        raise FileNotFoundError(f"{owner}: there is no file {path}")
    damaged = f"{owner}: {path} is damaged, or was not written by `export.save`"
    altered = f"{owner}: {path} was altered after it was written: its checksum is wrong"
    with contextlib.ExitStack() as stack:
        with _explained(damaged):
            opened = _open_npz if path.suffix == ".npz" else _open_safetensors
            file = stack.enter_context(opened(path))
            kind, version = file.header["format"], file.header["version"]
        if (kind, version) != (_FORMAT, VERSION):
            raise ValueError(
                f"{owner}: {path} is of format {kind!r}, version {version!r}; this version of "
                f"adamx reads {_FORMAT!r}, version {VERSION}"
            )
        with _explained(damaged):
            leaves = file.header["leaves"]
            if set(leaves) != set(file.described) or not {"config", "checksum"} <= {*file.header}:
                raise _AlteredError(altered)
            for name, (dtype, shape) in file.described.items():
                if not _is_stored_as(dtype, shape, leaves[name]["dtype"], leaves[name]["shape"]):
                    raise ValueError(f"{name!r} is {dtype}{list(shape)}, not as it says")
        check(file.header)
        with _explained(damaged):
            contents = Contents(file.header, {name: file.array(name) for name in file.described})
            if file.header["checksum"] != _checksum(contents):
                raise _AlteredError(altered)
    return contents


class _AlteredError(ValueError):
    """A whole file with other contents than were written."""


@contextlib.contextmanager
def _explained(damaged: str) -> Iterator[None]:
    """Whatever a damaged file makes the parsers stumble over as one error."""
    try:
        yield
    except (ImportError, _AlteredError):
        raise
    except Exception as error:
        raise ValueError(f"{damaged} ({error})") from error


def _is_stored_as(dtype: np.dtype, shape: tuple[int, ...], leaf: str, leaf_shape: Any) -> bool:
    """Whether `stored` makes such an array of a leaf."""
    if leaf in _PLAIN:
        return (dtype, shape) == (np.dtype(leaf), tuple(leaf_shape))
    if leaf.startswith("key<"):
        return dtype == np.uint32 and shape[:-1] == tuple(leaf_shape)
    return (dtype, shape) == (np.dtype(np.uint8), (*leaf_shape, np.dtype(jnp.dtype(leaf)).itemsize))
