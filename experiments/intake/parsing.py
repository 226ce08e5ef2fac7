"""An uploaded file becomes rows: the words shared by both sides, and the side that runs the parser.

The bytes are a stranger's, so they are read in a child process with limits on memory, time and output
(parsing_child.py); this process only starts it and reads its report. No Django and no parsing library here.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROBLEMS_KEPT = 50
PREVIEW_ROWS = 20


@dataclass(frozen=True)
class Limits:
    """What one upload may cost. Sizes in bytes unless the name says otherwise."""

    file_bytes: int = 100 * 1024 * 1024
    cell_characters: int = 100_000
    line_characters: int = 4_000_000
    columns: int = 200
    rows: int = 1_000_000
    unpacked_bytes: int = 500 * 1024 * 1024
    unpack_ratio: int = 100
    memory_bytes: int = 1024 * 1024 * 1024
    output_bytes: int = 1024 * 1024 * 1024
    cpu_seconds: int = 60
    wall_seconds: int = 120


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a row, or without a row number the whole file, from being read."""

    sentence: str
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class ColumnFacts:
    """What a person needs to say what a column means.

    values: how often each value stands, the most frequent first; None when there are too many to be labels or splits.
    """

    name: str
    num_empty: int
    longest: int
    values: dict[str, int] | None

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values. The counts are pairs, because PostgreSQL keeps no order of keys."""
        return {**asdict(self), "values": None if self.values is None else list(self.values.items())}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "ColumnFacts":
        """The facts that `to_json` gave."""
        return cls(**{**facts, "values": None if facts["values"] is None else dict(facts["values"])})

    @property
    def repeats(self) -> bool:
        """Whether some value is known to stand more often than another, so that the first of `values` are the most frequent."""
        return len(set((self.values or {}).values())) > 1


@dataclass(frozen=True)
class ParseReport:
    """What was found in a file. Rows with a problem are left out of the output; `num_rows` counts the others.

    problems: the first PROBLEMS_KEPT of `num_problems`; a problem of the whole file comes first.
    preview: the first rows as (row number, cells).
    """

    kind: str = ""
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    columns: tuple[ColumnFacts, ...] = ()
    num_rows: int = 0
    num_blank_rows: int = 0
    num_bad_rows: int = 0
    num_problems: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    preview: tuple[tuple[int, tuple[str, ...]], ...] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether rows were read: nothing is wrong with the file as a whole."""
        return self.num_rows > 0 and all(problem.row is not None for problem in self.problems)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the cells."""
        return tuple(column.name for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ParseReport":
        """The report that `to_json` gave."""
        return cls(
            **{
                **{name.name: values[name.name] for name in fields(cls)},
                "columns": tuple(ColumnFacts.from_json(column) for column in values["columns"]),
                "problems": tuple(Problem(**problem) for problem in values["problems"]),
                "notes": tuple(values["notes"]),
                "preview": tuple((number, tuple(cells)) for number, cells in values["preview"]),
            }
        )


@dataclass(frozen=True)
class SourceRow:
    """A row of the file: its number as a spreadsheet or editor shows it, and a text for each column."""

    number: int
    cells: tuple[str, ...]


def file_parse(*, source: Path, destination: Path, name: str, limits: Limits | None = None) -> ParseReport:
    """Read an uploaded file in a limited child process.

    The report says everything; no exception comes from what the file holds. `destination` exists afterwards only when
    the report is usable, and is read with `rows_read`.

    Args:
        source: the uploaded bytes, a local file.
        destination: where the rows go, one JSON array a line; any older file there is replaced.
        name: the file's name as the person knows it; its ending says what it should hold.
    """
    limits = limits or Limits()
    partial = destination.with_name(destination.name + ".partial")
    try:
        report = _run_child({"source": str(source), "destination": str(partial), "name": name, "limits": asdict(limits)}, limits)
        if report.usable:
            partial.replace(destination)
        return report
    finally:
        partial.unlink(missing_ok=True)


def rows_read(path: Path, report: ParseReport) -> Iterator[SourceRow]:
    """The rows of a parsed file, one at a time, each with a text for every column of the report."""
    width = len(report.columns)
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            number, cells = json.loads(line)
            yield SourceRow(number, (*cells, *[""] * (width - len(cells))))


def _run_child(request: dict[str, Any], limits: Limits) -> ParseReport:
    command = [sys.executable, "-m", "experiments.intake.parsing_child"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            capture_output=True,
            cwd=ROOT,
            env=child_environment(),
            timeout=limits.wall_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failed_report(
            f"Reading the file took longer than {limits.wall_seconds} seconds. Split it into smaller files, or save it as CSV."
        )
    if done.returncode != 0:
        return failed_report(
            "Reading the file needed more memory or time than one upload may take. Split it into smaller files, or save it as CSV."
        )
    return ParseReport.from_json(json.loads(done.stdout))


def child_environment() -> dict[str, str]:
    """The child's whole environment: nothing of ours, so that a parser taken over by a file finds no secret in it."""
    return {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


def failed_report(sentence: str) -> ParseReport:
    """A report about a file that gave no rows."""
    return ParseReport(num_problems=1, problems=(Problem(sentence),))
