"""The data gate: what is wrong with labelled rows before anything is trained or scored on them.

Knows rows, labels and splits; no Django, no files. One pass collects (gate_tally.py), then each check reads
(gate_checks.py). A finding blocks the import, warns, or is a note.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from experiments.intake import gate_checks as checks
from experiments.intake.folding import fingerprint
from experiments.intake.gate_checks import ROW_FINDINGS, Finding, Severity
from experiments.intake.gate_tally import FoundRow, GateRow, Tally, tally_rows
from experiments.intake.splits import PLACES, SPLITS, UNLABELLED

__all__ = ["ROW_FINDINGS", "Finding", "FoundRow", "GateReport", "GateRow", "Severity", "gate_check", "gate_leaks"]

_RANK = {"blocks": 0, "warns": 1, "notes": 2}


@dataclass(frozen=True)
class GateReport:
    """All findings, the most severe first, with the counts behind them.

    rows_by_split: names unlabelled rows only where there are some, so that reports with and without them differ by that alone.
    labels: rows by label and split, the most frequent label first; empty for extraction.
    found: every row behind each finding in `ROW_FINDINGS`, by its code; those that repeat the same row stand one after the other.
    """

    num_rows: int
    rows_by_split: dict[str, int]
    labels: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
    found: Mapping[str, Sequence[FoundRow]] = field(default_factory=dict, repr=False)

    @property
    def blocked(self) -> bool:
        """Whether a finding keeps these rows from being used."""
        return any(finding.severity == "blocks" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values, without the found rows: every page of the data loads it."""
        return {
            "num_rows": self.num_rows,
            "rows_by_split": self.rows_by_split,
            "labels": self.labels,
            "findings": [asdict(finding) for finding in self.findings],
            "blocked": self.blocked,
        }


def gate_check(rows: Iterable[GateRow], *, task: Literal["classification", "extraction"] = "classification") -> GateReport:
    """All findings about the rows, which are read once.

    Args:
        task: for extraction the label is a reference text, so the checks of the label set do not apply.
    """
    tally = tally_rows(rows, may_contradict=task == "classification")
    steps = [checks.check_empty, checks.check_splits, checks.check_repeats, checks.check_unlabelled]
    if task == "classification":
        steps += [checks.check_contradictions, checks.check_label_set, checks.check_label_spelling]
        steps += [checks.check_labels_by_split, checks.check_balance]
    findings = [finding for step in steps for finding in step(tally)]
    return GateReport(
        num_rows=tally.num_rows,
        rows_by_split=_rows_by_split(tally),
        labels=_labels_by_size(tally) if task == "classification" else {},
        findings=tuple(sorted(findings, key=lambda finding: _RANK[finding.severity])),
        found=_found_rows(tally, findings),
    )


def gate_leaks(rows: Iterable[GateRow]) -> frozenset[int]:
    """The numbers of train, unlabelled and validation rows to leave out so that no text is learned from and judges too.

    Test rows always stay; a text in train and validation leaves train. A text in train and among the unlabelled rows judges nothing.
    """
    places: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        if any(text.strip() for text in row.texts):
            places[fingerprint(row.texts)].append((row.number, row.split))
    leaks: set[int] = set()
    for where in places.values():
        keep = max(PLACES[split] for _, split in where)
        leaks.update(number for number, split in where if PLACES[split] != keep)
    return frozenset(leaks)


def _found_rows(tally: Tally, findings: Iterable[Finding]) -> dict[str, list[FoundRow]]:
    codes = [finding.code for finding in findings if finding.code in ROW_FINDINGS]
    return {code: sorted(ROW_FINDINGS[code][1](tally).all, key=_beside_twin) for code in codes}


def _beside_twin(row: FoundRow) -> tuple[int, int]:
    return (row.number if row.twin is None else row.twin, row.number)


def _rows_by_split(tally: Tally) -> dict[str, int]:
    named = [*SPLITS, UNLABELLED] if tally.splits[UNLABELLED] else SPLITS
    return {split: tally.splits[split] for split in named}


def _labels_by_size(tally: Tally) -> dict[str, dict[str, int]]:
    ordered = sorted(tally.labels.items(), key=lambda item: (-item[1].total(), item[0]))
    return {label: {split: counts[split] for split in SPLITS} for label, counts in ordered}
