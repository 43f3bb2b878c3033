"""adamx: Adam for JAX, as values.

In reading order: composing, the family, what goes around it, schedules, and values as data.
"""

import typing as _types

from adamx import schedules as schedules
from adamx import sharding as sharding
from adamx import sparse as sparse
from adamx import transforms as transforms
from adamx import typing as typing
from adamx.conversion import convert_state
from adamx.core import elsewhere as _elsewhere
from adamx.core.chain import chain, named_chain
from adamx.core.config import from_config, get_config
from adamx.core.evaluation import eval_params
from adamx.core.format import Float, Format, Joint, Stochastic
from adamx.core.hyperparameter import Schedule
from adamx.core.kept import kept_bytes
from adamx.core.link import Link, PerLeaf, ScaleByScheduleState, View
from adamx.core.norms import global_norm
from adamx.core.numerics import safe_increment
from adamx.core.observer import Observer
from adamx.core.paths import leaf_paths, mask_by_path
from adamx.core.readings import read_callables
from adamx.core.rows import SparseRows
from adamx.core.slot import Slot
from adamx.core.stateless import identity, stateless, stateless_with_tree_map
from adamx.core.transformation import EmptyState, GradientTransformation
from adamx.core.wrapper import Wrapper
from adamx.core.writer import apply_updates
from adamx.family.adabelief import adabelief, scale_by_belief
from adamx.family.adam import adam, adamw, nadam, nadamw, scale_by_adam
from adamx.family.adamax import adamax, adamaxw, scale_by_adamax
from adamx.family.ademamix import ScaleByAdemamixState, ademamix, scale_by_ademamix
from adamx.family.adopt import adopt, scale_by_adopt
from adamx.family.amsgrad import ScaleByAmsgradState, amsgrad, scale_by_amsgrad
from adamx.family.lamb import lamb
from adamx.family.moments import Core, ScaleByAdamState
from adamx.family.nadam import ScaleByNadamState, scale_by_nadam
from adamx.family.radam import radam, scale_by_radam
from adamx.family.rms import ScaleByRmsState, ScaleByRmsWithCountState, scale_by_rms
from adamx.family.schedule_free import (
    ScheduleFreeState,
    schedule_free,
    schedule_free_adamw,
    schedule_free_eval_params,
)
from adamx.family.yogi import scale_by_yogi, yogi
from adamx.formats.bfloat16 import bfloat16_format
from adamx.formats.pair import pair_format
from adamx.schedules.constant import constant_schedule
from adamx.schedules.cosine import cosine_decay_schedule, warmup_cosine_decay_schedule
from adamx.schedules.exponential import exponential_decay, warmup_exponential_decay_schedule
from adamx.schedules.inverse import inverse_sqrt_schedule, inverse_time_decay
from adamx.schedules.joining import join_schedules, scale_schedule, shift_schedule
from adamx.schedules.onecycle import cosine_onecycle_schedule, linear_onecycle_schedule
from adamx.schedules.piecewise import piecewise_constant_schedule, piecewise_interpolate_schedule
from adamx.schedules.plotting import plot_schedule
from adamx.schedules.polynomial import linear_schedule, polynomial_schedule
from adamx.schedules.power import power_schedule
from adamx.schedules.restarts import cosine_restarts_schedule, sgdr_schedule
from adamx.schedules.stable import warmup_stable_decay_schedule
from adamx.schedules.warmup import warmup_constant_schedule, warmup_linear_decay_schedule
from adamx.training import make_step
from adamx.transforms.adaptive_clipping import adaptive_grad_clip, unitwise_norm
from adamx.transforms.aggregation import aggregate, pmean, psum
from adamx.transforms.averaging import (
    EmaParamsState,
    ema_params,
    incremental_update,
    mean_params,
    running_mean_decay,
)
from adamx.transforms.centralization import centralize
from adamx.transforms.clipping import (
    ClipReport,
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    clip_by_norm,
)
from adamx.transforms.constraints import keep_params_nonnegative
from adamx.transforms.noise import AddNoiseState, add_noise
from adamx.transforms.nonfinite import ZeroNansState, zero_nans
from adamx.transforms.norm_statistics import NormStatistics
from adamx.transforms.path_scaling import scale_by_path
from adamx.transforms.scaling import (
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
    set_to_zero,
)
from adamx.transforms.signs import cautious, scale_by_sign
from adamx.transforms.spikes import ClipSpikesState, clip_spikes
from adamx.transforms.trust_ratio import scale_by_trust_ratio
from adamx.transforms.updates_ema import EmaState, TraceState, ema, trace
from adamx.transforms.weight_decay import (
    DecayToInitialState,
    add_decayed_weights,
    decay_to_initial,
)
from adamx.wrappers.accumulation import MultiStepsState, multi_steps
from adamx.wrappers.bfloat16_params import Bfloat16ParamsState, bfloat16_params
from adamx.wrappers.conditional import (
    ConditionallyMaskState,
    ConditionallyTransformState,
    conditionally_mask,
    conditionally_transform,
)
from adamx.wrappers.groups import (
    MaskedState,
    PartitionState,
    freeze,
    masked,
    multi_transform,
)
from adamx.wrappers.guards import (
    DivergedError,
    GuardState,
    apply_if_finite,
    check_guards,
    skip_spikes,
)
from adamx.wrappers.inject import (
    InjectHyperparamsState,
    get_hyperparam,
    inject_hyperparams,
    set_hyperparams,
)
from adamx.wrappers.labels import label_by_path
from adamx.wrappers.learning_rate import get_learning_rate
from adamx.wrappers.loss_scaling import LossScale, dynamic_loss_scale, loss_scale
from adamx.wrappers.metrics import RecordMetricsState, metrics, record_metrics

__version__ = "0.1.0"

# optax's other names of what is here under one.
Params = typing.Params
Updates = typing.Updates
OptState = typing.State
partition = multi_transform

__all__ = [
    # Composing and applying.
    "GradientTransformation",
    "EmptyState",
    # Writing your own.
    "Link",
    "Core",
    "Observer",
    "Wrapper",
    "Slot",
    "Format",
    "Float",
    "Stochastic",
    "Joint",
    "View",
    "PerLeaf",
    # Composing.
    "chain",
    "named_chain",
    "identity",
    "stateless",
    "stateless_with_tree_map",
    "apply_updates",
    "make_step",
    # A gradient that is zero in most rows of a table.
    "SparseRows",
    # Different recipes for different parameters.
    "masked",
    "multi_transform",
    "label_by_path",
    "scale_by_path",
    "freeze",
    "MaskedState",
    "PartitionState",
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
    "scale_by_nadam",
    "scale_by_belief",
    "scale_by_yogi",
    "scale_by_adopt",
    "scale_by_ademamix",
    "scale_by_rms",
    "schedule_free",
    "ScaleByAdamState",
    "ScaleByAmsgradState",
    "ScaleByNadamState",
    "ScaleByAdemamixState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScheduleFreeState",
    # Fewer bits.
    "bfloat16_format",
    "pair_format",
    "bfloat16_params",
    "Bfloat16ParamsState",
    "convert_state",
    "kept_bytes",
    # Around the core.
    "clip",
    "clip_by_norm",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "adaptive_grad_clip",
    "clip_spikes",
    "ClipReport",
    "ClipSpikesState",
    "NormStatistics",
    "global_norm",
    "unitwise_norm",
    "add_decayed_weights",
    "decay_to_initial",
    "DecayToInitialState",
    "mask_by_path",
    "leaf_paths",
    "centralize",
    "add_noise",
    "AddNoiseState",
    "zero_nans",
    "ZeroNansState",
    "scale_by_sign",
    "cautious",
    "ema",
    "EmaState",
    "trace",
    "TraceState",
    "scale_by_trust_ratio",
    "scale",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "ScaleByScheduleState",
    "set_to_zero",
    "keep_params_nonnegative",
    "conditionally_transform",
    "ConditionallyTransformState",
    "conditionally_mask",
    "ConditionallyMaskState",
    "ema_params",
    "mean_params",
    "EmaParamsState",
    "eval_params",
    "schedule_free_eval_params",
    "incremental_update",
    "safe_increment",
    # Around whole steps.
    "apply_if_finite",
    "skip_spikes",
    "check_guards",
    "DivergedError",
    "dynamic_loss_scale",
    "loss_scale",
    "GuardState",
    "LossScale",
    "multi_steps",
    "MultiStepsState",
    # Over devices; `adamx.sharding` says where the state goes.
    "psum",
    "pmean",
    "aggregate",
    # Hyperparameters between steps, and what to log.
    "inject_hyperparams",
    "get_hyperparam",
    "set_hyperparams",
    "read_callables",
    "get_learning_rate",
    "InjectHyperparamsState",
    "record_metrics",
    "metrics",
    "RecordMetricsState",
    # Schedules.
    "Schedule",
    "constant_schedule",
    "linear_schedule",
    "polynomial_schedule",
    "power_schedule",
    "running_mean_decay",
    "exponential_decay",
    "inverse_time_decay",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "cosine_decay_schedule",
    "sgdr_schedule",
    "cosine_restarts_schedule",
    "warmup_constant_schedule",
    "warmup_linear_decay_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay_schedule",
    "inverse_sqrt_schedule",
    "linear_onecycle_schedule",
    "cosine_onecycle_schedule",
    "join_schedules",
    "scale_schedule",
    "shift_schedule",
    "plot_schedule",
    # Values as data.
    "get_config",
    "from_config",
]

# Not for type checkers, to which every name would then be there.
if not _types.TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        raise _elsewhere.missing(name, __all__)

    for _package in (schedules, transforms):
        _elsewhere.also_in(_package, __all__, globals())
