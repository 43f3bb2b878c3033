"""Checkpoints of a run through orbax: complete or not there, whatever the devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from adamx.demo.options import Options, wrong_option
from adamx.demo.training import Trained

FOLDER = "checkpoints"
_KEPT = 2
# What must be the same for a run to go on as it began; the devices may be others.
_FIXED = ("optimizer", "learning_rate", "steps", "batch", "seed", "checkpoint_every")


class Checkpoints:
    """The checkpoints in the output folder of a run, one after `every` steps."""

    def __init__(self, options: Options, every: int) -> None:
        import orbax.checkpoint  # It takes a second, and few runs need it.

        self._orbax: Any = orbax.checkpoint
        self._every = every
        self._options = {name: getattr(options, name) for name in _FIXED}
        folder = Path(options.output).resolve() / FOLDER
        self._folder = folder
        self._manager = self._orbax.CheckpointManager(
            folder,
            options=self._orbax.CheckpointManagerOptions(max_to_keep=_KEPT, create=True),
        )

    def cleared(self, begun: Trained) -> Trained:
        """The start of a new run, when those of an earlier one are removed."""
        for step in self._manager.all_steps():
            self._manager.delete(step)
        return begun

    def is_due(self, step: int) -> bool:
        """Whether there is to be a checkpoint after so many steps."""
        return step % self._every == 0

    def save(self, now: Trained) -> None:
        """Writes one, and returns when it is complete."""
        args = self._orbax.args
        self._manager.save(
            now.step,
            args=args.Composite(
                arrays=args.StandardSave(now._asdict()),
                options=args.JsonSave(self._options),
            ),
        )
        # The arrays are about to be updated in place.
        self._manager.wait_until_finished()

    def restore(self, begun: Trained) -> Trained:
        """The last complete one, on the devices of this run.

        Args:
          begun: the start of the run, whose arrays are where the restored ones are to be.

        Raises:
          UsageError: there is none, or it is of a run with other options.
        """
        args = self._orbax.args
        step = self._manager.latest_step()
        if step is None:
            raise wrong_option(
                f"--resume: there is no complete checkpoint in '{self._folder}'; leave it out to "
                "start anew"
            )
        found = self._manager.restore(step, args=args.Composite(options=args.JsonRestore()))
        for name, value in found["options"].items():
            if value != self._options[name]:
                option = f"--{name.replace('_', '-')}"
                raise wrong_option(
                    f"--resume: the checkpoint in '{self._folder}' is of a run with {option} "
                    f"{value}; got {self._options[name]}"
                )
        curve = np.zeros(step, np.float32)
        like = begun._replace(loss=curve, gradient_norm=curve)
        restored = self._manager.restore(
            step, args=args.Composite(arrays=args.StandardRestore(like._asdict()))
        )
        return Trained(**restored["arrays"])
