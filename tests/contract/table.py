"""Every public transformation and schedule, once: what the contract tests run over.

To add a transformation, add a row.  No test asks for a row's id; tests ask for its capabilities,
whose defaults are those of a complete optimizer, and `test_table.py` checks what is declared.
"""

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adamx
from adamx import GradientTransformation, Schedule
from adamx.interop import keras


@dataclasses.dataclass(frozen=True)
class Case:
    """One transformation and what can be said about it."""

    id: str  # the public function, then "-variant"
    make: Callable[[], GradientTransformation]
    stateful: bool = True  # refuses a state that is not its own
    needs_params: bool = False  # `update` refuses to run without parameters
    checks_updates: bool = True  # `update` refuses mismatched gradients; else only `step` does
    updates_in: str = "params"  # whose dtype updates come in: "params", "grads", or the "wider"
    narrow: bool = True  # takes parameters of 16 bits as they are, with updates in their dtype
    passes_gradients: bool = False  # some updates are the gradients themselves
    bounded: bool = True  # a huge gradient gives no huge update
    averages: bool = False  # its state holds an average of the parameters, for `eval_params`
    smooth: bool = True  # keeps nothing in fewer bits than float64 parameters have
    any_container: bool = True  # fits parameters in any container; else in dicts only
    data: bool = True  # holds floating numbers, which may be traced
    printable: bool = True  # its repr is an expression that builds it
    serializable: bool = True  # it has a JSON configuration
    picklable: bool = True
    rows_as_dense: bool = True  # a gradient of `SparseRows` has the result of its dense array
    keeps_rows: bool = False  # and the update then is one of `SparseRows` too
    same_bits_in_shards: bool = True  # a shard inside `shard_map` draws the bits of one device
    only_full: str = ""  # why none of its tests run by default: it is one of a product
    costly: bool = True  # costly tests are worth while, too

    def __str__(self) -> str:
        return self.id


def halving(count: Any) -> Any:
    """A schedule that is a plain function."""
    return 0.5 / (1.0 + count)


def odd(count: Any) -> Any:
    """A condition on the step count that is a plain function."""
    return count % 2 == 1


def shrink(updates: Any, params: Any) -> Any:
    """A rule for leaves that is a plain function."""
    return 0.5 * updates


def tenth() -> float:
    """A hyperparameter that is a function without arguments."""
    return 0.1


def halved_pairs(pairs: Any) -> Any:
    """A function of (gradient, variable) pairs."""
    return [(0.5 * g, v) for g, v in pairs]


def passed_on(updates: Any, params: Any) -> Any:
    """A rule for trees that is a plain function."""
    return updates


LR = 0.05
RISE = adamx.warmup_constant_schedule(0.01, 0.1, 3)
FALL = adamx.cosine_decay_schedule(0.1, 10, alpha=0.1)
MASK = {"b": False, "w": True}


def _scaling(id: str, make: Callable[[], GradientTransformation], **capabilities: Any) -> Case:
    """A row for a link that multiplies what comes in, whatever the parameters are."""
    defaults = {
        "stateful": False,
        "checks_updates": False,
        "updates_in": "grads",
        "bounded": False,
        "keeps_rows": True,
    }
    return Case(id, make, **{**defaults, **capabilities})


# Every format of moments.  The small arrays here are stored in it too, those of shape (3,) in a
# block of their own.
FORMATS = {
    "bfloat16_format": adamx.bfloat16_format(seed=1),
    "pair_format": adamx.pair_format(min_size=0),
    "pair_blocks": adamx.pair_format(3, 0),
}
_TURNS = itertools.count()
FLOATS = ("bfloat16_format",)  # those for moments that are not Adam's averages


def _stored(
    id: str,
    make: Callable[..., GradientTransformation],
    formats: Iterable[str] = FORMATS,
    only_full: str = "every member in every format",
    **capabilities: Any,
) -> list[Case]:
    """A row for each format that a member of the family offers.

    What is stored in one is another program for each member; they share all of its mechanism, of
    which those of Adam are tried by default.
    """
    turn = next(_TURNS) % len(FORMATS)
    return [
        Case(
            f"{id}-{name}",
            functools.partial(make, state_format=FORMATS[name]),
            smooth=False,
            same_bits_in_shards=False,
            only_full=only_full,
            # Each format's turn comes with every third member.
            costly=not only_full or i == turn,
            **capabilities,
        )
        for i, name in enumerate(formats)
    ]


CASES = (
    # The Adam family.
    Case("adam", lambda: adamx.adam(LR, b1=0.8, b2=0.95, eps=1e-6)),
    Case("adam-eps_root", lambda: adamx.adam(FALL, b1=0.0, eps_root=1e-6)),
    Case("adam-eps_hat", lambda: adamx.adam(LR, eps_hat=True)),
    Case("adam-array", lambda: adamx.adam(jnp.asarray(LR)), printable=False),
    Case(
        "adam-callable",
        lambda: adamx.read_callables(adamx.adam(tenth)),
        printable=False,
        serializable=False,
    ),
    Case(
        "adam-bfloat16_moments",
        lambda: adamx.adam(LR, mu_dtype="bfloat16", nu_dtype="bfloat16"),
        smooth=False,
    ),
    Case(
        "adamw",
        lambda: adamx.adamw(FALL, weight_decay=RISE, mask=MASK),
        needs_params=True,
        any_container=False,
    ),
    Case("amsgrad", lambda: adamx.amsgrad(LR, bias_correction_mu=False)),
    Case("amsgrad-raw_maximum", lambda: adamx.amsgrad(LR, raw_maximum=True, eps_hat=True)),
    Case("nadam", lambda: adamx.nadam(RISE, b1=RISE)),
    Case("nadamw", lambda: adamx.nadamw(LR, weight_decay=0.1), needs_params=True),
    Case(
        "bfloat16_params",
        lambda: adamx.bfloat16_params(adamx.chain(adamx.adamw(LR), adamx.ema_params(0.9))),
        needs_params=True,
        updates_in="wider",
        narrow=False,
        averages=True,
    ),
    Case("adamax", lambda: adamx.adamax(LR, b2=0.9)),
    Case("adamaxw", lambda: adamx.adamaxw(FALL, weight_decay=0.1), needs_params=True),
    Case("radam", lambda: adamx.radam(LR, b2=0.9, threshold=4.5), bounded=False),
    Case("radam-eps_hat", lambda: adamx.radam(LR, b2=0.9, eps_hat=True), bounded=False),
    Case("adabelief", lambda: adamx.adabelief(LR, b1=0.8, nesterov=True)),
    Case("yogi", lambda: adamx.yogi(LR, eps=1e-2)),
    Case("lamb", lambda: adamx.lamb(LR, weight_decay=0.1), needs_params=True),
    Case("adopt", lambda: adamx.adopt(LR, b2=0.9, nesterov=True)),
    Case("ademamix", lambda: adamx.ademamix(FALL, b3=RISE, alpha=RISE), needs_params=True),
    Case(
        "schedule_free_adamw",
        lambda: adamx.schedule_free_adamw(LR, 2),
        needs_params=True,
        averages=True,
        smooth=False,
    ),
    # The same in every format.
    *_stored("adam", functools.partial(adamx.adam, LR, eps_root=1e-6), only_full=""),
    Case(
        "adam-formats_by_path",
        lambda: adamx.adam(
            LR, state_format={"w": FORMATS["pair_format"], "b": FORMATS["bfloat16_format"]}
        ),
        smooth=False,
        any_container=False,
        same_bits_in_shards=False,
        only_full="each of them has a row",
    ),
    *_stored(
        "adamw",
        functools.partial(adamx.adamw, FALL, weight_decay=RISE, mask=MASK),
        needs_params=True,
        any_container=False,
    ),
    *_stored("nadam", functools.partial(adamx.nadam, RISE, b1=RISE)),
    *_stored("nadamw", functools.partial(adamx.nadamw, LR, weight_decay=0.1), needs_params=True),
    *_stored("amsgrad", functools.partial(adamx.amsgrad, LR, eps_hat=True), FLOATS),
    *_stored("adamax", functools.partial(adamx.adamax, LR, b2=0.9), FLOATS),
    *_stored(
        "adamaxw",
        functools.partial(adamx.adamaxw, FALL, weight_decay=0.1),
        FLOATS,
        needs_params=True,
    ),
    *_stored("radam", functools.partial(adamx.radam, LR, b2=0.9, threshold=4.5), bounded=False),
    *_stored("adabelief", functools.partial(adamx.adabelief, LR, nesterov=True), FLOATS),
    *_stored("yogi", functools.partial(adamx.yogi, LR, eps=1e-2), FLOATS),
    *_stored("lamb", functools.partial(adamx.lamb, LR, weight_decay=0.1), needs_params=True),
    *_stored("adopt", functools.partial(adamx.adopt, LR, b2=0.9, nesterov=True), FLOATS),
    *_stored(
        "ademamix",
        functools.partial(adamx.ademamix, FALL, b3=RISE, alpha=RISE),
        FLOATS,
        needs_params=True,
    ),
    *_stored(
        "scale_by_adam",
        functools.partial(adamx.scale_by_adam, b1=0.8, nesterov=True),
        updates_in="wider",
    ),
    *_stored(
        "scale_by_nadam",
        functools.partial(adamx.scale_by_nadam, b1=0.8, momentum_decay=RISE),
        updates_in="wider",
    ),
    *_stored(
        "scale_by_radam",
        functools.partial(adamx.scale_by_radam, b2=0.9, nesterov=True),
        bounded=False,
        updates_in="wider",
    ),
    *_stored(
        "scale_by_amsgrad",
        functools.partial(adamx.scale_by_amsgrad, b2=0.9, eps_root=1e-6),
        FLOATS,
        updates_in="wider",
    ),
    *_stored(
        "scale_by_adamax",
        functools.partial(adamx.scale_by_adamax, b1=0.8),
        FLOATS,
        updates_in="wider",
    ),
    *_stored(
        "scale_by_belief",
        functools.partial(adamx.scale_by_belief, b1=0.8),
        FLOATS,
        updates_in="wider",
    ),
    *_stored(
        "scale_by_yogi",
        functools.partial(adamx.scale_by_yogi, initial_accumulator_value=1e-3),
        FLOATS,
        updates_in="wider",
    ),
    *_stored(
        "scale_by_adopt",
        functools.partial(adamx.scale_by_adopt, clip_value_fn=2.0),
        FLOATS,
        updates_in="wider",
    ),
    *_stored(
        "scale_by_ademamix",
        functools.partial(adamx.scale_by_ademamix, alpha=2.0),
        FLOATS,
        updates_in="wider",
    ),
    # The same for tables, in every mode.
    Case(
        "sparse.adam",
        lambda: adamx.sparse.adam(FALL, b1=0.8, eps_hat=True),
        needs_params=True,
        updates_in="wider",
        rows_as_dense=False,
        keeps_rows=True,
    ),
    Case(
        "sparse.adam-exact",
        lambda: adamx.sparse.adam(LR, {"w": "exact"}, b2=0.95),
        needs_params=True,
        updates_in="wider",
        any_container=False,
        rows_as_dense=False,
        keeps_rows=True,
    ),
    Case(
        "sparse.adamw",
        lambda: adamx.sparse.adamw(LR, "dense", weight_decay=RISE, mask=MASK),
        needs_params=True,
        updates_in="wider",
        any_container=False,
    ),
    Case(
        "sparse.adamw-rowwise",
        lambda: adamx.sparse.adamw(FALL, {"w": "rowwise"}, eps_root=1e-6, weight_decay=0.1),
        needs_params=True,
        updates_in="wider",
        any_container=False,
        rows_as_dense=False,
        keeps_rows=True,
    ),
    Case(
        "sparse.adam-counted",
        lambda: adamx.sparse.adam(FALL, "counted", b1=RISE),
        needs_params=True,
        updates_in="wider",
        rows_as_dense=False,
        keeps_rows=True,
    ),
    Case(
        "sparse.amsgrad",
        lambda: adamx.sparse.amsgrad(LR, {"w": "lazy", "b": "dense"}),
        needs_params=True,
        updates_in="wider",
        any_container=False,
        rows_as_dense=False,
        keeps_rows=True,
    ),
    Case(
        "sparse.rows",
        lambda: adamx.sparse.rows(adamx.yogi(LR), {"w": "rowwise"}),
        needs_params=True,
        updates_in="wider",
        any_container=False,
        rows_as_dense=False,
        keeps_rows=True,
    ),
    Case(
        "sparse.ema_params",
        lambda: adamx.sparse.ema_params(adamx.sparse.adam(LR, {"w": "exact"}), 0.9),
        needs_params=True,
        averages=True,
        updates_in="wider",
        any_container=False,
        smooth=False,
        rows_as_dense=False,
        keeps_rows=True,
    ),
    # The cores of the family.
    Case("scale_by_adam", lambda: adamx.scale_by_adam(b1=0.8, nesterov=True), updates_in="wider"),
    Case(
        "scale_by_amsgrad",
        lambda: adamx.scale_by_amsgrad(b2=0.9, eps_root=1e-6),
        updates_in="wider",
    ),
    Case("scale_by_adamax", lambda: adamx.scale_by_adamax(b1=0.8), updates_in="wider"),
    Case(
        "scale_by_nadam",
        lambda: adamx.scale_by_nadam(b1=0.8, momentum_decay=RISE),
        smooth=False,
        updates_in="wider",
    ),
    Case(
        "scale_by_radam",
        lambda: adamx.scale_by_radam(b2=0.9, nesterov=True),
        bounded=False,
        updates_in="wider",
    ),
    Case("scale_by_belief", lambda: adamx.scale_by_belief(b1=0.8), updates_in="wider"),
    Case(
        "scale_by_yogi",
        lambda: adamx.scale_by_yogi(initial_accumulator_value=1e-3),
        updates_in="wider",
    ),
    Case(
        "scale_by_adopt",
        lambda: adamx.scale_by_adopt(clip_value_fn=2.0, mu_dtype="float16"),
        smooth=False,
        updates_in="wider",
    ),
    Case("scale_by_ademamix", lambda: adamx.scale_by_ademamix(alpha=2.0), updates_in="wider"),
    Case(
        "scale_by_rms", lambda: adamx.scale_by_rms(eps=1e-3, initial_scale=1.0), updates_in="wider"
    ),
    Case(
        "scale_by_rms-counted",
        lambda: adamx.scale_by_rms(RISE, bias_correction=True),
        updates_in="wider",
    ),
    Case(
        "schedule_free",
        lambda: adamx.schedule_free(adamx.scale_by_learning_rate(LR), LR, b1=0.8),
        needs_params=True,
        bounded=False,
        averages=True,
        smooth=False,
        updates_in="wider",
    ),
    # Around the core.
    _scaling("clip_by_global_norm", lambda: adamx.clip_by_global_norm(0.5), bounded=True),
    _scaling(
        "clip_by_global_norm-schedule",
        lambda: adamx.clip_by_global_norm(RISE),
        stateful=True,
        bounded=True,
    ),
    _scaling(
        "add_decayed_weights",
        lambda: adamx.add_decayed_weights(RISE, mask=MASK),
        stateful=True,
        needs_params=True,
        checks_updates=True,
        any_container=False,
        keeps_rows=False,
    ),
    _scaling(
        "scale_by_trust_ratio",
        lambda: adamx.scale_by_trust_ratio(trust_coefficient=0.1, eps=1e-3),
        needs_params=True,
        checks_updates=True,
        bounded=True,
    ),
    _scaling("scale", lambda: adamx.scale(-0.5)),
    _scaling("scale_by_learning_rate", lambda: adamx.scale_by_learning_rate(LR)),
    _scaling("scale_by_schedule", lambda: adamx.scale_by_schedule(FALL), stateful=True),
    _scaling(
        "scale_by_schedule-function",
        lambda: adamx.scale_by_schedule(halving),
        stateful=True,
        data=False,
        printable=False,
        serializable=False,
    ),
    _scaling(
        "ema_params",
        lambda: adamx.ema_params(0.9, debias=True),
        stateful=True,
        averages=True,
        needs_params=True,
        checks_updates=True,
    ),
    _scaling(
        "mean_params",
        lambda: adamx.mean_params(start_step=1),
        stateful=True,
        averages=True,
        needs_params=True,
        checks_updates=True,
        data=False,
    ),
    Case("ema", lambda: adamx.ema(0.9), bounded=False, updates_in="wider"),
    Case("trace", lambda: adamx.trace(0.9, nesterov=True), bounded=False, updates_in="wider"),
    _scaling(
        "decay_to_initial",
        lambda: adamx.decay_to_initial(RISE, mask=MASK),
        updates_in="wider",
        stateful=True,
        needs_params=True,
        checks_updates=True,
        any_container=False,
        keeps_rows=False,
    ),
    # Guarding and changing gradients.
    _scaling("clip", lambda: adamx.clip(0.5), bounded=True),
    _scaling("clip_by_norm", lambda: adamx.clip_by_norm(0.5), bounded=True),
    _scaling(
        "clip_by_block_rms", lambda: adamx.clip_by_block_rms(RISE), stateful=True, bounded=True
    ),
    _scaling(
        "adaptive_grad_clip",
        lambda: adamx.adaptive_grad_clip(0.1, report=True),
        stateful=True,
        needs_params=True,
        checks_updates=True,
        bounded=True,
        keeps_rows=False,
    ),
    _scaling("clip-report", lambda: adamx.clip(RISE, report=True), stateful=True, bounded=True),
    _scaling(
        "clip_by_global_norm-report",
        lambda: adamx.clip_by_global_norm(0.5, report=True),
        stateful=True,
        bounded=True,
    ),
    _scaling("clip_spikes", lambda: adamx.clip_spikes(2.0, 0.9, 1), stateful=True),
    _scaling(
        "clip_spikes-report", lambda: adamx.clip_spikes(RISE, 0.9, 2, report=True), stateful=True
    ),
    _scaling(
        "add_noise",
        lambda: adamx.add_noise(0.1, 0.5, key=1),
        stateful=True,
        smooth=False,
        same_bits_in_shards=False,
        keeps_rows=False,
    ),
    _scaling("centralize", adamx.centralize, data=False),
    _scaling("zero_nans", adamx.zero_nans, stateful=True, data=False),
    _scaling("set_to_zero", adamx.set_to_zero, bounded=True, data=False),
    _scaling("scale_by_sign", adamx.scale_by_sign, bounded=True, data=False),
    Case(
        "keep_params_nonnegative",
        adamx.keep_params_nonnegative,
        stateful=False,
        needs_params=True,
        bounded=False,
        data=False,
        updates_in="wider",
    ),
    Case("cautious", lambda: adamx.cautious(adamx.scale_by_adam(b1=0.8)), updates_in="wider"),
    # Some of the parameters, some of the time.
    _scaling(
        "freeze",
        lambda: adamx.freeze({"b": True, "w": False}),
        checks_updates=True,
        any_container=False,
        data=False,
    ),
    _scaling(
        "freeze-by_path",
        lambda: adamx.freeze(adamx.mask_by_path("^b")),
        checks_updates=True,
        data=False,
    ),
    _scaling(
        "masked",
        lambda: adamx.masked(adamx.add_decayed_weights(RISE), MASK),
        stateful=True,
        needs_params=True,
        checks_updates=True,
        any_container=False,
        keeps_rows=False,
    ),
    Case(
        "multi_transform",
        lambda: adamx.multi_transform(
            {"fast": adamx.adam(LR), "slow": adamx.nadam(FALL)}, {"b": "slow", "w": "fast"}
        ),
        any_container=False,
    ),
    Case(
        "multi_transform-by_path",
        lambda: adamx.multi_transform(
            {"matrices": adamx.adamw(LR), "rest": adamx.adam(FALL)},
            adamx.label_by_path(("w", "matrices"), default="rest"),
        ),
        needs_params=True,
        any_container=False,
    ),
    _scaling("scale_by_path", lambda: adamx.scale_by_path(("^w", RISE), ("b", 0.5)), stateful=True),
    Case(
        "conditionally_mask",
        lambda: adamx.conditionally_mask(adamx.adam(LR), odd),
        printable=False,
        serializable=False,
    ),
    Case(
        "conditionally_transform",
        lambda: adamx.conditionally_transform(adamx.adam(LR), odd),
        bounded=False,
        passes_gradients=True,
        printable=False,
        serializable=False,
    ),
    # Around whole steps.
    Case("multi_steps", lambda: adamx.multi_steps(adamx.adam(LR), 2)),
    Case("apply_if_finite", lambda: adamx.apply_if_finite(adamx.adam(FALL))),
    Case(
        "skip_spikes",
        lambda: adamx.skip_spikes(adamx.adam(LR), num_std=4.0, warmup_steps=2),
    ),
    Case(
        "dynamic_loss_scale",
        lambda: adamx.dynamic_loss_scale(adamx.adam(LR), 8.0, growth_interval=2),
    ),
    Case("inject_hyperparams", lambda: adamx.inject_hyperparams(adamx.adam(LR, b2=RISE))),
    Case(
        "inject_hyperparams-names",
        lambda: adamx.inject_hyperparams(
            adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adam(LR)), ["learning_rate", "b1"]
        ),
    ),
    Case(
        "record_metrics",
        lambda: adamx.record_metrics(adamx.adam(FALL), "update_norm", "learning_rate"),
    ),
    # Over no axis here; tests/transforms/test_aggregation.py has them over devices.
    _scaling("psum", lambda: adamx.psum(()), data=False),
    _scaling("pmean", lambda: adamx.pmean(()), data=False),
    _scaling(
        "aggregate",
        lambda: adamx.aggregate(jax.lax.pmax, ()),
        data=False,
        printable=False,
        serializable=False,
    ),
    # Under Keras's names.
    Case(
        "keras.Adam",
        lambda: keras.Adam(LR, clipnorm=0.5, amsgrad=True, mesh=None),
        printable=False,
    ),
    Case(
        "keras.Adam-everything",
        lambda: keras.Adam(
            keras.schedule("CosineDecay", initial_learning_rate=0.1, decay_steps=8),
            decay=0.1,
            gradient_transformers=[halved_pairs],
            loss_scale_factor=2.0,
            gradient_accumulation_steps=2,
            use_ema=True,
        ),
        needs_params=True,
        bounded=False,
        averages=True,
        printable=False,
        serializable=False,
    ),
    Case("keras.AdamW", lambda: keras.AdamW(FALL), needs_params=True, printable=False),
    Case("keras.Nadam", lambda: keras.Nadam(LR), smooth=False, printable=False),
    Case("keras.Adamax", lambda: keras.Adamax(LR), printable=False),
    Case(
        "keras.Lamb",
        lambda: keras.Lamb(FALL, weight_decay=0.1),
        needs_params=True,
        printable=False,
    ),
    Case(
        "keras.LossScaleOptimizer",
        lambda: keras.LossScaleOptimizer(keras.Adam(LR), initial_scale=1.0),
        printable=False,
    ),
    # Composing.
    Case(
        "chain",
        lambda: adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adam(FALL), adamx.ema_params(LR)),
        needs_params=True,
        averages=True,
    ),
    _scaling(
        "chain-foreign",
        lambda: adamx.chain(optax.identity(), adamx.scale_by_learning_rate(FALL)),
        stateful=True,
        updates_in="params",
        printable=False,
        serializable=False,
        picklable=False,
        keeps_rows=False,
    ),
    Case(
        "named_chain",
        lambda: adamx.named_chain(("core", adamx.scale_by_adam()), ("lr", adamx.scale(-LR))),
    ),
    _scaling("identity", adamx.identity, data=False),
    _scaling(
        "stateless",
        lambda: adamx.stateless(passed_on),
        data=False,
        printable=False,
        serializable=False,
    ),
    _scaling(
        "stateless_with_tree_map",
        lambda: adamx.stateless_with_tree_map(shrink),
        checks_updates=True,
        data=False,
        printable=False,
        serializable=False,
        keeps_rows=False,
    ),
)


@dataclasses.dataclass(frozen=True)
class ScheduleCase:
    """One schedule."""

    id: str
    make: Callable[[], Schedule]

    def __str__(self) -> str:
        return self.id


SCHEDULES = (
    ScheduleCase("constant_schedule", lambda: adamx.constant_schedule(0.1)),
    ScheduleCase("linear_schedule", lambda: adamx.linear_schedule(0.1, 0.01, 4, 1)),
    ScheduleCase("polynomial_schedule", lambda: adamx.polynomial_schedule(0.1, 0.01, 2.0, 4, 1)),
    ScheduleCase("power_schedule", lambda: adamx.power_schedule(0.1, 0.5)),
    ScheduleCase("running_mean_decay", lambda: adamx.running_mean_decay(1, 2)),
    ScheduleCase("exponential_decay", lambda: adamx.exponential_decay(0.1, 2, 0.5, end_value=0.01)),
    ScheduleCase("inverse_time_decay", lambda: adamx.inverse_time_decay(0.1, 0.5, 2, True)),
    ScheduleCase(
        "piecewise_constant_schedule",
        lambda: adamx.piecewise_constant_schedule(0.1, {2: 0.5, 4: 0.1}),
    ),
    ScheduleCase(
        "piecewise_interpolate_schedule",
        lambda: adamx.piecewise_interpolate_schedule("cosine", 0.1, {2: 0.5, 4: 0.1}),
    ),
    ScheduleCase("cosine_decay_schedule", lambda: adamx.cosine_decay_schedule(0.1, 4, 0.1, 2.0)),
    ScheduleCase(
        "sgdr_schedule",
        lambda: adamx.sgdr_schedule(
            [{"init_value": 0.01, "peak_value": 0.1, "warmup_steps": 1, "decay_steps": 3}] * 2
        ),
    ),
    ScheduleCase("cosine_restarts_schedule", lambda: adamx.cosine_restarts_schedule(0.1, 2, 1.5)),
    ScheduleCase("warmup_constant_schedule", lambda: adamx.warmup_constant_schedule(0.01, 0.1, 3)),
    ScheduleCase(
        "warmup_linear_decay_schedule",
        lambda: adamx.warmup_linear_decay_schedule(0.01, 0.1, 2, 6),
    ),
    ScheduleCase(
        "warmup_cosine_decay_schedule",
        lambda: adamx.warmup_cosine_decay_schedule(0.01, 0.1, 2, 6, 0.001),
    ),
    ScheduleCase(
        "warmup_exponential_decay_schedule",
        lambda: adamx.warmup_exponential_decay_schedule(0.01, 0.1, 2, 3, 0.5),
    ),
    ScheduleCase(
        "warmup_stable_decay_schedule",
        lambda: adamx.warmup_stable_decay_schedule(0.01, 0.1, 2, 2, 3),
    ),
    ScheduleCase("inverse_sqrt_schedule", lambda: adamx.inverse_sqrt_schedule(0.01, 0.1, 3)),
    ScheduleCase("linear_onecycle_schedule", lambda: adamx.linear_onecycle_schedule(10, 0.1)),
    ScheduleCase("cosine_onecycle_schedule", lambda: adamx.cosine_onecycle_schedule(10, 0.1)),
    ScheduleCase("join_schedules", lambda: adamx.join_schedules([RISE, FALL], [2])),
    ScheduleCase("scale_schedule", lambda: adamx.scale_schedule(RISE, FALL)),
    ScheduleCase("shift_schedule", lambda: adamx.shift_schedule(FALL, 2)),
)


# One row for each way in which a transformation works: what a costly test runs over by default.
ARCHETYPES = {
    "adam",  # moments
    "adam-bfloat16_moments",
    "adamw",  # a decay, a mask, schedules
    "radam",  # branches on numbers
    "lamb",  # a norm per leaf
    "schedule_free_adamw",  # a second set of parameters
    "sparse.adam-exact",  # rows that are made up for later
    "sparse.adamw-rowwise",
    "sparse.ema_params",
    "clip_by_global_norm",  # a norm of all leaves
    "clip_spikes-report",  # statistics of norms
    "add_noise",  # random numbers
    "ema_params",  # an average of the parameters
    "multi_transform",  # parts of the tree
    "conditionally_mask",  # parts of the time
    "multi_steps",
    "apply_if_finite",
    "dynamic_loss_scale",
    "inject_hyperparams",
    "record_metrics",
    "keras.Adam-everything",
    "chain",
    "chain-foreign",
    "stateless_with_tree_map",  # plain functions
}


def marks_of(case: Case, only_archetypes_because: str = "") -> list[pytest.MarkDecorator]:
    """Whether `pytest --full` alone runs a test of this row: no mark, or one with the reason.

    A costly test runs for half of the archetypes by default; which half, the reason decides.
    """
    here = zlib.crc32(f"{only_archetypes_because} {case.id}".encode()) % 2 == 0
    by_default = not only_archetypes_because or (case.id in ARCHETYPES and here)
    reason = case.only_full or ("" if by_default else only_archetypes_because)
    return [pytest.mark.full(reason)] if reason else []


def rows(only_archetypes_because: str = "", **capabilities: bool) -> list[Any]:
    """Every row that has (or, with False, lacks) the capabilities.

    Where a test is costly, the reason why puts all but some archetypes off to `pytest --full`.
    """
    if only_archetypes_because:
        capabilities = {"costly": True, **capabilities}
    found = [c for c in CASES if all(getattr(c, k) is v for k, v in capabilities.items())]
    return [pytest.param(c, marks=marks_of(c, only_archetypes_because)) for c in found]


def cases(only_archetypes_because: str = "", **capabilities: bool) -> pytest.MarkDecorator:
    """Runs a test over `rows`."""
    return pytest.mark.parametrize("case", rows(only_archetypes_because, **capabilities), ids=str)


every_case = cases()
every_schedule = pytest.mark.parametrize("case", SCHEDULES, ids=str)
