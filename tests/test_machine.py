"""What a machine lacks is said, and nothing is left out that it has."""

from types import SimpleNamespace
from typing import Any

import jax
import pytest

from tests.machine import missing


def item(*marks: str, docstring: str | None = None, needs: Any = None) -> Any:
    example = None if docstring is None else SimpleNamespace(docstring=docstring)
    return SimpleNamespace(
        get_closest_marker=lambda name: name in marks or None,
        iter_markers=lambda name: [needs.mark] if needs and name == "needs_jax" else [],
        dtest=example,
    )


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


@pytest.mark.parametrize(
    ("version", "left_out"),
    [((0, 9, 2), True), ((0, 10, 1), True), ((0, 10, 2), False), ((0, 12, 0, 1), False)],
)
def test_a_guarantee_is_tested_from_its_version_on(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], left_out: bool
) -> None:
    text = ".".join(map(str, version))
    monkeypatch.setattr(jax, "__version_info__", version)
    monkeypatch.setattr(jax, "__version__", text)
    wanted = f"before jax 0.10.2: it is so (this is {text})" if left_out else None
    assert missing(item(needs=pytest.mark.needs_jax("0.10.2", "it is so"))) == wanted


def test_an_example_with_the_memory_of_the_host_needs_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "__version_info__", (0, 10, 1))
    assert (missing(item(docstring=">>> 'pinned_host'")) or "").startswith("before jax 0.10.2: ")


@pytest.mark.parametrize("wrong", [pytest.mark.needs_jax("0.7"), pytest.mark.needs_jax(0.7, "so")])
def test_a_version_comes_with_a_reason(wrong: Any) -> None:
    with pytest.raises(pytest.UsageError, match="takes a version and a reason"):
        missing(item(needs=wrong))
