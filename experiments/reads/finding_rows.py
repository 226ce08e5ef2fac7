"""The rows behind a finding of the data gate, each below the row whose text it repeats. Reads only.

Whoever stores a version keeps them in their order, so that the database cuts a page without reading the others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.db.models import Exists, OuterRef, QuerySet

from experiments.intake.gate import ROW_FINDINGS
from experiments.models import DatasetVersion, Example, RowFinding
from experiments.reads.datasets import RowsPage, ShownRow, rows_matching, shown_row

PAGE_FOUND = 25  # each may stand below another row


def row_findings(version: DatasetVersion) -> dict[str, str]:
    """The findings of a version whose rows can be shown: their codes, and how a filter calls them."""
    codes = [finding["code"] for finding in version.gate_report.get("findings", []) if finding["code"] in ROW_FINDINGS]
    # Those of a version are kept together. One that was stored before they were kept has none.
    return {code: ROW_FINDINGS[code][0] for code in codes} if codes and version.row_findings.exists() else {}


def num_found(version: DatasetVersion, finding: str) -> int:
    """How many rows the gate found; of a refused draft only the first can be shown."""
    return sum(each["count"] for each in version.gate_report["findings"] if each["code"] == finding)


def finding_page(
    version: DatasetVersion,
    finding: str,
    *,
    split: str = "",
    label: str = "",
    query: str = "",
    after: int | None = None,
    before: int | None = None,
) -> RowsPage:
    """One page of the rows that a finding is about; of two rows with one text, one must match the filters.

    Args:
        after, before: how many rows of the finding stand before the page, or before the one that follows it.
    """
    found = version.row_findings.filter(code=finding).order_by("place")
    if split or label or query:
        found = _either_among(found, rows_matching(version, split=split, label=label, query=query))
    chosen, has_before, has_after = _cut(found, after, before)
    rows = {row.position: row for row in version.examples.filter(position__in=_positions(chosen))}
    return RowsPage(
        rows=tuple(_shown(chosen, rows, version.columns or version.mapping["text_columns"])),
        num_matching=found.count() if has_before or has_after else len(chosen),
        after=chosen[-1].place + 1 if chosen and has_after else None,
        before=chosen[0].place if chosen and has_before else None,
    )


def _either_among(found: "QuerySet[RowFinding]", rows: "QuerySet[Example]") -> "QuerySet[RowFinding]":
    return found.filter(Exists(rows.filter(position__in=[OuterRef("position"), OuterRef("twin")])))


def _cut(found: "QuerySet[RowFinding]", after: int | None, before: int | None) -> tuple[list[RowFinding], bool, bool]:
    """The found rows of a page, and whether others stand before and after them."""
    if before is not None:
        chosen = list(found.filter(place__lt=before).reverse()[: PAGE_FOUND + 1])
        return list(reversed(chosen[:PAGE_FOUND])), len(chosen) > PAGE_FOUND, True
    chosen = list(found.filter(place__gte=after or 0)[: PAGE_FOUND + 1])
    return chosen[:PAGE_FOUND], bool(after), len(chosen) > PAGE_FOUND


def _positions(found: Iterable[RowFinding]) -> set[int]:
    return {position for row in found for position in (row.position, row.twin) if position is not None}


def _shown(found: Iterable[RowFinding], rows: Mapping[int, Example], columns: Sequence[str]) -> Iterator[ShownRow]:
    """The found rows, with the row that some of them repeat once above them."""
    above = None
    for row in found:
        if row.twin is not None and row.twin != above:
            yield shown_row(rows[row.twin], columns)
        above = row.twin
        yield shown_row(rows[row.position], columns, twin=row.twin)
