"""What the data pages show: lists, the stage of a version, label bars, pages of rows. Reads only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from experiments.intake.gate_checks import LABEL_FINDINGS, ROW_FINDINGS
from experiments.intake.splits import SPLITS
from experiments.models import Dataset, DatasetVersion, Example, JobKind, Workspace
from experiments.wording import counted as counted_noun

PAGE_ROWS = 50
CELL_CHARACTERS = 1_500

READING, STORING, REFUSED, MAPPING, COMPLETE = "reading", "storing", "refused", "mapping", "complete"
HEAVY = ("parse_report", "gate_report", "mapping", "labels")


@dataclass(frozen=True)
class LabelBar:
    """One label's rows: how many in each split, and where each split's part of the bar begins and how long it is (per cent)."""

    label: str
    total: int
    parts: tuple[tuple[str, int, float, float], ...]


@dataclass(frozen=True)
class Cell:
    """A text as the browser gets it: very long ones are cut, and say how much is missing."""

    text: str
    num_missing: int


@dataclass(frozen=True)
class ShownRow:
    """A row with its cells; `twin` is the position of the row above it whose text it repeats."""

    example: Example
    cells: tuple[Cell, ...]
    twin: int | None = None


@dataclass(frozen=True)
class RowsPage:
    """Rows in file order; `after` and `before` are the positions that the next and previous page start from."""

    rows: tuple[ShownRow, ...]
    num_matching: int
    after: int | None
    before: int | None

    @property
    def has_twins(self) -> bool:
        """Whether rows stand below others that they repeat."""
        return any(row.twin is not None for row in self.rows)


def datasets_of(workspace: Workspace) -> "QuerySet[Dataset]":
    """The workspace's data, newest first, with its versions (newest first) and the number of comparisons that use it.

    A learning curve belongs to its comparison and is none itself, as in the list of comparisons.
    """
    versions = DatasetVersion.objects.select_related("job").defer(*HEAVY)
    comparisons = Count("versions__experiments", filter=Q(versions__experiments__curve_of=None), distinct=True)
    counted = workspace.datasets.annotate(num_experiments=comparisons).order_by("-created_at")
    return counted.prefetch_related(Prefetch("versions", versions, to_attr="all_versions"))


def only_empty_rows_block(gate_report: Mapping[str, Any]) -> bool:
    """Whether rows without a text or a label are all that stands in the way: leaving them out lets the rest be stored."""
    blocking = _blocking(gate_report)
    return bool(blocking) and blocking <= {"empty_text", "empty_label"}


def only_empty_labels_block(gate_report: Mapping[str, Any]) -> bool:
    """Whether rows without a label are all that stands in the way: keeping them as unlabelled rows lets everything be stored."""
    return _blocking(gate_report) == {"empty_label"}


def _blocking(gate_report: Mapping[str, Any]) -> set[str]:
    return {finding["code"] for finding in gate_report.get("findings", []) if finding["severity"] == "blocks"}


def findings_line(gate_report: Mapping[str, Any]) -> str:
    """What the checks found, in one line with counts: "Same text, other label: 12 rows. Labels missing from test: 1". Empty: nothing."""
    counts = {finding["code"]: finding["count"] for finding in gate_report.get("findings", [])}
    rows = [f"{name}: {counted_noun(counts[code], 'row')}" for code, (name, _) in ROW_FINDINGS.items() if code in counts]
    labels = [f"{name}: {counts[code]:,}" for code, name in LABEL_FINDINGS.items() if code in counts]
    return ". ".join([*rows, *labels])


def newest_version(dataset: Dataset) -> DatasetVersion | None:
    """The newest complete version, or the newest draft when there is none."""
    versions = dataset.versions.defer(*HEAVY)
    return versions.complete().first() or versions.first()


def versions_beside(version: DatasetVersion) -> "QuerySet[DatasetVersion]":
    """All versions of the same dataset, newest first, without what only their own pages need."""
    return DatasetVersion.objects.filter(dataset=version.dataset_id).select_related("job").defer(*HEAVY)


def stage_of(version: DatasetVersion) -> str:
    """Where a version stands on its way from an upload to stored rows."""
    if version.completed_at:
        return COMPLETE
    if version.job and not version.job.has_ended:
        return READING if version.job.kind == JobKind.PARSE else STORING
    return REFUSED if version.has_failed else MAPPING


def label_bars(gate_report: Mapping[str, Any]) -> tuple[LabelBar, ...]:
    """A bar for each label, as long as its rows are compared with the largest label's."""
    labels = gate_report.get("labels", {})
    largest = max((sum(counts.values()) for counts in labels.values()), default=0)
    return tuple(LabelBar(label, sum(counts.values()), tuple(_parts(counts, largest))) for label, counts in labels.items())


def rows_page(
    version: DatasetVersion, *, split: str = "", label: str = "", query: str = "", after: int | None = None, before: int | None = None
) -> RowsPage:
    """One page of the rows that match; `query` is looked for in every text column, whatever its case."""
    matching = rows_matching(version, split=split, label=label, query=query)
    if before is not None:
        rows = list(reversed(matching.filter(position__lt=before).order_by("-position")[: PAGE_ROWS + 1]))
        has_before, has_after = len(rows) > PAGE_ROWS, True
        rows = rows[-PAGE_ROWS:]
    else:
        rows = list(matching.filter(position__gt=after or 0).order_by("position")[: PAGE_ROWS + 1])
        has_before, has_after = bool(after), len(rows) > PAGE_ROWS
        rows = rows[:PAGE_ROWS]
    return RowsPage(
        rows=tuple(shown_row(row, version.columns) for row in rows),
        # What fits on one page is counted already: a search for a rare text goes through all rows once, not twice.
        num_matching=matching.count() if has_before or has_after else len(rows),
        after=rows[-1].position if rows and has_after else None,
        before=rows[0].position if rows and has_before else None,
    )


def shown_row(row: Example, columns: Sequence[str], *, twin: int | None = None) -> ShownRow:
    """A row as the browser gets it."""
    return ShownRow(row, tuple(_cell(row.fields.get(column, "")) for column in columns), twin)


def rows_matching(version: DatasetVersion, *, split: str = "", label: str = "", query: str = "") -> "QuerySet[Example]":
    """The rows of a version that match, in file order."""
    matching = version.examples.order_by("position")
    if split:
        matching = matching.filter(split=split)
    if label:
        matching = matching.filter(label=label)
    return _searched(matching, version.columns, query) if query else matching


def _searched(rows: "QuerySet[Example]", columns: Sequence[str], query: str) -> "QuerySet[Example]":
    """Conditions on the row itself, and no list of matching rows: whoever asks about few rows has the texts of those read alone."""
    found = Q()
    for number, column in enumerate(columns):
        rows = rows.alias(**{f"text_{number}": KeyTextTransform(column, "fields")})
        found |= Q(**{f"text_{number}__icontains": query})
    return rows.filter(found)


def _parts(counts: Mapping[str, int], largest: int) -> Iterator[tuple[str, int, float, float]]:
    start = 0.0
    for split in SPLITS:
        length = 100 * counts.get(split, 0) / largest
        yield split, counts.get(split, 0), round(start, 3), round(length, 3)
        start += length


def _cell(text: str) -> Cell:
    return Cell(text[:CELL_CHARACTERS], max(len(text) - CELL_CHARACTERS, 0))
