"""Which label an approach takes for which, as a page shows it. Made of a stored table; knows no query."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.reads.table_view import Row

MATRIX_LABELS = 20
MIX_UPS = 12
NO_ANSWER = "no answer"


@dataclass(frozen=True)
class ConfusionView:
    """Which label was taken for which, of one approach: a matrix where it fits on a page, and the most frequent mix-ups.

    Args:
        missed: where there is no matrix, the labels of which the smallest share was found: (label, right, rows).
    """

    row: Row
    labels: tuple[str, ...]
    lines: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]
    mix_ups: tuple[tuple[str, str, int], ...]
    missed: tuple[tuple[str, int, int], ...] = ()

    @property
    def has_none(self) -> bool:
        """Whether some rows got no answer, which the last column of the matrix counts."""
        return any(cells[-1][0] for _, cells in self.lines)


def confusion_view(payload: Mapping[str, Any], approach: str) -> ConfusionView | None:
    """The confusion of an approach (of the best one when it is unknown); None where answers are free text."""
    rows = {row["approach"]: row for row in payload.get("rows", [])}
    row = rows.get(approach) or rows.get(payload.get("best", ""))
    labels = tuple(payload.get("labels", []))
    if row is None or not labels:
        return None
    counts = {(truth, answer): count for truth, answer, count in row["confusion"]}
    wrong = sorted(((count, pair) for pair, count in counts.items() if pair[0] != pair[1]), key=lambda each: -each[0])
    mix_ups = tuple((labels[truth], labels[answer] if answer >= 0 else NO_ANSWER, count) for count, (truth, answer) in wrong[:MIX_UPS])
    if len(labels) > MATRIX_LABELS:
        return ConfusionView(row, labels, (), mix_ups, _missed(counts, labels))
    lines = tuple((label, _cells(counts, at, len(labels))) for at, label in enumerate(labels))
    return ConfusionView(row, labels, lines, mix_ups)


def _missed(counts: Mapping[tuple[int, int], int], labels: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """The labels that are found least often, with the rows of each."""
    totals = Counter[int]()
    for (truth, _), count in counts.items():
        totals[truth] += count
    found = [(labels[truth], counts.get((truth, truth), 0), total) for truth, total in totals.items()]
    found = [(label, right, total) for label, right, total in found if right < total]
    return tuple(sorted(found, key=lambda line: (line[1] / line[2], -line[2]))[:MIX_UPS])


def _cells(counts: Mapping[tuple[int, int], int], truth: int, num_labels: int) -> tuple[tuple[int, str], ...]:
    """Counts of one line with their CSS classes; the last cell counts rows without an answer."""
    numbers = [counts.get((truth, answer), 0) for answer in [*range(num_labels), -1]]
    total = sum(numbers) or 1
    return tuple((number, _shade(number / total, right=at == truth)) for at, number in enumerate(numbers))


def _shade(share: float, *, right: bool) -> str:
    level = 0 if share == 0 else 1 if share < 0.1 else 2 if share < 0.3 else 3 if share < 0.6 else 4
    return f"shade-{level}{' right' if right else ''}"
