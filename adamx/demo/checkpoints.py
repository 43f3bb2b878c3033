"""Checkpoints of a run: one file each, whole or not there, whose name holds its checksum.

    checkpoints/40.5f1d2c3b4a596877.npz    after 40 steps; 64 bits of the file's SHA-256

The file is one of `adamx.interop.export`: arrays by path, and a header with the step and the
options of the run.  The checksum in the name covers every bit of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adamx.demo.devices import Placement, is_first
from adamx.demo.exits import ResumeError
from adamx.demo.files import writing
from adamx.demo.options import PROG, Options, wrong_option
from adamx.demo.training import Trained
from adamx.interop import export

FOLDER = "checkpoints"
_KEPT = 2
_NAME = re.compile(r"([1-9]\d*)\.([0-9a-f]{16})\.npz")
_UNFINISHED = "unfinished.npz"
# Options that must be the same for a run to go on as it began; the devices may be others.
_FIXED = (
    "optimizer",
    "learning_rate",
    "steps",
    "batch",
    "seed",
    "state_format",
    "param_format",
    "checkpoint_every",
)
_ANEW = "leave --resume out to start anew"


def _reason(error: Exception) -> str:
    """Why a checkpoint cannot be used, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0]


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _step(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _in_numpy(leaf: Any) -> Any:
    return np.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.Array) else leaf


def _placed(saved: Any, like: Any) -> Any:
    """The loaded arrays on the devices of `like`, some of which other processes may have."""
    if not isinstance(like, jax.Array):
        return saved
    return jax.make_array_from_callback(saved.shape, like.sharding, lambda index: saved[index])


class Checkpoints:
    """The checkpoints in the output folder of a run, one after `every` steps.

    All processes of a run see the same folder; the first of them writes.
    """

    def __init__(self, options: Options, every: int, place: Placement) -> None:
        self._every = every
        self._options = {name: getattr(options, name) for name in _FIXED}
        self._folder = options.output / FOLDER
        self._speaks = is_first(options)
        self._gathered = jax.jit(lambda tree: tree, out_shardings=place.replicated)

    def _found(self) -> list[Path]:
        """All that are there, whole or not, the newest last."""
        return sorted(
            (path for path in self._folder.glob("*.npz") if _NAME.fullmatch(path.name)), key=_step
        )

    def _remove(self, paths: Iterable[Path]) -> None:
        """Also removes what a run that was killed has left unfinished."""
        for path in (*paths, *self._folder.glob(f"*{_UNFINISHED}*")):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes those of an earlier run.

        Raises:
          FileError: they cannot be removed.
        """
        if self._speaks:
            with writing(self._folder):
                self._folder.mkdir(exist_ok=True)
                self._remove(self._found())

    def is_due(self, step: int) -> bool:
        """Whether there is to be a checkpoint after so many steps."""
        return step % self._every == 0

    def save(self, now: Trained) -> None:
        """Writes one, and returns when it is complete; the last two are kept.

        Raises:
          FileError: it cannot be written; those before it are still there.
        """
        params, state = self._gathered((now.params, now.state))
        if not self._speaks:
            return
        contents = now._replace(params=params, state=state)._asdict()
        unfinished = self._folder / _UNFINISHED
        advice = "; once that can be, go on with --resume"
        with writing(self._folder, f"the checkpoint after step {now.step} to", advice):
            export.save(unfinished, contents, {"step": now.step, "options": self._options})
            path = self._folder / f"{now.step}.{_checksum(unfinished)}.npz"
            os.replace(unfinished, path)
            before = [other for other in self._found() if _step(other) < now.step]
            # Others from here on are damaged: this run has passed them over.
            after = [other for other in self._found() if _step(other) >= now.step]
            self._remove({*before[: 1 - _KEPT], *after} - {path})

    def restore(self, begun: Trained) -> Trained:
        """The newest whole one, on the devices of this run; says which ones it passes over.

        Args:
          begun: the start of the run, whose arrays are where the restored ones are to be.

        Raises:
          ResumeError: none is whole.
          UsageError: it is of a run with other options.
        """
        damaged: dict[str, str] = {}
        for path in reversed(self._found()):
            try:
                if _checksum(path) != path.name.split(".")[1]:
                    raise ValueError("its checksum is another")
                config = export.load_config(path) or {}
                options = config["options"]
            except (OSError, ValueError, LookupError) as error:
                damaged[path.name] = _reason(error)
                continue
            self._check_options(options)
            self._tell(damaged, _step(path))
            return self._load(path, begun)
        if not damaged:
            raise ResumeError(f"--resume: there is no checkpoint in '{self._folder}'; {_ANEW}")
        names = ", ".join(f"{name} ({reason})" for name, reason in damaged.items())
        raise ResumeError(f"--resume: no checkpoint in '{self._folder}' is whole: {names}; {_ANEW}")

    def _check_options(self, found: dict[str, Any]) -> None:
        for name, wanted in self._options.items():
            if found.get(name) != wanted:
                option = f"--{name.replace('_', '-')}"
                # A longer run is another one from its first step on.
                why = ", which its learning rates follow" if name == "steps" else ""
                raise wrong_option(
                    f"--resume: the checkpoint in '{self._folder}' is of a run with {option} "
                    f"{found.get(name)}{why}; got {wanted}; {_ANEW}"
                )

    def _tell(self, damaged: dict[str, str], step: int) -> None:
        for name, reason in damaged.items() if self._speaks else ():
            print(
                f"{PROG}: passed over the damaged checkpoint '{self._folder / name}' ({reason}); "
                f"going on after step {step}",
                file=sys.stderr,
            )

    def _load(self, path: Path, begun: Trained) -> Trained:
        curve = np.zeros(_step(path), np.float32)
        wanted = begun._replace(loss=curve, gradient_norm=curve)
        try:
            loaded = export.load(path, jax.tree.map(_in_numpy, wanted)._asdict())
        except ValueError as error:
            raise ResumeError(
                f"--resume: '{path}' holds other arrays than this version of adamx trains; {_ANEW}"
            ) from error

        placed: Trained = jax.tree.map(_placed, Trained(**loaded), wanted)
        return placed
