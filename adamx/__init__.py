"""adamx: Adam for JAX, as values.

In reading order: composing, the family, what goes around it, schedules, and values as data.
"""

from adamx.adam.adabelief import adabelief, scale_by_belief
from adamx.adam.adam import (
    ScaleByAmsgradState,
    adam,
    adamw,
    amsgrad,
    nadam,
    nadamw,
    scale_by_adam,
    scale_by_amsgrad,
)
from adamx.adam.adamax import adamax, adamaxw, scale_by_adamax
from adamx.adam.ademamix import ScaleByAdemamixState, ademamix, scale_by_ademamix
from adamx.adam.adopt import adopt, scale_by_adopt
from adamx.adam.lamb import lamb
from adamx.adam.moments import ScaleByAdamState
from adamx.adam.radam import radam, scale_by_radam
from adamx.adam.rms import ScaleByRmsState, ScaleByRmsWithCountState, scale_by_rms
from adamx.adam.schedule_free import (
    ScheduleFreeState,
    schedule_free,
    schedule_free_adamw,
    schedule_free_eval_params,
)
from adamx.adam.yogi import scale_by_yogi, yogi
from adamx.core.apply import apply_updates
from adamx.core.chain import chain, named_chain
from adamx.core.config import from_config, get_config
from adamx.core.evaluation import eval_params
from adamx.core.hyperparameter import Schedule
from adamx.core.norms import global_norm
from adamx.core.stateless import identity, stateless, stateless_with_tree_map
from adamx.core.transformation import EmptyState, GradientTransformation
from adamx.schedules.constant import constant_schedule
from adamx.schedules.cosine import cosine_decay_schedule, warmup_cosine_decay_schedule
from adamx.schedules.power import power_schedule
from adamx.schedules.warmup import warmup_constant_schedule
from adamx.transforms.averaging import EmaParamsState, ema_params
from adamx.transforms.clipping import clip_by_global_norm
from adamx.transforms.scaling import (
    ScaleByScheduleState,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
)
from adamx.transforms.trust_ratio import scale_by_trust_ratio
from adamx.transforms.weight_decay import add_decayed_weights

__version__ = "0.1.0"

__all__ = [
    # Composing and applying.
    "GradientTransformation",
    "EmptyState",
    "chain",
    "named_chain",
    "identity",
    "stateless",
    "stateless_with_tree_map",
    "apply_updates",
    # The Adam family.
    "adam",
    "adamw",
    "amsgrad",
    "nadam",
    "nadamw",
    "adamax",
    "adamaxw",
    "radam",
    "adabelief",
    "yogi",
    "lamb",
    "adopt",
    "ademamix",
    "schedule_free_adamw",
    # The cores of the family, and their states.
    "scale_by_adam",
    "scale_by_amsgrad",
    "scale_by_adamax",
    "scale_by_radam",
    "scale_by_belief",
    "scale_by_yogi",
    "scale_by_adopt",
    "scale_by_ademamix",
    "scale_by_rms",
    "schedule_free",
    "ScaleByAdamState",
    "ScaleByAmsgradState",
    "ScaleByAdemamixState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScheduleFreeState",
    # Around the core.
    "clip_by_global_norm",
    "global_norm",
    "add_decayed_weights",
    "scale_by_trust_ratio",
    "scale",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "ScaleByScheduleState",
    "ema_params",
    "EmaParamsState",
    "eval_params",
    "schedule_free_eval_params",
    # Schedules.
    "Schedule",
    "constant_schedule",
    "cosine_decay_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "power_schedule",
    # Values as data.
    "get_config",
    "from_config",
]
