"""The two file formats of `export`: how they are written whole, read, and found to be damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Iterator
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
FilePath: TypeAlias = str | os.PathLike[str]


class Contents(NamedTuple):
    """What a file holds."""

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
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"{owner}: {path} must end in .npz or .safetensors")
    return path


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` once it is complete."""
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


def _read_npz(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read(_HEADER))
        arrays = {}
        for name in archive.namelist():
            if name != _HEADER:
                with archive.open(name) as entry:
                    array = np.lib.format.read_array(entry, allow_pickle=False)
                arrays[name.removesuffix(".npy")] = array
    return Contents(header, arrays)


def _write_safetensors(file: IO[bytes], arrays: dict[str, np.ndarray], header: str) -> None:
    import safetensors.numpy

    if _RESERVED in arrays:
        raise ValueError(
            f"save: safetensors keeps the name {_RESERVED!r} for itself; rename the leaf"
        )
    file.write(safetensors.numpy.save(arrays, {_FORMAT: header}))


def _read_safetensors(path: Path) -> Contents:
    import safetensors

    with safetensors.safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Contents(json.loads(file.metadata()[_FORMAT]), arrays)


def write(path: FilePath, config: Any, leaves: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Puts a file in the place of `path`, complete or not at all."""
    path = _checked_path("save", path)
    header = {"format": _FORMAT, "version": VERSION, "config": config, "leaves": leaves}
    header["checksum"] = _checksum(Contents(header, arrays))
    write_as = _write_npz if path.suffix == ".npz" else _write_safetensors
    with _replacing(path) as file:
        write_as(file, arrays, json.dumps(header, allow_nan=False))


def read(owner: str, path: FilePath) -> Contents:
    """Everything in a file, after checking that it is what was written."""
    path = _checked_path(owner, path)
    with open(path, "rb"):  # A missing or unreadable file is an error of its own.
        pass
    try:
        contents = (_read_npz if path.suffix == ".npz" else _read_safetensors)(path)
        kind, version = contents.header["format"], contents.header["version"]
    except ImportError:
        raise
    except Exception as error:  # Whatever a damaged file makes the parsers stumble over.
        raise ValueError(
            f"{owner}: {path} is damaged, or was not written by `export.save` ({error})"
        ) from error
    if (kind, version) != (_FORMAT, VERSION):
        raise ValueError(
            f"{owner}: {path} is of format {kind!r}, version {version!r}; this version of adamx "
            f"reads {_FORMAT!r}, version {VERSION}"
        )
    if contents.header.get("checksum") != _sum_or_none(contents):
        raise ValueError(f"{owner}: {path} was altered after it was written: its checksum is wrong")
    return contents


def _sum_or_none(contents: Contents) -> str | None:
    """The checksum, or None for a header without its entries."""
    header = contents.header
    if not {"config", "leaves"} <= set(header) or set(header["leaves"]) != set(contents.arrays):
        return None
    return _checksum(contents)
