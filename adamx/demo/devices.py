"""The devices of a run: how many, in which processes, and what is where on them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import adamx
from adamx.core.compat import heartbeat_timeout
from adamx.demo.exits import raise_at_sigterm
from adamx.demo.options import Options, wrong_option

AXIS = "data"
# A process that is silent for so long is given up by the others.
_SECONDS_TO_SPEAK_UP = 20
_SECONDS_TO_MEET = 120


def join(options: Options) -> None:
    """Divides up the CPU, and meets the other processes of the run if there are any."""
    if options.devices is not None and options.devices > 1:
        # Too late where the devices are in use already: `placement` counts them.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", options.devices // options.processes)
    if options.coordinator is None:
        return
    # Gloo announces its connections on standard output, past Python.
    sys.stdout = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    jax.distributed.initialize(
        options.coordinator,
        options.processes,
        options.process_id,
        initialization_timeout=_SECONDS_TO_MEET,
        **heartbeat_timeout(_SECONDS_TO_SPEAK_UP),
    )
    # JAX has begun to listen to the signal instead, to tell of preemptions.
    raise_at_sigterm()


def is_first(options: Options) -> bool:
    """Whether this process is the one that reports."""
    return not options.process_id


class Placement(NamedTuple):
    """Parameters and images replicated, batches and optimizer state sharded."""

    mesh: Mesh

    @property
    def replicated(self) -> NamedSharding:
        """On every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def rows(self) -> NamedSharding:
        """int32[steps, batch], every batch sharded over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(None, AXIS))

    def state(self, tx: adamx.GradientTransformation, params: Any) -> Any:
        """The shardings of the optimizer's state: ZeRO-1, where there is more than one device."""
        if self.mesh.size == 1:
            return adamx.sharding.state_sharding(tx, params)
        return adamx.sharding.zero1_sharding(tx, params, AXIS)


def placement(options: Options) -> Placement:
    """The placement of a run that has joined the others.

    Raises:
      UsageError: fewer devices than wanted, or a batch that they cannot share.
    """
    found = jax.devices()
    wanted = options.devices or (1 if options.processes == 1 else len(found))
    if wanted > len(found):
        raise wrong_option(
            f"--devices must be at most {len(found)}, the number of devices here; got {wanted}"
        )
    if options.batch % wanted:
        raise wrong_option(
            f"--batch must be a multiple of the {wanted} devices that share it; got {options.batch}"
        )
    shape = (wanted,)
    return Placement(
        jax.make_mesh(shape, (AXIS,), devices=found[:wanted], axis_types=(AxisType.Auto,))
    )


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that every process has, on the devices of all."""

    def place(x: Any) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(place, tree)


def bytes_on_one(tree: Any) -> int:
    """How much memory of one device a tree takes."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))
