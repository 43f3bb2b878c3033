"""What a machine lacks is said, and nothing is left out that it has."""

from types import SimpleNamespace
from typing import Any

import jax
import pytest

from tests.machine import missing


def item(*marks: str, docstring: str | None = None) -> Any:
    example = None if docstring is None else SimpleNamespace(docstring=docstring)
    return SimpleNamespace(get_closest_marker=lambda name: name in marks or None, dtest=example)


ITEMS = {
    "eight_devices": item("eight_devices"),
    "cpu_program": item("cpu_program"),
    "a mesh in an example": item(docstring=">>> mesh = jax.make_mesh((8,), ('data',))"),
    "an example": item(docstring=">>> 1 + 1\n2"),
    "nothing": item(),
}


@pytest.mark.parametrize(
    ("backend", "devices", "reasons"),
    [
        ("cpu", 8, {}),
        (
            "gpu",
            1,
            {
                "eight_devices": "it asks for 8 devices, and there is 1",
                "cpu_program": "it is about the programs of XLA:CPU, and this is gpu",
                "a mesh in an example": "it asks for 8 devices, and there is 1",
            },
        ),
        ("gpu", 8, {"cpu_program": "it is about the programs of XLA:CPU, and this is gpu"}),
    ],
)
def test_what_is_left_out_says_why(
    monkeypatch: pytest.MonkeyPatch, backend: str, devices: int, reasons: dict[str, str]
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert {name: reason for name, one in ITEMS.items() if (reason := missing(one))} == reasons
