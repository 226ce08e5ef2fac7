"""The table on the terminal and `latest.json`. Knows entries, nothing of how they came about."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workers.bench.gates import GATES
from workers.bench.protocol import Entry

# What two parts of one benchmark have in common.
_EQUAL = ("commit", "mode", "clock", "shape", "dtype", "threads", "rounds", "versions")
_HEAD = ("id", "peer", "peer's", "ours", "unit", "ratio", "gate", "goal", "limit", "")


def print_table(entries: Sequence[Entry]) -> None:
    """One line a measure, notes and equality below."""
    rows = [_HEAD, *(_cells(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for entry in entries:
        what = GATES[entry.id].what if entry.id in GATES else ""
        print(f"{entry.id}: {what}. " + "; ".join(part for part in (entry.equal, entry.note) if part))


def _cells(entry: Entry) -> tuple[str, ...]:
    verdict = {True: "ok", False: "MISSED", None: "-"}[entry.ok]
    numbers = (entry.ratio, entry.gate, entry.goal, entry.limit)
    return (entry.id, entry.peer, _number(entry.peer_value), _number(entry.ours), entry.unit, *map(_number, numbers), verdict)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def line_of(entry: Entry) -> str:
    """One measure as it ends."""
    return f"{entry.id}: {_number(entry.ratio) or entry.note} in {entry.details['seconds']:.0f} s"


class Report:
    """The file that grows with every measure.

    What an equal benchmark (same code, mode, clock, shape, versions) has left there stays until it is measured anew, so that a long
    benchmark may be run in parts.
    """

    def __init__(self, file: Path, facts: dict[str, Any]) -> None:
        self.file, self.facts = file, facts
        self.entries: list[Entry] = []
        self.failures: dict[str, str] = {}
        before = _read(file)
        if all(before.get(name) == facts[name] for name in _EQUAL):
            self.entries = [Entry(**entry) for entry in before["entries"]]
            self.failures = before["failures"]

    def add(self, entry: Entry) -> None:
        """Take an entry in, in place of one of the same id."""
        entry.details["measured_at"] = datetime.now(UTC).isoformat()
        self._forget(entry.id)
        self.entries.append(entry)
        self.entries.sort(key=lambda each: list(GATES).index(each.id))
        self._write()

    def fail(self, name: str, why: str) -> None:
        """Note that a measure has no figure."""
        self._forget(name)
        self.failures[name] = why
        self._write()

    def _forget(self, name: str) -> None:
        self.entries = [entry for entry in self.entries if entry.id != name]
        self.failures.pop(name, None)

    def _write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        entries = [entry.to_json() for entry in self.entries]
        content = {**self.facts, "failures": self.failures, "entries": entries}
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(fresh, self.file)


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
