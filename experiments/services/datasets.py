"""What can happen to data: made, uploaded, read, mapped, stored, described, thrown away.

A version is a draft until `completed_at` is set, in the transaction that makes everything else about it true.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Max, Model
from django.utils import timezone

from experiments.errors import UserError
from experiments.intake.gate import Finding, FoundRow, GateReport, GateRow, gate_check, gate_leaks
from experiments.intake.mapping import ColumnMapping, MappedRow, mapping_check, rows_map
from experiments.intake.parsing import ParseReport, file_parse, rows_read
from experiments.intake.splits import TRAIN, UNLABELLED, VALIDATION
from experiments.models import Dataset, DatasetVersion, Example, Job, JobKind, Queue, RowFinding, User, Workspace
from experiments.services.audit import audit_record
from experiments.services.job_queue import job_create
from experiments.services.jobs import job_cancel
from experiments.services.removals import files_forget
from experiments.storage import copy_stored, store_file
from experiments.wording import counted, quoted

BATCH_ROWS = 2_000
REFUSED_ROWS = 1_000  # of each finding of a refused draft: more than anybody reads before correcting the file
Row = TypeVar("Row", bound=Model)
Hold = Callable[[], object]  # raises when whoever works has lost the job; called inside each writing transaction


def dataset_create(*, workspace: Workspace, by: User | None, name: str, description: str = "", attribution: str = "") -> Dataset:
    """A dataset without any version yet.

    Raises:
        UserError: the name is empty, too long or taken.
    """
    with transaction.atomic():
        dataset = Dataset(workspace=workspace, created_by=by)
        _describe(dataset, name=name, description=description, attribution=attribution)
        audit_record(by=by, verb="created", target=dataset, workspace=workspace)
    return dataset


def dataset_start(*, workspace: Workspace, by: User | None, name: str, attribution: str, file: BinaryIO, file_name: str) -> DatasetVersion:
    """A dataset and its first upload together, or neither.

    Raises:
        UserError: the name cannot be used, or the file is empty.
    """
    with transaction.atomic():
        dataset = dataset_create(workspace=workspace, by=by, name=name, attribution=attribution)
        return dataset_upload(dataset=dataset, by=by, file=file, name=file_name)


def dataset_update(*, dataset: Dataset, by: User | None, name: str, description: str, attribution: str) -> None:
    """Change what is said about the data. Reports that exist keep what they were made with.

    Raises:
        UserError: the name is empty, too long or taken.
    """
    with transaction.atomic():
        _describe(dataset, name=name, description=description, attribution=attribution)
        audit_record(by=by, verb="described", target=dataset, workspace=dataset.workspace)


def dataset_upload(*, dataset: Dataset, by: User | None, file: BinaryIO, name: str) -> DatasetVersion:
    """Keep an uploaded file as a new draft version, and queue the job that reads it.

    Args:
        file: seekable; its bytes are kept under their SHA-256, so the same file is kept once.
        name: the file's name as the person knows it; its ending says what it holds.
    Raises:
        UserError: the file is empty.
    """
    sha256, size = store_file(file)
    if not size:
        raise UserError("The file is empty. Choose a file with a header and at least one row for each label.")
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        newest = dataset.versions.aggregate(newest=Max("number"))["newest"] or 0
        version = DatasetVersion.objects.create(
            dataset=dataset,
            number=newest + 1,
            created_by=by,
            source_name=_clean_name(name),
            source_sha256=sha256,
            source_bytes=size,
        )
        _queue(version, JobKind.PARSE, by)
        audit_record(by=by, verb="uploaded", target=version, workspace=dataset.workspace, detail={"bytes": size, "sha256": sha256})
    return version


def dataset_version_read(*, version: DatasetVersion, hold: Hold) -> None:
    """Read the uploaded file and keep its rows and the report (the work of a PARSE job).

    Args:
        hold: proves that the caller still has the job; what it raises leaves nothing written.
    Raises:
        UserError: the file as a whole cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="promptlab-parse-") as folder:
        source, rows = Path(folder, "source"), Path(folder, "rows.jsonl")
        copy_stored(version.source_sha256, source)
        report = file_parse(source=source, destination=rows, name=version.source_name)
        parsed_sha256 = _store_path(rows) if report.usable else ""
    problem = "" if report.usable else _first_sentence(report)
    with transaction.atomic():
        hold()
        drafts = DatasetVersion.objects.filter(pk=version.pk, completed_at=None)
        drafts.update(parse_report=report.to_json(), parsed_sha256=parsed_sha256, problem=problem)
    if problem:
        raise UserError(problem)


def dataset_version_map(*, version: DatasetVersion, by: User | None, mapping: ColumnMapping) -> Job:
    """Say what the columns mean, and queue the job that checks and stores the rows. Saying the same again gives the same job.

    Raises:
        BadMapping: the mapping does not fit the file.
        UserError: the version is complete, not read yet, or being stored with another mapping.
    """
    with transaction.atomic():
        draft = DatasetVersion.objects.select_for_update(of=("self",)).select_related("job", "dataset__workspace").get(pk=version.pk)
        report = _report_for_mapping(draft)
        mapping_check(mapping, report)
        if draft.job and not draft.job.has_ended:
            if draft.mapping == mapping.to_json():
                return draft.job
            raise UserError("The rows are being stored with other settings. Wait until that has ended, then change them.")
        draft.mapping, draft.task, draft.problem, draft.gate_report = mapping.to_json(), mapping.task, "", {}
        draft.row_findings.all().delete()
        job = _queue(draft, JobKind.IMPORT, by)
        audit_record(by=by, verb="mapped", target=draft, workspace=draft.dataset.workspace)
    version.refresh_from_db()
    return job


def dataset_version_store(*, version: DatasetVersion, hold: Hold) -> None:
    """Check the mapped rows and store them (the work of an IMPORT job). Running it twice stores them once.

    Args:
        hold: proves that the caller still has the job; what it raises leaves nothing of that step written.
    Raises:
        UserError: the gate blocks the rows; its report is kept so that the person sees everything at once.
    """
    if version.completed_at:
        return
    mapping = ColumnMapping.from_json(version.mapping)
    rows, left_out = _rows_kept(_rows_mapped(version, mapping), mapping)
    report = gate_check(_gate_rows(rows), task=mapping.task)
    report = replace(report, findings=(*report.findings, *left_out))
    if report.blocked:
        _refuse(version, rows, report, hold)
    _store_rows(version, rows, report.found, hold)
    _complete(version, mapping, rows, report, hold)


def dataset_version_discard(*, version: DatasetVersion, by: User | None) -> bool:
    """Throw a draft and its file away, with its dataset when nothing else is in it. Returns whether the dataset went too.

    Raises:
        UserError: the version is complete: comparisons may rest on it.
    """
    if version.completed_at:
        raise UserError("This version is complete, and comparisons may rest on it, so it stays. Upload a new version to change the data.")
    with transaction.atomic():
        if version.job and not version.job.has_ended:
            job_cancel(job=version.job, by=by)
        audit_record(by=by, verb="discarded", target=version, workspace=version.dataset.workspace)
        files = {sha256 for sha256 in (version.source_sha256, version.parsed_sha256) if sha256}
        version.delete()
        transaction.on_commit(lambda: files_forget(files))
        is_empty = not version.dataset.versions.exists()
        if is_empty:
            version.dataset.delete()
    return is_empty


def _describe(dataset: Dataset, *, name: str, description: str, attribution: str) -> None:
    dataset.name, dataset.description, dataset.attribution = " ".join(name.split()), description.strip(), attribution.strip()
    if not 0 < len(dataset.name) <= 120:
        raise UserError("The data needs a name of 1 to 120 characters.")
    try:
        with transaction.atomic():
            dataset.save()
    except IntegrityError as error:
        raise UserError(f"This workspace has data named {quoted(dataset.name)} already. Choose another name.") from error


def _queue(version: DatasetVersion, kind: JobKind, by: User | None) -> Job:
    workspace = version.dataset.workspace
    version.job = job_create(workspace=workspace, kind=kind, queue=Queue.IO, payload={"dataset_version": str(version.pk)}, by=by)
    version.save()
    return version.job


def _report_for_mapping(version: DatasetVersion) -> ParseReport:
    if version.completed_at:
        raise UserError("This version is complete and cannot change. Upload a new version instead.")
    if not version.parsed_sha256:
        raise UserError("The file has not been read yet, or could not be read. Wait for it, or upload another file.")
    return ParseReport.from_json(version.parse_report)


def _rows_mapped(version: DatasetVersion, mapping: ColumnMapping) -> list[MappedRow]:
    report = ParseReport.from_json(version.parse_report)
    with tempfile.TemporaryDirectory(prefix="promptlab-import-") as folder:
        path = Path(folder, "rows.jsonl")
        copy_stored(version.parsed_sha256, path)
        return rows_map(rows_read(path, report), report, mapping)


def _rows_kept(rows: list[MappedRow], mapping: ColumnMapping) -> tuple[list[MappedRow], list[Finding]]:
    """The rows without those that the person wants left out, and a note for each kind."""
    notes = []
    if mapping.leave_out_empty:
        full = [row for row in rows if (row.label.strip() or row.split == UNLABELLED) and any(text.strip() for text in row.texts)]
        if len(full) < len(rows):
            gone = counted(len(rows) - len(full), "row was", "rows were")
            notes.append(Finding("left_out_empty", "notes", f"{gone} left out: without a text or a label.", len(rows) - len(full)))
        rows = full
    if mapping.leave_out_leaks and (leaks := gate_leaks(_gate_rows(rows))):
        gone = counted(len(leaks), "row was", "rows were")
        seen = {row.split for row in rows if row.number in leaks}
        places = "train, validation and the unlabelled rows" if UNLABELLED in seen else f"{TRAIN} and {VALIDATION}"
        sentence = f"{gone} left out of {places}: their text stands in a later split too, which would make the comparison too easy."
        notes.append(Finding("left_out_leaks", "notes", sentence, len(leaks)))
        rows = [row for row in rows if row.number not in leaks]
    return rows, notes


def _gate_rows(rows: Iterable[MappedRow]) -> Iterable[GateRow]:
    return (GateRow(row.number, row.texts, row.label, row.split) for row in rows)


def _refuse(version: DatasetVersion, rows: Iterable[MappedRow], report: GateReport, hold: Hold) -> NoReturn:
    """Keep the report with the first rows of each of its findings, so that the person sees what to correct, and end the job."""
    found = {code: rows_found[:REFUSED_ROWS] for code, rows_found in report.found.items()}
    shown = {number for rows_found in found.values() for row in rows_found for number in row}
    _store_rows(version, [row for row in rows if row.number in shown], found, hold)
    problem = _blocking_sentence(report)
    with transaction.atomic():
        hold()
        DatasetVersion.objects.filter(pk=version.pk, completed_at=None).update(gate_report=report.to_json(), problem=problem)
    raise UserError(problem)


def _store_rows(version: DatasetVersion, rows: Iterable[MappedRow], found: Mapping[str, Sequence[FoundRow]], hold: Hold) -> None:
    """Write rows and what was found in them, in place of what an earlier try left; nobody sees them before the job has ended."""
    with transaction.atomic():
        hold()
        version.row_findings.all().delete()
        version.examples.all().delete()
    examples = (Example(version=version, position=row.number, split=row.split, fields=row.fields, label=row.label) for row in rows)
    _write(Example, examples, hold)
    # After the rows that they are about: a page that shows a found row finds its text.
    _write(RowFinding, _row_findings(version, found), hold)


def _row_findings(version: DatasetVersion, found: Mapping[str, Sequence[FoundRow]]) -> Iterator[RowFinding]:
    for code, rows in found.items():
        for place, row in enumerate(rows):
            yield RowFinding(version=version, code=code, place=place, position=row.number, twin=row.twin)


def _write(model: type[Row], rows: Iterable[Row], hold: Hold) -> None:
    """Write the rows in short transactions, between which others write."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH_ROWS)):
        with transaction.atomic():
            hold()
            model._default_manager.bulk_create(batch)


def _complete(version: DatasetVersion, mapping: ColumnMapping, rows: Sequence[MappedRow], report: GateReport, hold: Hold) -> None:
    with transaction.atomic():
        hold()
        draft = DatasetVersion.objects.select_for_update(of=("self",)).select_related("dataset__workspace").get(pk=version.pk)
        if draft.completed_at:
            return
        draft.columns = list(mapping.text_columns)
        draft.labels = list(dict.fromkeys(row.label for row in rows if row.split != UNLABELLED)) if mapping.task == "classification" else []
        draft.split_counts, draft.gate_report = report.rows_by_split, report.to_json()
        draft.content_sha256 = content_sha256(rows)
        draft.completed_at, draft.problem = timezone.now(), ""
        draft.save()
        audit_record(by=draft.created_by, verb="completed", target=draft, workspace=draft.dataset.workspace, detail={"rows": len(rows)})
    version.refresh_from_db()


def content_sha256(rows: Iterable[MappedRow]) -> str:
    """The hash of what is stored: row number, split, label and fields of every row, in order."""
    digest = hashlib.sha256()
    for row in rows:
        line = json.dumps([row.number, row.split, row.label, row.fields], ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _store_path(path: Path) -> str:
    with path.open("rb") as file:
        return store_file(file)[0]


def _first_sentence(report: ParseReport) -> str:
    whole = [problem.sentence for problem in report.problems if problem.row is None]
    return (whole or ["The file holds no rows. Add a header and at least one row for each label."])[0]


def _blocking_sentence(report: GateReport) -> str:
    sentences = [finding.sentence for finding in report.findings if finding.severity == "blocks"]
    more = f" ({counted(len(sentences) - 1, 'more problem')} below.)" if len(sentences) > 1 else ""
    return sentences[0] + more


def _clean_name(name: str) -> str:
    """The last part of a file's name without control characters; it is shown, never used as a path."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in last if character.isprintable())[-255:] or "upload"
