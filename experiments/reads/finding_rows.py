"""The rows behind a finding of the data gate, each below the row whose text it repeats. Reads only.

The gate's report names the first rows of a finding; all of them are found again here by the same pass over the same rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.cache import cache

from experiments.intake.gate import ROW_FINDINGS, FoundRow, GateRow, gate_rows
from experiments.intake.mapping import ColumnMapping
from experiments.models import DatasetVersion, Example
from experiments.reads.datasets import RowsPage, ShownRow, rows_matching, shown_row
from experiments.services.datasets import rows_checked

PAGE_FOUND = 25  # each may stand below another row


def row_findings(gate_report: Mapping[str, Any]) -> dict[str, str]:
    """The findings of a report whose rows can be shown: their codes, and how a filter calls them."""
    codes = [finding["code"] for finding in gate_report.get("findings", [])]
    return {code: ROW_FINDINGS[code][0] for code in codes if code in ROW_FINDINGS}


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
        after, before: how many found rows stand before the page, or before the one that follows it.
    """
    found = _found_rows(version, finding)
    if split or label or query:
        matching = set(rows_matching(version, split=split, label=label, query=query).values_list("position", flat=True))
        found = [row for row in found if matching & {row.number, row.twin}]
    start, chosen = _cut(found, after, before)
    rows = {row.position: row for row in version.examples.filter(position__in=_numbers(chosen))}
    return _page(found, start, _shown(chosen, rows, version.columns))


def draft_finding_page(version: DatasetVersion, finding: str, *, after: int | None = None, before: int | None = None) -> RowsPage:
    """The same for a draft that the gate has refused: its rows are still in the file that was read."""
    mapping = ColumnMapping.from_json(version.mapping)
    checked, _ = rows_checked(version, mapping)
    found = gate_rows(GateRow(row.number, row.texts, row.label, row.split) for row in checked)[finding]
    start, chosen = _cut(found, after, before)
    wanted = _numbers(chosen)
    rows = {
        row.number: Example(position=row.number, split=row.split, fields=row.fields, label=row.label)
        for row in checked
        if row.number in wanted
    }
    return _page(found, start, _shown(chosen, rows, mapping.text_columns))


def _found_rows(version: DatasetVersion, finding: str) -> list[FoundRow]:
    """A complete version never changes, so what was found in it once can be kept."""
    found: list[FoundRow] | None = cache.get(_key(version, finding))
    if found is None:
        rows = gate_rows(_stored_rows(version))
        cache.set_many({_key(version, code): rows[code] for code in row_findings(version.gate_report)})
        found = rows[finding]
    return found


def _key(version: DatasetVersion, finding: str) -> str:
    return f"finding-rows-{version.pk}-{finding}"


def _stored_rows(version: DatasetVersion) -> Iterator[GateRow]:
    rows = version.examples.order_by("position").values_list("position", "fields", "label", "split")
    for position, fields, label, split in rows.iterator(chunk_size=2_000):
        yield GateRow(position, tuple(fields.get(column, "") for column in version.columns), label, split)


def _cut(found: Sequence[FoundRow], after: int | None, before: int | None) -> tuple[int, Sequence[FoundRow]]:
    start = max(before - PAGE_FOUND, 0) if before is not None else after or 0
    return start, found[start : start + PAGE_FOUND]


def _numbers(found: Iterable[FoundRow]) -> set[int]:
    return {number for row in found for number in row if number is not None}


def _shown(found: Iterable[FoundRow], rows: Mapping[int, Example], columns: Sequence[str]) -> Iterator[ShownRow]:
    """The found rows, with the row that some of them repeat once above them."""
    above = None
    for row in found:
        if row.twin is not None and row.twin != above:
            yield shown_row(rows[row.twin], columns)
        above = row.twin
        yield shown_row(rows[row.number], columns, twin=row.twin)


def _page(found: Sequence[FoundRow], start: int, rows: Iterable[ShownRow]) -> RowsPage:
    after = start + PAGE_FOUND
    return RowsPage(rows=tuple(rows), num_matching=len(found), after=after if after < len(found) else None, before=start or None)
