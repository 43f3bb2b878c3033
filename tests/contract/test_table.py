"""The table names everything public, and what it declares is true.

A transformation that is missing here would be tested by nothing.
"""

import inspect
import sys
import typing
from typing import Any

import jax
import pytest

import adamx
from adamx.core.format import Format
from adamx.core.value import REGISTRY, Value
from adamx.interop import keras
from tests.contract.support import is_float
from tests.contract.table import ARCHETYPES, CASES, FORMATS, SCHEDULES, Case, every_case


def returns(function: Any, kind: type) -> bool:
    """True if every type in the return annotation is a `kind`."""
    try:
        hint = eval(function.__annotations__["return"], function.__globals__)
    except NameError:  # A type of another library, imported for type checkers only.
        return False
    return all(isinstance(t, type) and issubclass(t, kind) for t in typing.get_args(hint) or [hint])


def makes(name: str, thing: Any, kind: type) -> bool:
    """A function that returns a `kind`, or a class of them that is offered under its name."""
    if inspect.isclass(thing):
        return issubclass(thing, kind) and thing.public_name == name
    return inspect.isfunction(thing) and returns(thing, kind)


def factories(kind: type) -> dict[str, Any]:
    functions = {name: getattr(adamx, name) for name in adamx.__all__}
    functions |= {f"sparse.{name}": getattr(adamx.sparse, name) for name in adamx.sparse.__all__}
    # The optimizers; the other functions there take or return one.
    functions |= {
        f"keras.{name}": getattr(keras, name) for name in keras.__all__ if name[0].isupper()
    }
    return {name: thing for name, thing in functions.items() if makes(name, thing, kind)}


@pytest.mark.parametrize(
    ("rows", "kind"),
    [(CASES, adamx.GradientTransformation), (SCHEDULES, adamx.Schedule)],
    ids=["transformations", "schedules"],
)
def test_every_public_factory_has_a_row(rows: Any, kind: type) -> None:
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    assert {id.partition("-")[0] for id in ids} == {*factories(kind)}
    assert all(isinstance(row.make(), kind) for row in rows)


def test_archetypes_are_rows() -> None:
    assert {case.id for case in CASES} >= ARCHETYPES


def parts(value: Any) -> set[str]:
    """The public names of a value and of all values inside it."""
    if isinstance(value, (tuple, list)):
        return set().union(*map(parts, value))
    if not isinstance(value, Value):
        return set()
    return {value.public_name}.union(*map(parts, value.field_values().values()))


def test_every_class_of_the_library_is_used_by_a_row() -> None:
    """Also those whose factory hides them behind a wider annotation."""
    used = parts([row.make() for row in (*CASES, *SCHEDULES)])
    ours = {
        name
        for name, cls in REGISTRY.items()
        if cls.__module__.startswith("adamx.")
        # A doctest's class belongs to no module.
        and hasattr(sys.modules[cls.__module__], cls.__name__)
    }
    assert ours == used


def formats_in(value: Any) -> set[Format]:
    """The formats of moments that a value, or one inside it, was made with."""
    if isinstance(value, (tuple, list)):
        return set().union(*map(formats_in, value))
    if not isinstance(value, Value):
        return set()
    own = getattr(value, "state_format", None)
    inside = [formats_in(x) for x in value.field_values().values()]
    return ({own} if isinstance(own, Format) else set()).union(*inside)


def takes(factory: Any, form: Format) -> bool:
    """Whether moments of this factory can be kept in a format; one that cannot says so."""
    arguments = inspect.signature(factory).parameters.values()
    if "state_format" not in (p.name for p in arguments):
        return False
    needed = {p.name: 0.1 for p in arguments if p.default is p.empty}
    try:
        factory(**needed, state_format=form)
    except ValueError as error:
        if 'use `state_format="bfloat16"`' not in str(error):
            raise
        return False
    return True


def test_every_member_has_a_row_in_every_format_that_it_offers() -> None:
    offered = {
        (name, form)
        for name, factory in factories(adamx.GradientTransformation).items()
        for form in FORMATS.values()
        if takes(factory, form)
    }
    assert {name for name, _ in offered} >= {"adam", "scale_by_adam", "yogi"}
    rows = {(case.id.partition("-")[0], form) for case in CASES for form in formats_in(case.make())}
    assert offered - rows == set()


def test_every_format_of_moments_is_among_them() -> None:
    ours = {
        cls
        for cls in REGISTRY.values()
        if issubclass(cls, Format) and cls.__module__.startswith("adamx.")
    }
    assert {type(form) for form in FORMATS.values()} == ours


@every_case
def test_a_row_says_whether_it_holds_data(case: Case) -> None:
    assert any(map(is_float, jax.tree.leaves(case.make()))) is case.data
