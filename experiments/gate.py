"""The data gate: what is wrong with labelled rows before anything is trained or scored on them.

Knows rows, labels and splits; no Django, no files. One pass collects counts and fingerprints (linear time, a few
hundred bytes a row), then each check reads them. A finding blocks the import, warns, or is a note.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from experiments.folding import fingerprint, folded
from experiments.splits import SPLITS, TEST, TRAIN, VALIDATION
from experiments.wording import counted, listed, quoted, rows_named

Severity = Literal["blocks", "warns", "notes"]
Task = Literal["classification", "extraction"]

ROWS_SHOWN = 10
FEW_ROWS = 100
MANY_LABELS, VERY_MANY_LABELS = 200, 500
LONG_LABEL = 200
LARGE_SHARE, UNEVEN = 0.5, 20


@dataclass(frozen=True)
class GateRow:
    """A mapped row: its number in the file, the texts that prompts may show, its label and its split."""

    number: int
    texts: tuple[str, ...]
    label: str
    split: str


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a code for programs, a sentence for people, how many rows, and the first of them."""

    code: str
    severity: Severity
    count: int
    rows: tuple[int, ...]
    sentence: str


@dataclass(frozen=True)
class GateReport:
    """All findings, the most severe first, with the counts that they were drawn from."""

    num_rows: int
    rows_by_split: dict[str, int]
    labels: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]

    @property
    def blocked(self) -> bool:
        """Whether a finding keeps these rows from being used."""
        return any(finding.severity == "blocks" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values; labels by number of rows, the most frequent first."""
        return {**asdict(self), "blocked": self.blocked}


@dataclass
class _Repeats:
    """What is known about one text while the rows pass by: its first row and label, and the splits it stands in."""

    number: int
    label: str
    splits: set[str]


@dataclass
class _Found:
    """Rows of one kind of finding: how many, and the numbers of the first."""

    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.rows) < ROWS_SHOWN:
            self.rows.append(number)

    @property
    def opening(self) -> str:
        return rows_named(self.rows, total=self.count)


@dataclass
class _Tally:
    """Everything that one pass over the rows collects."""

    num_rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    first_row: dict[str, int] = field(default_factory=dict)
    texts: dict[bytes, _Repeats] = field(default_factory=dict)
    empty_text: _Found = field(default_factory=_Found)
    empty_label: _Found = field(default_factory=_Found)
    spaced_label: _Found = field(default_factory=_Found)
    repeated: _Found = field(default_factory=_Found)
    overlap: _Found = field(default_factory=_Found)
    contradiction: _Found = field(default_factory=_Found)
    example: dict[str, str] = field(default_factory=dict)


def gate_check(rows: Iterable[GateRow], *, task: Task = "classification") -> GateReport:
    """All findings about the rows.

    Args:
        task: for extraction the label is a reference text, so label-set checks do not apply.
    """
    tally = _tally(rows)
    findings = [*_row_findings(tally), *_split_findings(tally)]
    if task == "classification":
        findings += [*_repeat_findings(tally), *_label_findings(tally), *_balance_findings(tally)]
    else:
        findings += [finding for finding in _repeat_findings(tally) if finding.code != "contradicting_labels"]
    rank = {"blocks": 0, "warns": 1, "notes": 2}
    return GateReport(
        num_rows=tally.num_rows,
        rows_by_split={split: tally.splits[split] for split in SPLITS},
        labels=_labels_by_size(tally) if task == "classification" else {},
        findings=tuple(sorted(findings, key=lambda finding: rank[finding.severity])),
    )


def gate_leaks(rows: Iterable[GateRow]) -> frozenset[int]:
    """The numbers of train and validation rows to leave out so that no text stands in two splits.

    Test rows always stay; a text in train and validation leaves train. The rows are read once.
    """
    places: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        places[fingerprint(row.texts)].append((row.number, row.split))
    leaks: set[int] = set()
    for where in places.values():
        keep = max((split for _, split in where), key=SPLITS.index)
        leaks.update(number for number, split in where if split != keep)
    return frozenset(leaks)


def _tally(rows: Iterable[GateRow]) -> _Tally:
    tally = _Tally()
    for row in rows:
        tally.num_rows += 1
        tally.splits[row.split] += 1
        _tally_label(tally, row)
        if not any(text.strip() for text in row.texts):
            tally.empty_text.add(row.number)
        else:
            _tally_text(tally, row)
    return tally


def _tally_label(tally: _Tally, row: GateRow) -> None:
    if not row.label.strip():
        tally.empty_label.add(row.number)
        return
    if row.label != row.label.strip():
        tally.spaced_label.add(row.number)
        tally.example.setdefault("spaced_label", row.label)
    tally.labels[row.label][row.split] += 1
    tally.first_row.setdefault(row.label, row.number)


def _tally_text(tally: _Tally, row: GateRow) -> None:
    key = fingerprint(row.texts)
    seen = tally.texts.get(key)
    if seen is None:
        tally.texts[key] = _Repeats(row.number, row.label, {row.split})
        return
    if seen.label != row.label and seen.label.strip() and row.label.strip():
        tally.contradiction.add(row.number)
        tally.example.setdefault("contradiction", f"row {seen.number:,} says {quoted(seen.label)}, row {row.number:,} {quoted(row.label)}")
    if seen.splits != {row.split}:
        tally.overlap.add(row.number)
        tally.example.setdefault("overlap", f"row {row.number:,} ({row.split}) repeats row {seen.number:,}")
    else:
        tally.repeated.add(row.number)
        tally.example.setdefault("repeated", f"row {row.number:,} repeats row {seen.number:,}")
    seen.splits.add(row.split)


def _row_findings(tally: _Tally) -> Iterator[Finding]:
    if not tally.num_rows:
        yield Finding("no_rows", "blocks", 0, (), "There are no rows. Upload a file with at least one row for each label.")
        return
    if found := tally.empty_text.count:
        yield _finding("empty_text", "blocks", tally.empty_text, f"{tally.empty_text.opening}: the text is empty. "
                       f"Every row needs a text; add it or remove the {'row' if found == 1 else 'rows'}.")  # fmt: skip
    if found := tally.empty_label.count:
        need = f"one of the {len(tally.labels):,} labels" if len(tally.labels) > 1 else "a label"
        yield _finding("empty_label", "blocks", tally.empty_label, f"{tally.empty_label.opening}: the label is empty. "
                       f"Every row needs {need}; add it or remove the {'row' if found == 1 else 'rows'}.")  # fmt: skip


def _repeat_findings(tally: _Tally) -> Iterator[Finding]:
    if count := tally.overlap.count:
        yield _finding("split_overlap", "warns", tally.overlap, f"{counted(count, 'row repeats', 'rows repeat')} a text of another split "
                       f"({tally.example['overlap']}). What was seen in training is no test; leave the repeated rows out of train and validation.")  # fmt: skip
    if count := tally.contradiction.count:
        yield _finding("contradicting_labels", "warns", tally.contradiction, f"{counted(count, 'row repeats', 'rows repeat')} a text with another label "
                       f"({tally.example['contradiction']}). Decide for one label, or no approach can be right on both.")  # fmt: skip
    if count := tally.repeated.count:
        yield _finding("duplicates", "notes", tally.repeated, f"{counted(count, 'row repeats', 'rows repeat')} a text of the same split "
                       f"({tally.example['repeated']}). Repeats count twice in every figure; remove them if that is not meant.")  # fmt: skip


def _split_findings(tally: _Tally) -> Iterator[Finding]:
    if not tally.num_rows:
        return
    lacks = {
        TEST: ("blocks", "the figures of the comparison come from test rows. Map a value to test, or let the rows be divided"),
        VALIDATION: ("blocks", "choices are made on validation rows. Map a value to validation, or let part of train be taken"),
        TRAIN: ("warns", "only written prompts without examples can run. Map a value to train to tune anything"),
    }
    severity: Severity
    for split, (severity, reason) in lacks.items():  # type: ignore[assignment]
        if not tally.splits[split]:
            yield Finding(f"no_{split}_rows", severity, 0, (), f"No row is in {split}: {reason}.")
    for split in (VALIDATION, TEST):
        if 0 < (count := tally.splits[split]) < FEW_ROWS:
            yield Finding(f"few_{split}_rows", "warns", count, (), f"{split.capitalize()} has only {counted(count, 'row')}. "
                          f"Accuracy on {count:,} rows is uncertain by up to {_uncertainty(count)} points; {FEW_ROWS} rows or more are better.")  # fmt: skip


def _label_findings(tally: _Tally) -> Iterator[Finding]:
    count = len(tally.labels)
    if count == 1:
        yield Finding("one_label", "blocks", tally.num_rows, (), f"Every row has the label {quoted(next(iter(tally.labels)))}. "
                      "Telling labels apart needs at least two; check that the right column is mapped.")  # fmt: skip
    if count > MANY_LABELS:
        more = " Check that the right column is mapped." if count > VERY_MANY_LABELS else ""
        yield Finding("many_labels", "warns", count, (), f"There are {count:,} labels. Each row is scored against every label, "
                      f"so runs get slow and small labels get few rows.{more}")  # fmt: skip
    if long := [label for label in tally.labels if len(label) > LONG_LABEL]:
        yield Finding("long_labels", "warns", len(long), tuple(tally.first_row[label] for label in long[:ROWS_SHOWN]),
                      f"{counted(len(long), 'label has', 'labels have')} more than {LONG_LABEL} characters, such as {quoted(long[0])}. "
                      "A label is a short name; check that the right column is mapped.")  # fmt: skip
    if tally.spaced_label.count:
        yield _finding("spaced_labels", "warns", tally.spaced_label, f"{tally.spaced_label.opening}: a space stands before or after the label "
                       f"{quoted(tally.example['spaced_label'])}. Remove it, or it counts as a label of its own.")  # fmt: skip
    yield from _variant_findings(tally)
    yield from _missing_findings(tally)


def _variant_findings(tally: _Tally) -> Iterator[Finding]:
    variants: dict[str, list[str]] = defaultdict(list)
    for label in tally.labels:
        variants[folded(label)].append(label)
    clashes = [names for names in variants.values() if len({name.strip() for name in names}) > 1]
    if not clashes:
        return
    shown = listed([f"{quoted(name)} ({counted(tally.labels[name].total(), 'row')})" for name in clashes[0]])
    rows = tuple(tally.first_row[names[-1]] for names in clashes[:ROWS_SHOWN])
    yield Finding("label_variants", "warns", len(clashes), rows, f"{shown} differ only in case or spaces but count as different labels. "
                  "Write the label in one way." + (f" {counted(len(clashes) - 1, 'more label varies', 'more labels vary')} like this." if len(clashes) > 1 else ""))  # fmt: skip


def _missing_findings(tally: _Tally) -> Iterator[Finding]:
    present = [split for split in SPLITS if tally.splits[split]]
    for split in present:
        missing = [label for label, counts in tally.labels.items() if not counts[split]]
        if not missing:
            continue
        reason = "Nothing can learn them from rows" if split == TRAIN else "They do not enter that split's figures"
        rows = tuple(tally.first_row[label] for label in missing[:ROWS_SHOWN])
        yield Finding(f"labels_missing_from_{split}", "warns", len(missing), rows,
                      f"{counted(len(missing), 'label is', 'labels are')} missing from {split}: {listed(map(quoted, missing))}. {reason}; add rows or divide by label.")  # fmt: skip


def _balance_findings(tally: _Tally) -> Iterator[Finding]:
    sizes = sorted(((counts.total(), label) for label, counts in tally.labels.items()), reverse=True)
    if len(sizes) < 2:
        return
    (largest, label), (smallest, rare) = sizes[0], sizes[-1]
    share = largest / sum(size for size, _ in sizes)
    if share > LARGE_SHARE or largest >= UNEVEN * smallest:
        yield Finding("uneven_labels", "notes", largest, (), f"Labels are uneven: {quoted(label)} has {counted(largest, 'row')} ({share:.0%}), "
                      f"{quoted(rare)} {smallest:,}. Always answering {quoted(label)} is right {share:.0%} of the time; read macro-F1 beside accuracy.")  # fmt: skip


def _labels_by_size(tally: _Tally) -> dict[str, dict[str, int]]:
    ordered = sorted(tally.labels.items(), key=lambda item: (-item[1].total(), item[0]))
    return {label: {split: counts[split] for split in SPLITS} for label, counts in ordered}


def _finding(code: str, severity: Severity, found: _Found, sentence: str) -> Finding:
    return Finding(code, severity, found.count, tuple(found.rows), sentence)


def _uncertainty(num_rows: int) -> str:
    """Half the width of a 95 % interval at 50 % accuracy, in points."""
    return f"±{min(98 / num_rows**0.5, 50):.0f}"
