"""Float64 NumPy oracles for the Adam family, written from the papers.

Every optimizer is one function ``name(params, grads, learning_rate, **hyper)`` that returns the
parameters after each step, as a list (steps) of lists (leaves) of float64 or complex128 arrays.
``params`` is a list of leaves and ``grads`` a list (steps) of lists (leaves); the gradients are
given, so a trajectory is a pure function of numbers and can be compared with any implementation.

Hyper-parameters carry optax's names and defaults. ``learning_rate``, ``b1``, ``b2``, ``b3``,
``alpha`` and ``weight_decay`` are numbers or callables of the 0-based step count; a scheduled
decay enters the bias correction as ``beta_t ** t``. ``mask`` is a list of booleans, one per leaf:
``True`` decays that leaf. A complex leaf replaces the square of the gradient by ``|g|**2``.

Nothing here imports the library under test, JAX or optax.
"""

from collections.abc import Callable
from typing import Any

from .adam import adam, adamax, adamaxw, adamw, amsgrad, lamb, nadam, nadamw
from .core import Grads, Leaves
from .schedule_free import schedule_free_adamw, schedule_free_adamw_eval_params
from .variants import adabelief, ademamix, adopt, radam, yogi

__all__ = [
    "ORACLES",
    "adabelief",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "ademamix",
    "adopt",
    "amsgrad",
    "lamb",
    "nadam",
    "nadamw",
    "radam",
    "schedule_free_adamw",
    "schedule_free_adamw_eval_params",
    "trajectory",
    "yogi",
]

ORACLES: dict[str, Callable[..., list[Leaves]]] = {
    oracle.__name__: oracle
    for oracle in (
        adam,
        adamw,
        amsgrad,
        nadam,
        nadamw,
        adamax,
        adamaxw,
        radam,
        adabelief,
        yogi,
        lamb,
        adopt,
        ademamix,
        schedule_free_adamw,
    )
}


def trajectory(name: str, params: Leaves, grads: Grads, **hyper: Any) -> list[Leaves]:
    """Parameters after each step of the named optimizer, from given gradients."""
    return ORACLES[name](params, grads, **hyper)
