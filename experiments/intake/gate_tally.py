"""One pass over mapped rows that collects what the gate's checks read. A few hundred bytes a row, linear time."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from experiments.intake.folding import fingerprint
from experiments.intake.splits import PLACES, UNLABELLED
from experiments.wording import quoted, rows_named

ROWS_SHOWN = 10


@dataclass(frozen=True)
class GateRow:
    """A mapped row: its number in the file, the texts that prompts may show, its label (empty for an unlabelled row) and its split."""

    number: int
    texts: tuple[str, ...]
    label: str
    split: str


class FoundRow(NamedTuple):
    """The number of a row with a fault, and of the earlier row whose text it repeats; None where it repeats none."""

    number: int
    twin: int | None = None


@dataclass
class Found:
    """Rows with one fault, in order, and one example in words."""

    all: list[FoundRow] = field(default_factory=list)
    example: str = ""

    def add(self, number: int, example: str = "", *, twin: int | None = None) -> None:
        """Take a row; the first example stays."""
        self.all.append(FoundRow(number, twin))
        self.example = self.example or example

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.all)

    @property
    def rows(self) -> tuple[int, ...]:
        """The numbers of the first."""
        return tuple(row.number for row in self.all[:ROWS_SHOWN])

    @property
    def opening(self) -> str:
        """The rows as a sentence opens with them."""
        return rows_named(self.rows, total=self.count)


@dataclass
class _Seen:
    """A text that has passed by: its first row, or its first with a label, that row's label, and the splits it stands in."""

    number: int
    label: str
    splits: set[str]


@dataclass
class Tally:
    """Counts, and the rows with each fault. `labels` counts rows by label and split; `first_row` is by label.

    Args:
        may_contradict: whether equal texts with different labels contradict each other; reference texts may well differ.
    """

    may_contradict: bool = True
    num_rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    first_row: dict[str, int] = field(default_factory=dict)
    empty_text: Found = field(default_factory=Found)
    empty_label: Found = field(default_factory=Found)
    spaced_label: Found = field(default_factory=Found)
    repeated: Found = field(default_factory=Found)
    overlap: Found = field(default_factory=Found)
    also_in_train: Found = field(default_factory=Found)
    contradiction: Found = field(default_factory=Found)
    _texts: dict[bytes, _Seen] = field(default_factory=dict)

    def add(self, row: GateRow) -> None:
        """Take one row."""
        self.num_rows += 1
        self.splits[row.split] += 1
        self._add_label(row)
        if any(text.strip() for text in row.texts):
            self._add_text(row)
        else:
            self.empty_text.add(row.number)

    def _add_label(self, row: GateRow) -> None:
        if row.split == UNLABELLED:
            return
        if not row.label.strip():
            self.empty_label.add(row.number)
            return
        if row.label != row.label.strip():
            self.spaced_label.add(row.number, quoted(row.label))
        self.labels[row.label][row.split] += 1
        self.first_row.setdefault(row.label, row.number)

    def _add_text(self, row: GateRow) -> None:
        seen = self._texts.setdefault(fingerprint(row.texts), _Seen(row.number, row.label, {row.split}))
        if seen.number == row.number:
            return
        contradicts = self.may_contradict and seen.label != row.label and seen.label.strip() and row.label.strip()
        if contradicts:
            labels = f"row {seen.number:,} says {quoted(seen.label)}, row {row.number:,} {quoted(row.label)}"
            self.contradiction.add(row.number, labels, twin=seen.number)
        found = self._found_in(row, seen.splits)
        # Within a split a contradiction is no mere repeat; across splits it is a leak as well.
        if not contradicts or found is not self.repeated:
            found.add(row.number, f"row {row.number:,} ({row.split}) repeats row {seen.number:,}", twin=seen.number)
        seen.splits.add(row.split)
        if row.label.strip() and not seen.label.strip():
            seen.number, seen.label = row.number, row.label

    def _found_in(self, row: GateRow, splits: set[str]) -> Found:
        """Where a row counts whose text has passed by in these splits."""
        if splits == {row.split}:
            return self.repeated
        return self.also_in_train if {PLACES[split] for split in splits} == {PLACES[row.split]} else self.overlap


def tally_rows(rows: Iterable[GateRow], *, may_contradict: bool = True) -> Tally:
    """The tally of all rows; the rows are read once."""
    tally = Tally(may_contradict)
    for row in rows:
        tally.add(row)
    return tally
