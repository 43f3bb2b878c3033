"""Adam as the pages of TensorFlow and Keras describe it, as pure functions."""

from adamx.interop.keras.adam import Adam, AdamW
from adamx.interop.keras.adamax import Adamax
from adamx.interop.keras.building import EMAOption, GradientsClipOption
from adamx.interop.keras.config import from_config, get_config
from adamx.interop.keras.gradients import (
    aggregate_gradients,
    compute_gradients,
    get_gradients,
)
from adamx.interop.keras.lamb import Lamb
from adamx.interop.keras.loss_scale import LossScaleOptimizer
from adamx.interop.keras.methods import (
    apply_gradients,
    build,
    finalize_variable_values,
    get_updates,
    minimize,
    update_step,
)
from adamx.interop.keras.nadam import Nadam
from adamx.interop.keras.optimizer import KerasOptimizer, KerasOptimizerState
from adamx.interop.keras.rates import schedule
from adamx.interop.keras.settings import (
    exclude_from_weight_decay,
    learning_rate,
    set_hyperparameters,
    set_learning_rate,
)
from adamx.interop.keras.variables import (
    add_slot,
    add_variable,
    add_variable_from_reference,
    add_weight,
)
from adamx.interop.keras.weights import (
    get_slot,
    get_slot_names,
    get_weights,
    iterations,
    set_weights,
    variables,
)

__all__ = [
    # The optimizers.
    "Adam",
    "AdamW",
    "Nadam",
    "Adamax",
    "Lamb",
    "LossScaleOptimizer",
    "schedule",
    "GradientsClipOption",
    "EMAOption",
    "exclude_from_weight_decay",
    "KerasOptimizer",
    "KerasOptimizerState",
    # Stepping.
    "build",
    "minimize",
    "compute_gradients",
    "get_gradients",
    "aggregate_gradients",
    "apply_gradients",
    "get_updates",
    "update_step",
    "finalize_variable_values",
    "learning_rate",
    "set_learning_rate",
    "set_hyperparameters",
    # The state.
    "iterations",
    "variables",
    "get_weights",
    "set_weights",
    "get_slot_names",
    "get_slot",
    "add_slot",
    "add_weight",
    "add_variable",
    "add_variable_from_reference",
    # Configurations.
    "get_config",
    "from_config",
]
