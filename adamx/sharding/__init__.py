"""State placed like the parameters, over many devices."""

from adamx.sharding.memory import host_sharding
from adamx.sharding.pinned import keep_placement
from adamx.sharding.placement import abstract_state, init, state_sharding
from adamx.sharding.table import placement_table
from adamx.sharding.zero import zero1_sharding

__all__ = [
    "abstract_state",
    "host_sharding",
    "init",
    "keep_placement",
    "placement_table",
    "state_sharding",
    "zero1_sharding",
]
