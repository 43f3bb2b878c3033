"""A run as one value: everything that is printed, stored and compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Self

from benchmarks.rows import Row, Spread

SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """Rows, and what they were made on."""

    command: str
    created: str  # ISO 8601, UTC
    seed: int
    hardware: dict[str, str]
    versions: dict[str, str]
    copy_bandwidth: Spread  # bytes per second, read and written
    limit: float  # the best of it: what disturbs a machine only ever makes it slower
    skipped: tuple[str, ...]  # what was not asked for or does not exist, and why
    failures: tuple[str, ...]  # what raised
    rows: tuple[Row, ...]

    def share_of_limit(self, row: Row) -> float:
        """The least traffic of the row's step per second, over the limit."""
        return row.bytes_per_second / self.limit

    def to_json(self) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {"schema": SCHEMA, **fields, "rows": [row.to_json() for row in self.rows]}

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
          ValueError: not such a file, or of another version.
        """
        stored = json.loads(path.read_text())
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
            raise ValueError(f"{path} is not a benchmark result of schema {SCHEMA}")
        del stored["schema"]
        return cls(
            **{
                **stored,
                "copy_bandwidth": Spread(*stored["copy_bandwidth"]),
                "skipped": tuple(stored["skipped"]),
                "failures": tuple(stored["failures"]),
                "rows": tuple(map(Row.from_json, stored["rows"])),
            }
        )
