"""Whatever is given for an argument: a clear error of ours, or something that works.

One argument of a call that works is replaced by anything.  An error names the factory, the argument
or the place, and comes from this package; without one, `init` and `update` (or a schedule's number)
work, or end in such an error.
"""

from __future__ import annotations

import decimal
import inspect
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import adamx
from adamx.interop import keras, torch
from tests.contract.support import tree

PACKAGE = str(Path(adamx.__file__).parent)
ADAM = adamx.adam(0.1)
SCHEDULE = adamx.constant_schedule(0.1)


def _function(*arguments: Any) -> Any:
    return arguments[0]


# A value for every argument that has no default, by its name, then by factory and name.
GIVEN: dict[str, Any] = {
    "learning_rate": 0.1,
    "inner": ADAM,
    "base_optimizer": ADAM,
    "optimizer": ADAM,
    "inner_optimizer": keras.Adam(0.1),
    "mask": True,
    "decay": 0.9,
    "f": _function,
    "axis_name": (),
    "every_k_schedule": 2,
    "param_labels": "a",
    "transforms": {"a": ADAM},
    "should_transform_fn": lambda step: step > 0,
    "step_size_fn": SCHEDULE,
    "step_size": 0.5,
    "eta": 0.1,
    "gamma": 0.5,
    "key": 1,
    "max_delta": 1.0,
    "max_norm": 1.0,
    "threshold": 1.0,
    "clipping": 0.1,
    "weight_decay": 0.1,
    "num_std": 3.0,
    "value": 0.1,
    "init_value": 0.1,
    "end_value": 0.01,
    "peak_value": 0.1,
    "power": 2.0,
    "transition_steps": 4,
    "decay_steps": 8,
    "warmup_steps": 2,
    "stable_steps": 2,
    "decay_rate": 0.5,
    "interpolate_type": "linear",
    "first_decay_steps": 4,
    "cosine_kwargs": [{"init_value": 0.0, "peak_value": 0.1, "decay_steps": 4, "warmup_steps": 1}],
    "schedules": [SCHEDULE, SCHEDULE],
    "boundaries": [2],
    "schedule": SCHEDULE,
    "factor": 0.5,
    "steps": 2,
    "t_initial": 4,
    "initial_learning_rate": 0.1,
}
REPLACED = {
    "sparse.ema_params": {"inner": adamx.sparse.adam(0.1), "decay": 0.9},
    "cautious": {"inner": adamx.scale_by_adam()},
    "schedule_free": {"base_optimizer": adamx.scale(-0.1)},
    "keras.LossScaleOptimizer": {"inner": keras.Adam(0.1)},
}
# The first of the arguments that have no name.
POSITIONAL: dict[str, tuple[Any, ...]] = {
    "chain": (ADAM,),
    "named_chain": (("a", ADAM),),
    "label_by_path": (("b|w", "a"),),
    "scale_by_path": (("b", 0.5),),
    "mask_by_path": ("b",),
    "record_metrics": (ADAM, "grad_norm"),
}

# What is no factory: it takes states, or trees of arrays.
OTHERS = {
    *("make_step", "apply_updates", "eval_params", "schedule_free_eval_params", "global_norm"),
    *("unitwise_norm", "get_hyperparam", "set_hyperparams", "read_callables", "get_learning_rate"),
    *("metrics", "loss_scale", "check_guards", "leaf_paths", "get_config", "from_config"),
    *("plot_schedule", "incremental_update", "safe_increment", "convert_state", "kept_bytes"),
}


def _factories() -> dict[str, Callable[..., Any]]:
    """Public functions, and classes offered as such, that make transformations or schedules."""
    own = {name: getattr(adamx, name) for name in adamx.__all__ if name[0].islower()}
    found = {name: thing for name, thing in own.items() if name not in OTHERS}
    for prefix, space in (("keras.", keras), ("torch.", torch)):
        for name, thing in vars(space).items():
            if name[0].isupper() and inspect.isfunction(thing):
                found[prefix + name] = thing
    tables = ("adam", "adamw", "amsgrad", "rows", "ema_params")
    return {**found, **{f"sparse.{name}": getattr(adamx.sparse, name) for name in tables}}


FACTORIES = _factories()


def arguments(name: str) -> dict[str, Any]:
    """A call that works."""
    given = {}
    for p in inspect.signature(FACTORIES[name]).parameters.values():
        own = REPLACED.get(name, {})
        optional = p.default is not p.empty and p.name not in own
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) or optional:
            continue
        if name in POSITIONAL and p.kind is not p.KEYWORD_ONLY:
            continue
        given[p.name] = own.get(p.name, GIVEN.get(p.name, 0.1))
    return given


# Nothing that hypothesis makes up: it mixes in constants of the modules that happen to be loaded,
# so that two workers would try different things.
numbers = st.sampled_from(
    [
        *(0, 1, 2, 3, 5, -1, -2, -3, 10, 255, 2**31 - 1, 2**31, -(2**31), 2**63, 10**30),
        *(0.0, -0.0, 0.1, 0.5, 0.9, 0.999, 1.0, 1.5, 2.0, 3.7, 5.0, -0.5, -1.0, -1e-8, 1e5),
        *(1e-300, 1e-45, 1e-12, 1e40, 1e308, float("inf"), float("-inf"), float("nan")),
        *(1 + 1j, np.float16(0.5), np.int8(3), np.uint8(200), np.float64(-2.0)),
    ]
)
texts = st.sampled_from(["", "a", "b|w", "(", ".*", "0", "\n", "\u00e9", "adam", "None"])
arrays = st.sampled_from(
    [
        jnp.asarray(0.5),
        jnp.asarray(-1.0),
        jnp.asarray(jnp.nan),
        jnp.ones(2),
        jnp.ones((2, 1), int),
        np.array(0.5),
        np.array("a"),
        np.array(True),
        np.array(None),
        np.ma.array(0.5),
        np.ones(2, ">f4"),
        jnp.asarray(1j),
        jax.random.key(0),
        jnp.ones((), jnp.float8_e5m2),
    ]
)
things = st.sampled_from(
    [
        *(None, True, False, "", "a", "0.1", "float32", b"a", (), [], {}, set(), object()),
        *(ADAM, SCHEDULE, adamx.adam, _function, lambda: 0.1, lambda a, b, c: a, jnp),
        *(decimal.Decimal("0.1"), range(3), slice(3), Ellipsis, NotImplemented, np.float32),
        *(tree(), adamx.EmptyState(), adamx.SparseRows(jnp.array([0]), jnp.ones((1, 2)), 3)),
    ]
)
anything = st.recursive(
    st.one_of(numbers, arrays, things, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "w", 1, None]), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=4,
)


def check_ours(error: BaseException, names: set[str]) -> None:
    """The error is a TypeError or ValueError, raised in this package, that names what was given."""
    assert isinstance(error, (TypeError, ValueError)), repr(error)
    where = traceback.extract_tb(error.__traceback__)[-1].filename
    # A call that Python itself refuses is raised where it is made.
    assert where.startswith(PACKAGE) or where == __file__, f"{where}: {error!r}"
    said = re.sub(r"\W+", " ", str(error))
    assert any(re.sub(r"\W+", " ", name) in said for name in names), f"{names} are not in {error!r}"


def use(made: Any) -> None:
    """What a made value is for, without computing anything."""
    params = tree()
    if isinstance(made, adamx.Schedule):
        jax.eval_shape(lambda: made(jnp.asarray(3)))
    elif isinstance(made, adamx.GradientTransformation):
        repr(made)
        state = jax.eval_shape(made.init, params)
        jax.eval_shape(
            lambda g, s, p: made.update(g, s, p, value=jnp.ones(())), params, state, params
        )
    elif callable(made):
        made(params)


def names_in(made: Any) -> set[str]:
    """The public names of everything inside."""
    if isinstance(made, (tuple, list)):
        return set().union(*map(names_in, made))
    if not isinstance(made, adamx.core.value.Value):
        return set()
    return {made.public_name, *names_in(list(made.field_values().values()))}


@pytest.mark.parametrize("name", FACTORIES)
def test_the_call_that_is_varied_works(name: str) -> None:
    use(FACTORIES[name](*POSITIONAL.get(name, ()), **arguments(name)))


@pytest.mark.parametrize("name", FACTORIES)
def test_whatever_is_given(name: str, request: pytest.FixtureRequest) -> None:
    factory, given = FACTORIES[name], arguments(name)
    first = POSITIONAL.get(name, ())
    parameters = inspect.signature(factory).parameters.values()
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names: list[Any] = [p.name for p in parameters if p.kind not in variadic]
    if first:
        keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        names = [*range(len(first)), *keyword_only]
    if not names:
        return

    @hypothesis.settings(
        max_examples=250 if request.config.getoption("full") else 25,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        database=None,
        report_multiple_bugs=False,
    )
    @hypothesis.given(st.sampled_from(names), anything)
    def call(argument: str | int, value: Any) -> None:
        known = {name, name.rpartition(".")[2], str(argument)}
        positional, named = list(first), dict(given)
        if isinstance(argument, int):
            positional[argument] = value
        else:
            named[argument] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                made = factory(*positional, **named)
            except Exception as error:
                check_ours(error, known)
                return
            try:
                use(made)
            except Exception as error:
                # Where a schedule is called it does not know which of its lengths it was.
                check_ours(error, known | names_in(made) | {"a number of steps"})

    call()
