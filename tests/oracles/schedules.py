"""Float64 oracles of the schedules, one step at a time, written from their definitions.

``value(name, t, **arguments)`` is the value of the named schedule at the 0-based step ``t``. Steps
are Python integers and phases are told apart by comparing integers, so nothing here is rounded
but the value itself. Names and arguments are those of optax, or of adamx where optax has none.

Nothing here imports the library under test, JAX or optax.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any


def value(name: str, t: int, **arguments: Any) -> float:
    """The value of the named schedule at step ``t``."""
    return float(ORACLES[name](t, **arguments))


def cosine(s: float) -> float:
    """Half a cosine: 1 at ``s = 0``, 0 at ``s = 1`` (Loshchilov & Hutter, 2017, equation 5)."""
    return 0.5 * (1 + math.cos(math.pi * s))


def warm_up(t: int, init_value: float, peak_value: float, warmup_steps: int) -> float:
    """Goyal et al., 2017, section 2.2: an equal part of the way in every step."""
    return init_value + (peak_value - init_value) * t / warmup_steps


def constant_schedule(t: int, value: float) -> float:
    return value


def linear_schedule(
    t: int, init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0
) -> float:
    if t < transition_begin:
        return init_value
    if t >= transition_begin + transition_steps:
        return end_value
    return init_value + (end_value - init_value) * (t - transition_begin) / transition_steps


def polynomial_schedule(
    t: int,
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int,
    transition_begin: int = 0,
    cycle: bool = False,
) -> float:
    """``cycle`` is that of Keras: the length is the next multiple of itself that t has reached."""
    if t <= transition_begin:
        return init_value
    t -= transition_begin
    length = transition_steps
    if cycle:
        while length < t:
            length += transition_steps
    elif t >= length:
        return end_value
    return (init_value - end_value) * (1 - t / length) ** power + end_value


def power_schedule(t: int, scale: float, exponent: float) -> float:
    return scale * float(t) ** exponent


def exponential_decay(
    t: int,
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> float:
    done = max(t - transition_begin, 0)
    periods = done // transition_steps if staircase else done / transition_steps
    decayed = init_value * decay_rate**periods
    if end_value is None:
        return decayed
    return max(decayed, end_value) if decay_rate < 1 else min(decayed, end_value)


def inverse_time_decay(
    t: int, init_value: float, decay_rate: float, decay_steps: int = 1, staircase: bool = False
) -> float:
    return init_value / (1 + decay_rate * (t // decay_steps if staircase else t / decay_steps))


def piecewise_constant_schedule(
    t: int, init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> float:
    """The step at a boundary already has the new value."""
    for boundary, scale in (boundaries_and_scales or {}).items():
        if t >= boundary:
            init_value *= scale
    return init_value


def piecewise_interpolate_schedule(
    t: int,
    interpolate_type: str,
    init_value: float,
    boundaries_and_scales: Mapping[int, float] | None = None,
) -> float:
    """From each knot to the next one; a knot at step 0 takes the place of the initial one."""
    knots = [(0, init_value)]
    for boundary, scale in sorted((boundaries_and_scales or {}).items()):
        knots.append((boundary, knots[-1][1] * scale))
    return between(t, knots, interpolate_type)


def between(t: int, knots: Sequence[tuple[int, float]], interpolate_type: str) -> float:
    """From the last knot that t has reached to the next one."""
    begin, start = [knot for knot in knots if knot[0] <= t][-1]
    later = [knot for knot in knots if knot[0] > t]
    if not later:
        return start
    end, stop = later[0]
    s = (t - begin) / (end - begin)
    return start + (stop - start) * (s if interpolate_type == "linear" else 1 - cosine(s))


def cosine_decay_schedule(
    t: int, init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0
) -> float:
    decayed = cosine(min(t, decay_steps) / decay_steps) ** exponent
    return init_value * ((1 - alpha) * decayed + alpha)


def sgdr_schedule(t: int, cosine_kwargs: Sequence[Mapping[str, Any]]) -> float:
    """The last cycle goes on at its end value."""
    *cycles, last = cosine_kwargs
    for cycle in cycles:
        if t < cycle["decay_steps"]:
            return warmup_cosine_decay_schedule(t, **cycle)
        t -= cycle["decay_steps"]
    return warmup_cosine_decay_schedule(t, **last)


def cosine_restarts_schedule(
    t: int,
    init_value: float,
    first_decay_steps: int,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> float:
    """Loshchilov & Hutter, 2017, section 3; the starts are exact fractions."""
    length, height = Fraction(first_decay_steps), 1.0
    since = Fraction(t)
    if t_mul == 1:
        skipped, since = divmod(since, length)
        height *= m_mul**skipped
    while since >= length:
        since -= length
        length *= Fraction(t_mul)
        height *= m_mul
    return init_value * ((1 - alpha) * height * cosine(float(since / length)) + alpha)


def warmup_constant_schedule(
    t: int, init_value: float, peak_value: float, warmup_steps: int
) -> float:
    if t < warmup_steps:
        return warm_up(t, init_value, peak_value, warmup_steps)
    return peak_value


def warmup_linear_decay_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
) -> float:
    if t < warmup_steps:
        return warm_up(t, init_value, peak_value, warmup_steps)
    s = (min(t, decay_steps) - warmup_steps) / (decay_steps - warmup_steps)
    return peak_value + (end_value - peak_value) * s


def warmup_cosine_decay_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> float:
    if t < warmup_steps:
        return warm_up(t, init_value, peak_value, warmup_steps)
    s = (min(t, decay_steps) - warmup_steps) / (decay_steps - warmup_steps)
    return end_value + (peak_value - end_value) * cosine(s) ** exponent


def warmup_exponential_decay_schedule(
    t: int, init_value: float, peak_value: float, warmup_steps: int, **decay: Any
) -> float:
    if t < warmup_steps:
        return warm_up(t, init_value, peak_value, warmup_steps)
    return exponential_decay(t - warmup_steps, peak_value, **decay)


def warmup_stable_decay_schedule(
    t: int,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    stable_steps: int,
    cooldown_steps: int,
    end_value: float = 0.0,
    cooldown: str = "linear",
) -> float:
    """Hägele et al., 2024 (arXiv:2405.18392), equation 1."""
    if t < warmup_steps:
        return warm_up(t, init_value, peak_value, warmup_steps)
    if t < warmup_steps + stable_steps:
        return peak_value
    s = min((t - warmup_steps - stable_steps) / cooldown_steps, 1.0)
    fall = {"linear": 1 - s, "cosine": cosine(s), "1-sqrt": 1 - math.sqrt(s)}
    return end_value + (peak_value - end_value) * fall[cooldown]


def inverse_sqrt_schedule(t: int, init_value: float, peak_value: float, warmup_steps: int) -> float:
    """Vaswani et al., 2017, equation 3; without a warm-up the decay begins at step 1."""
    if t < warmup_steps:
        return warm_up(t, init_value, peak_value, warmup_steps)
    return peak_value * math.sqrt(max(warmup_steps, 1) / max(t, 1))


def linear_onecycle_schedule(
    t: int,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    """Smith & Topin, 2017, section 3: up, down by the same amount, and further down."""
    initial = peak_value / div_factor
    knots = [
        (0, initial),
        (int(pct_start * transition_steps), peak_value),
        (int(pct_final * transition_steps), initial),
        (transition_steps, initial / final_div_factor),
    ]
    return between(t, knots, "linear")


def cosine_onecycle_schedule(
    t: int,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    initial = peak_value / div_factor
    knots = [
        (0, initial),
        (int(pct_start * transition_steps), peak_value),
        (transition_steps, initial / final_div_factor),
    ]
    return between(t, knots, "cosine")


ORACLES: dict[str, Callable[..., float]] = {
    oracle.__name__: oracle
    for oracle in (
        constant_schedule,
        linear_schedule,
        polynomial_schedule,
        power_schedule,
        exponential_decay,
        inverse_time_decay,
        piecewise_constant_schedule,
        piecewise_interpolate_schedule,
        cosine_decay_schedule,
        sgdr_schedule,
        cosine_restarts_schedule,
        warmup_constant_schedule,
        warmup_linear_decay_schedule,
        warmup_cosine_decay_schedule,
        warmup_exponential_decay_schedule,
        warmup_stable_decay_schedule,
        inverse_sqrt_schedule,
        linear_onecycle_schedule,
        cosine_onecycle_schedule,
    )
}
