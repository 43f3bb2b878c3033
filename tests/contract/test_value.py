"""A transformation is a value: it prints as its recipe, compares, hashes and pickles.

Runs are logged, looked up and sent to other processes by what their optimizer says it is.
"""

import copy
import pickle

import jax

import adamx
from tests.contract.table import Case, ScheduleCase, cases, every_case, every_schedule


@cases(printable=True)
def test_repr_builds_it_again(case: Case) -> None:
    tx = case.make()
    assert eval(repr(tx), dict(vars(adamx))) == tx


@every_case
def test_repr_starts_with_its_name(case: Case) -> None:
    assert repr(case.make()).startswith(f"{case.make().public_name}(")


@cases(picklable=True)
def test_pickle_makes_an_equal_value(case: Case) -> None:
    tx = case.make()
    assert pickle.loads(pickle.dumps(tx)) == tx


@every_case
def test_equal_values_are_one_dictionary_key(case: Case) -> None:
    tx = case.make()
    for same in (tx.replace(), copy.copy(tx), jax.tree.map(lambda x: x, tx)):
        assert same is not tx
        assert same == tx
        assert {tx: "found"}[same] == "found"


@cases(data=True)
def test_one_different_number_makes_another_value(case: Case) -> None:
    tx = case.make()
    leaves, structure = jax.tree.flatten(tx)
    for i, leaf in enumerate(leaves):
        other = structure.unflatten([*leaves[:i], leaf + 1, *leaves[i + 1 :]])
        assert other != tx
        assert {tx: "found"}.get(other) is None


@every_case
def test_what_contains_it_is_another_value(case: Case) -> None:
    assert case.make() != adamx.chain(case.make())


@every_schedule
def test_schedules_are_values_too(case: ScheduleCase) -> None:
    schedule = case.make()
    assert eval(repr(schedule), dict(vars(adamx))) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert {schedule: "found"}[case.make()] == "found"
    other = jax.tree.map(lambda x: x + 1, schedule)
    assert other != schedule
