"""A configuration is plain JSON, and building from it gives an equal value.

Checkpoints keep it beside the state; nothing in it is ever evaluated or unpickled.
"""

import json
from typing import Any

import pytest

import adamx
from tests.contract.table import SCHEDULES, Case, cases, rows

SERIALIZABLE = [*rows(serializable=True), *SCHEDULES]


@pytest.mark.parametrize("case", SERIALIZABLE, ids=str)
def test_round_trip_through_json(case: Any) -> None:
    value = case.make()
    text = json.dumps(adamx.get_config(value), allow_nan=False)
    assert adamx.from_config(json.loads(text)) == value


@cases(serializable=False)
def test_what_json_cannot_hold_is_refused_by_its_path(case: Case) -> None:
    tx = case.make()
    with pytest.raises(TypeError, match=rf"get_config: {tx.public_name}[.\[].* cannot hold"):
        adamx.get_config(tx)
