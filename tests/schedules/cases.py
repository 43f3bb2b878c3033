"""The table of schedules that the tests run over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optax

import adamx
from tests.oracles import schedules as oracles

# From here on, float32 cannot tell a step from the next one.
BEYOND_FLOAT32 = 2**24
LARGEST_COUNT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Case:
    """A schedule, the steps at which it changes, and some values that it must meet exactly."""

    name: str
    label: str
    arguments: Mapping[str, Any]
    boundaries: tuple[int, ...] = ()
    knots: Mapping[int, float] = field(default_factory=dict)
    start: int = 0

    def __str__(self) -> str:
        return f"{self.name}-{self.label}"

    def build(self, library: Any = adamx) -> Any:
        return getattr(library, self.name)(**self.arguments)

    @property
    def counts(self) -> np.ndarray:
        """The neighbourhood of every boundary, and a dense or geometric range over all of them."""
        last = max([*self.boundaries, *self.knots, 50])
        changes = (0, *self.boundaries, *self.knots, last)
        near = [change + step for change in changes for step in range(-3, 4)]
        spread = np.arange(2 * last) if last < 2000 else np.geomspace(1, 2 * last, 300)
        counts = np.unique(np.concatenate([near, spread]).astype(np.int64))
        return counts[(self.start <= counts) & (counts <= LARGEST_COUNT)]

    def oracle(self) -> np.ndarray:
        """The values at `counts`."""
        return np.array([oracles.value(self.name, int(t), **self.arguments) for t in self.counts])

    @property
    def in_optax(self) -> bool:
        return hasattr(optax, self.name) and "cycle" not in self.arguments


CYCLE = {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 40}

SMALL = [
    Case("constant_schedule", "plain", {"value": 0.1}, knots={0: 0.1, 9: 0.1}),
    Case(
        "linear_schedule",
        "up",
        {"init_value": 0.0, "end_value": 0.3, "transition_steps": 70},
        (70,),
        {0: 0.0, 70: 0.3, 71: 0.3},
    ),
    Case(
        "linear_schedule",
        "down-late",
        {"init_value": 0.7, "end_value": -0.1, "transition_steps": 30, "transition_begin": 11},
        (11, 41),
        {0: 0.7, 11: 0.7, 41: -0.1, 42: -0.1},
    ),
    Case(
        "linear_schedule",
        "one-step",
        {"init_value": 0.7, "end_value": 0.1, "transition_steps": 1},
        (1,),
        {0: 0.7, 1: 0.1},
    ),
    Case(
        "polynomial_schedule",
        "square",
        {"init_value": 0.7, "end_value": 0.01, "power": 2.0, "transition_steps": 60},
        (60,),
        {0: 0.7, 60: 0.01, 61: 0.01},
    ),
    Case(
        "polynomial_schedule",
        "root-late",
        {
            "init_value": 0.1,
            "end_value": 0.9,
            "power": 0.5,
            "transition_steps": 64,
            "transition_begin": 7,
        },
        (7, 71),
        {7: 0.1, 71: 0.9},
    ),
    Case(
        "polynomial_schedule",
        "linear",
        {"init_value": 0.7, "end_value": 0.01, "power": 1.0, "transition_steps": 60},
        (60,),
        {0: 0.7, 60: 0.01},
    ),
    Case(
        "polynomial_schedule",
        "cycle",
        {
            "init_value": 0.7,
            "end_value": 0.01,
            "power": 0.7,
            "transition_steps": 20,
            "transition_begin": 5,
            "cycle": True,
        },
        (5, 25, 45, 65),
        {5: 0.7, 25: 0.01, 45: 0.01, 65: 0.01},
    ),
    Case("power_schedule", "root", {"scale": 0.3, "exponent": 0.5}, knots={0: 0.0}),
    Case("power_schedule", "inverse", {"scale": 0.3, "exponent": -0.5}, start=1),
    Case(
        "exponential_decay",
        "plain",
        {"init_value": 0.3, "transition_steps": 10, "decay_rate": 0.8},
        (10, 20, 30),
        {0: 0.3},
    ),
    Case(
        "exponential_decay",
        "staircase",
        {
            "init_value": 0.3,
            "transition_steps": 7,
            "decay_rate": 0.5,
            "transition_begin": 11,
            "staircase": True,
            "end_value": 0.01,
        },
        (11, 18, 25, 32),
        {0: 0.3, 11: 0.3, 17: 0.3, 60: 0.01},
    ),
    Case(
        "exponential_decay",
        "growth",
        {"init_value": 0.3, "transition_steps": 10, "decay_rate": 1.2, "end_value": 0.5},
        (10, 20, 30),
        {0: 0.3, 40: 0.5},
    ),
    Case("inverse_time_decay", "keras-decay", {"init_value": 0.3, "decay_rate": 0.01}),
    Case(
        "inverse_time_decay",
        "staircase",
        {"init_value": 0.3, "decay_rate": 0.5, "decay_steps": 9, "staircase": True},
        (9, 18, 27),
        {0: 0.3, 8: 0.3},
    ),
    Case(
        "piecewise_constant_schedule",
        "two",
        {"init_value": 0.1, "boundaries_and_scales": {30: 3.0, 10: 0.3}},
        (10, 30),
        {0: 0.1, 9: 0.1, 10: 0.1 * 0.3, 30: 0.1 * 0.3 * 3.0},
    ),
    Case("piecewise_constant_schedule", "none", {"init_value": 0.1}, knots={0: 0.1}),
    Case(
        "piecewise_constant_schedule",
        "from-zero",
        {"init_value": 0.1, "boundaries_and_scales": {0: 0.5, 20: 0.0}},
        (20,),
        {0: 0.05, 20: 0.0},
    ),
    *(
        Case(
            "piecewise_interpolate_schedule",
            kind,
            {
                "interpolate_type": kind,
                "init_value": 0.1,
                "boundaries_and_scales": {15: 5.0, 40: 0.1, 41: 2.0},
            },
            (15, 40, 41),
            {0: 0.1, 15: 0.5, 40: 0.05, 41: 0.1, 42: 0.1},
        )
        for kind in ("linear", "cosine")
    ),
    Case(
        "piecewise_interpolate_schedule",
        "from-zero",
        {
            "interpolate_type": "linear",
            "init_value": 0.1,
            "boundaries_and_scales": {0: 0.5, 20: 0.0},
        },
        (20,),
        {0: 0.05, 20: 0.0},
    ),
    Case(
        "piecewise_interpolate_schedule",
        "only-zero",
        {"interpolate_type": "cosine", "init_value": 0.1, "boundaries_and_scales": {0: 0.5}},
        (),
        {0: 0.05, 1: 0.05},
    ),
    Case(
        "cosine_decay_schedule",
        "plain",
        {"init_value": 0.3, "decay_steps": 80},
        (80,),
        {0: 0.3, 80: 0.0, 81: 0.0},
    ),
    Case(
        "cosine_decay_schedule",
        "alpha-exponent",
        {"init_value": 0.3, "decay_steps": 80, "alpha": 0.1, "exponent": 1.7},
        (80,),
        {0: 0.3, 80: 0.3 * 0.1},
    ),
    Case(
        "sgdr_schedule",
        "two",
        {
            "cosine_kwargs": [
                CYCLE,
                {**CYCLE, "peak_value": 0.4, "end_value": 0.02, "exponent": 2.0},
            ]
        },
        (5, 40, 45, 80),
        {0: 0.1, 5: 1.0, 40: 0.1, 45: 0.4, 80: 0.02, 90: 0.02},
    ),
    Case("sgdr_schedule", "one", {"cosine_kwargs": [CYCLE]}, (5, 40), {0: 0.1, 5: 1.0, 40: 0.0}),
    Case(
        "cosine_restarts_schedule",
        "doubling",
        {"init_value": 0.3, "first_decay_steps": 12},
        (12, 36, 84, 180),
        {0: 0.3, 12: 0.3, 36: 0.3, 84: 0.3},
    ),
    Case(
        "cosine_restarts_schedule",
        "equal",
        {"init_value": 0.3, "first_decay_steps": 12, "t_mul": 1.0, "m_mul": 0.5, "alpha": 0.1},
        (12, 24, 36, 48),
        {0: 0.3},
    ),
    Case(
        "cosine_restarts_schedule",
        "fractional",
        {"init_value": 0.3, "first_decay_steps": 10, "t_mul": 1.5, "m_mul": 0.8},
        (10, 25, 48, 82, 132),
        {0: 0.3},
    ),
    Case(
        "cosine_restarts_schedule",
        "slow-growth",
        {"init_value": 0.3, "first_decay_steps": 8, "t_mul": 1.125, "alpha": 0.2},
        (8, 17, 28, 39),
        {0: 0.3, 8: 0.3, 17: 0.3},
    ),
    Case(
        "warmup_constant_schedule",
        "plain",
        {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 30},
        (30,),
        {0: 0.01, 30: 0.3, 31: 0.3},
    ),
    Case(
        "warmup_linear_decay_schedule",
        "plain",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 30,
            "decay_steps": 75,
            "end_value": 0.02,
        },
        (30, 75),
        {0: 0.01, 30: 0.3, 75: 0.02, 76: 0.02},
    ),
    Case(
        "warmup_linear_decay_schedule",
        "no-warmup",
        {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": 75},
        (75,),
        {0: 0.3, 75: 0.0},
    ),
    Case(
        "warmup_cosine_decay_schedule",
        "plain",
        {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 30, "decay_steps": 75},
        (30, 75),
        {0: 0.01, 30: 0.3, 75: 0.0, 76: 0.0},
    ),
    Case(
        "warmup_cosine_decay_schedule",
        "no-warmup",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 0,
            "decay_steps": 75,
            "end_value": 0.02,
            "exponent": 0.6,
        },
        (75,),
        {0: 0.3, 75: 0.02},
    ),
    Case(
        "warmup_cosine_decay_schedule",
        "one-step",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 1,
            "decay_steps": 2,
            "end_value": 0.9,
        },
        (1, 2),
        {0: 0.01, 1: 0.3, 2: 0.9},
    ),
    Case(
        "warmup_exponential_decay_schedule",
        "plain",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 30,
            "transition_steps": 10,
            "decay_rate": 0.5,
        },
        (30, 40, 50),
        {0: 0.01, 30: 0.3},
    ),
    Case(
        "warmup_exponential_decay_schedule",
        "staircase",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 30,
            "transition_steps": 10,
            "decay_rate": 0.5,
            "transition_begin": 5,
            "staircase": True,
            "end_value": 0.1,
        },
        (30, 35, 45, 55),
        {0: 0.01, 30: 0.3, 35: 0.3, 44: 0.3, 55: 0.1},
    ),
    Case(
        "warmup_exponential_decay_schedule",
        "no-warmup",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 0,
            "transition_steps": 10,
            "decay_rate": 0.5,
        },
        (10, 20),
        {0: 0.3},
    ),
    *(
        Case(
            "warmup_stable_decay_schedule",
            cooldown,
            {
                "init_value": 0.01,
                "peak_value": 0.3,
                "warmup_steps": 10,
                "stable_steps": 50,
                "cooldown_steps": 20,
                "end_value": 0.02,
                "cooldown": cooldown,
            },
            (10, 60, 80),
            {0: 0.01, 10: 0.3, 35: 0.3, 60: 0.3, 80: 0.02, 81: 0.02},
        )
        for cooldown in ("linear", "cosine", "1-sqrt")
    ),
    Case(
        "warmup_stable_decay_schedule",
        "cooldown-only",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 0,
            "stable_steps": 0,
            "cooldown_steps": 20,
        },
        (20,),
        {0: 0.3, 20: 0.0},
    ),
    Case(
        "inverse_sqrt_schedule",
        "plain",
        {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 30},
        (30, 120),
        {0: 0.01, 30: 0.3, 120: 0.15},
    ),
    Case(
        "inverse_sqrt_schedule",
        "no-warmup",
        {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 0},
        (1, 4),
        {0: 0.3, 1: 0.3, 4: 0.15},
    ),
    Case(
        "linear_onecycle_schedule",
        "defaults",
        {"transition_steps": 97, "peak_value": 0.3},
        (29, 82, 97),
        {29: 0.3},
    ),
    Case(
        "linear_onecycle_schedule",
        "factors",
        {
            "transition_steps": 50,
            "peak_value": 0.5,
            "pct_start": 0.5,
            "pct_final": 0.9,
            "div_factor": 2.0,
            "final_div_factor": 4.0,
        },
        (25, 45, 50),
        {0: 0.25, 25: 0.5, 45: 0.25, 50: 0.0625},
    ),
    Case(
        "cosine_onecycle_schedule",
        "defaults",
        {"transition_steps": 97, "peak_value": 0.3},
        (29, 97),
        {29: 0.3},
    ),
    Case(
        "cosine_onecycle_schedule",
        "factors",
        {
            "transition_steps": 50,
            "peak_value": 0.5,
            "pct_start": 0.5,
            "div_factor": 2.0,
            "final_div_factor": 4.0,
        },
        (25, 50),
        {0: 0.25, 25: 0.5, 50: 0.0625},
    ),
]

# Boundaries that float32 cannot tell from their neighbours (every jump is large), and a rate that
# it cannot tell from 1 well enough.
PRIME = 10_000_019
FIRST = 1_000_003
FAR = 1_000_000_007
LARGE = [
    Case(
        "exponential_decay",
        "slow",
        {"init_value": 0.3, "transition_steps": 1, "decay_rate": 0.9999},
        (1, 10_000, 100_000),
        {0: 0.3},
    ),
    Case(
        "piecewise_constant_schedule",
        "far",
        {
            "init_value": 0.3,
            "boundaries_and_scales": {BEYOND_FLOAT32 + 1: 0.5, FAR: 0.5, LARGEST_COUNT: 0.5},
        },
        (BEYOND_FLOAT32 + 1, FAR, LARGEST_COUNT),
        {BEYOND_FLOAT32: 0.3, BEYOND_FLOAT32 + 1: 0.15, FAR - 1: 0.15, FAR: 0.075},
    ),
    Case(
        "exponential_decay",
        "far",
        {
            "init_value": 0.3,
            "transition_steps": PRIME,
            "decay_rate": 0.5,
            "transition_begin": 1,
            "staircase": True,
        },
        tuple(1 + k * PRIME for k in range(1, 8)),
        {PRIME: 0.3},
    ),
    Case(
        "inverse_time_decay",
        "far",
        {"init_value": 0.3, "decay_rate": 1.0, "decay_steps": PRIME, "staircase": True},
        tuple(k * PRIME for k in range(1, 8)),
        {PRIME - 1: 0.3, PRIME: 0.15},
    ),
    Case(
        "cosine_restarts_schedule",
        "far-doubling",
        {"init_value": 0.3, "first_decay_steps": FIRST, "m_mul": 0.9},
        tuple(FIRST * (2**k - 1) for k in range(1, 12)),
    ),
    Case(
        "cosine_restarts_schedule",
        "far-equal",
        {"init_value": 0.3, "first_decay_steps": PRIME, "t_mul": 1.0, "m_mul": 0.9},
        tuple(k * PRIME for k in range(1, 214, 7)),
    ),
    Case(
        "cosine_restarts_schedule",
        "far-tripling",
        {"init_value": 0.3, "first_decay_steps": 1, "t_mul": 3.0},
        tuple((3**k - 1) // 2 for k in range(1, 20)),
    ),
    Case(
        "cosine_restarts_schedule",
        "far-fractional",
        {"init_value": 0.3, "first_decay_steps": 2**10, "t_mul": 1.5},
        tuple(-(-(2**11) * (3**k - 2**k) // 2**k) for k in range(1, 34)),
    ),
    Case(
        "polynomial_schedule",
        "far-cycle",
        {
            "init_value": 0.3,
            "end_value": 0.0,
            "power": 1.0,
            "transition_steps": PRIME,
            "cycle": True,
        },
        tuple(k * PRIME for k in range(1, 8)),
        {PRIME: 0.0, 2 * PRIME: 0.0, 7 * PRIME: 0.0},
    ),
    Case(
        "warmup_exponential_decay_schedule",
        "far",
        {
            "init_value": 0.0,
            "peak_value": 0.3,
            "warmup_steps": BEYOND_FLOAT32 + 1,
            "transition_steps": 1,
            "decay_rate": 0.5,
        },
        (BEYOND_FLOAT32 + 1,),
        {BEYOND_FLOAT32 + 1: 0.3, BEYOND_FLOAT32 + 2: 0.15, BEYOND_FLOAT32 + 3: 0.075},
    ),
    Case(
        "warmup_cosine_decay_schedule",
        "far",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": FAR,
            "decay_steps": FAR + 3,
            "end_value": 0.02,
        },
        (FAR, FAR + 3),
        {FAR: 0.3, FAR + 3: 0.02},
    ),
    Case(
        "warmup_stable_decay_schedule",
        "far",
        {
            "init_value": 0.01,
            "peak_value": 0.3,
            "warmup_steps": 3,
            "stable_steps": FAR,
            "cooldown_steps": 4,
            "cooldown": "1-sqrt",
        },
        (3, FAR + 3, FAR + 7),
        {FAR + 3: 0.3, FAR + 4: 0.15, FAR + 7: 0.0},
    ),
    Case(
        "linear_schedule",
        "far",
        {
            "init_value": 0.3,
            "end_value": 0.1,
            "transition_steps": 4,
            "transition_begin": LARGEST_COUNT - 5,
        },
        (LARGEST_COUNT - 5, LARGEST_COUNT - 1),
        {LARGEST_COUNT - 5: 0.3, LARGEST_COUNT - 1: 0.1, LARGEST_COUNT: 0.1},
    ),
    Case(
        "piecewise_interpolate_schedule",
        "far",
        {
            "interpolate_type": "linear",
            "init_value": 0.1,
            "boundaries_and_scales": {FAR: 5.0, FAR + 2: 0.1, FAR + 3: 2.0},
        },
        (FAR, FAR + 2, FAR + 3),
        {0: 0.1, FAR: 0.5, FAR + 2: 0.05, FAR + 3: 0.1},
    ),
]

CASES = [*SMALL, *LARGE]
