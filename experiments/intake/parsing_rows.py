"""What every kind of file goes through: checks of the header and the cells, the output file and the report.

Runs inside the child process. Knows cells, not formats.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO

from experiments.intake.parsing import PREVIEW_ROWS, PROBLEMS_KEPT, ColumnFacts, Limits, ParseReport, Problem
from experiments.prompting.slots import MAX_NAME, is_slot_name
from experiments.wording import counted, listed, quoted

VALUES_COUNTED = 1_000
VALUE_LENGTH = 200

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class BadFile(Exception):
    """The file as a whole cannot be read; the message is the sentence for the person."""


class RowSink:
    """Takes rows from a reader, checks them, writes the good ones and remembers what the report needs."""

    def __init__(self, output: BinaryIO, limits: Limits) -> None:
        self.limits = limits
        self.names: list[str] = []
        self.notes: list[str] = []
        self.num_rows = self.num_blank = self.num_bad = self.num_problems = 0
        self._first_blank: int | None = None
        self._output = output
        self._problems: list[Problem] = []
        self._preview: list[tuple[int, tuple[str, ...]]] = []
        self._columns: list[_ColumnTally] = []

    def header(self, cells: Sequence[str]) -> None:
        """Set the columns. Empty names at the end are dropped: spreadsheets leave them behind.

        Raises:
            BadFile: a name is missing, doubled or cannot be used in a prompt.
        """
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:
            names.pop()
        check_names(names, self.limits)
        self.names = []
        for name in names:
            self.add_column(name)

    def add_column(self, name: str) -> None:
        """Add one column at the right; earlier rows have an empty text there."""
        if len(self.names) >= self.limits.columns:
            raise BadFile(f"The file has more than {self.limits.columns:,} columns. Remove those that hold no text, label or split.")
        self.names.append(name)
        self._columns.append(_ColumnTally(self.num_rows))

    def row(self, number: int, cells: Sequence[str]) -> None:
        """Take one row. A blank row is counted; a bad one is left out and reported."""
        if not any(cells):
            self.num_blank += 1
            self._first_blank = self._first_blank or number
            return
        cells = cells if len(cells) <= len(self.names) else self._without_empty_end(cells)
        line = self._encoded(number, cells)
        if line is None:
            self.num_bad += 1
            return
        if self.num_rows >= self.limits.rows:
            raise BadFile(f"The file has more than {self.limits.rows:,} rows. Split it into smaller files.")
        self._output.write(line)
        self.num_rows += 1
        if len(self._preview) < PREVIEW_ROWS:
            self._preview.append((number, tuple(cells)))
        for column, cell in zip(self._columns, cells, strict=False):
            column.add(cell)

    def bad_row(self, number: int, sentence: str, column: str | None = None) -> None:
        """Leave a row out and say why."""
        self.num_bad += 1
        self.problem(sentence, row=number, column=column)

    def problem(self, sentence: str, *, row: int | None = None, column: str | None = None) -> None:
        """Record a problem; the first PROBLEMS_KEPT are kept in words."""
        self.num_problems += 1
        if len(self._problems) < PROBLEMS_KEPT:
            self._problems.append(Problem(sentence, row, column))

    def report(self, *, kind: str, encoding: str | None = None, delimiter: str | None = None, sheet: str | None = None) -> ParseReport:
        """Everything that was found.

        Raises:
            BadFile: no row came through.
        """
        if not self.num_rows and not self.num_problems:
            raise BadFile("The file has a header but no rows. Add at least one row for each label." if self.names else "The file is empty.")
        whole = [] if self.num_rows else [Problem(f"No row could be read. {self._problems[0].sentence}")]
        return ParseReport(
            kind=kind,
            encoding=encoding,
            delimiter=delimiter,
            sheet=sheet,
            columns=tuple(column.facts(name, self.num_rows) for name, column in zip(self.names, self._columns, strict=True)),
            num_rows=self.num_rows,
            num_blank_rows=self.num_blank,
            num_bad_rows=self.num_bad,
            num_problems=self.num_problems + len(whole),
            problems=(*whole, *self._problems),
            notes=(*self.notes, *self._blank_note()),
            preview=tuple((number, (*cells, *[""] * (len(self.names) - len(cells)))) for number, cells in self._preview),
        )

    def _blank_note(self) -> tuple[str, ...]:
        """That rows were skipped, so that whoever counts them in a spreadsheet finds the difference."""
        if not self._first_blank:
            return ()
        skipped = counted(self.num_blank, "row has no text in any cell and was", "rows have no text in any cell and were")
        return (f"{skipped} skipped: {'the first is ' if self.num_blank > 1 else ''}row {self._first_blank:,} of the file.",)

    def _without_empty_end(self, cells: Sequence[str]) -> Sequence[str]:
        width = len(self.names)
        return cells[:width] if not any(cells[width:]) else cells

    def _encoded(self, number: int, cells: Sequence[str]) -> bytes | None:
        """The row as a line of output, or None after a problem was recorded."""
        if len(cells) != len(self.names):
            self.problem(
                f"Row {number:,} has {counted(len(cells), 'cell')}, but the header names {counted(len(self.names), 'column')}. "
                "Put texts that hold the delimiter in double quotes, or remove the row.",
                row=number,
            )
            return None
        longest = self.limits.cell_characters
        if any("\0" in cell or len(cell) > longest for cell in cells):
            self._refuse(number, cells)
            return None
        try:
            return _to_json([number, cells]).encode() + b"\n"
        except UnicodeEncodeError:
            self._refuse(number, cells)
            return None

    def _refuse(self, number: int, cells: Sequence[str]) -> None:
        name, fault = next((name, fault) for name, cell in zip(self.names, cells, strict=True) if (fault := cell_fault(cell, self.limits)))
        self.problem(f"Row {number:,}, column {quoted(name)}: {fault}", row=number, column=name)


class _ColumnTally:
    """Counts of one column, small however many rows there are."""

    def __init__(self, num_earlier: int) -> None:
        self._earlier, self._empty, self._longest = num_earlier, 0, 0
        self._values: Counter[str] | None = Counter()

    def add(self, cell: str) -> None:
        self._empty += not cell.strip()
        self._longest = max(self._longest, len(cell))
        if self._values is None:
            return
        if len(cell) > VALUE_LENGTH or len(self._values) > VALUES_COUNTED:
            self._values = None
        else:
            self._values[cell] += 1

    def facts(self, name: str, num_rows: int) -> ColumnFacts:
        values = None if self._values is None or len(self._values) > VALUES_COUNTED else dict(self._values.most_common())
        return ColumnFacts(name, self._empty + self._earlier, self._longest, values)


def check_names(names: Sequence[str], limits: Limits) -> None:
    """Refuse a header that cannot name columns.

    Raises:
        BadFile: with the position of the first fault.
    """
    if not names:
        raise BadFile("The first row is empty. It must hold the names of the columns, such as text and label.")
    if len(names) > limits.columns:
        raise BadFile(
            f"The file has {len(names):,} columns; {limits.columns:,} are allowed. Remove those that hold no text, label or split."
        )
    for position, name in enumerate(names, 1):
        if not name:
            raise BadFile(f"Column {position:,} has no name in the first row. Name it, or remove the column.")
        if fault := cell_fault(name, limits):
            raise BadFile(f"The name of column {position:,}: {fault}")
        if not is_slot_name(name):
            raise BadFile(
                f"Column {position:,} is named {quoted(name)}. Rename it: at most {MAX_NAME} characters, no line break, no braces."
            )
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        places = [f"{position:,}" for position, name in enumerate(names, 1) if name == doubled[0]]
        raise BadFile(f"Columns {listed(places)} have the same name, {quoted(doubled[0])}. Rename all but one.")


def cell_fault(cell: str, limits: Limits) -> str | None:
    """Why a cell cannot be taken, as the end of a sentence; None when it can."""
    if len(cell) > limits.cell_characters:
        return f"the cell has {len(cell):,} characters, more than the {limits.cell_characters:,} allowed. Shorten it or remove the row."
    if "\0" in cell:
        return "the cell holds a NUL character, which no text has. Remove it; the file may be damaged."
    if any("\ud800" <= character <= "\udfff" for character in cell):
        return "the cell holds half of a character (a lone surrogate). Remove it; the file may be damaged."
    return None
