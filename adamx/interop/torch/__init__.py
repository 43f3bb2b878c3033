"""torch's Adam family by its own names, and `state_dict`s both ways; torch is never imported."""

from adamx.interop.torch.groups import from_param_group, from_param_groups
from adamx.interop.torch.presets import (
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    SparseAdam,
)
from adamx.interop.torch.state import from_state_dict, to_state_dict

__all__ = [
    "Adam",
    "AdamW",
    "NAdam",
    "RAdam",
    "Adamax",
    "SparseAdam",
    "from_param_group",
    "from_param_groups",
    "from_state_dict",
    "to_state_dict",
]
