"""Data pages: list, upload, mapping, versions, rows."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from experiments.access import WRITE_ROLES, get_dataset_for, get_dataset_version_for, get_membership_for, get_workspace_for
from experiments.errors import UserError
from experiments.forms.datasets import DatasetForm, MappingForm, NewDatasetForm, RowFilterForm, UploadForm
from experiments.intake.mapping import ColumnMapping, mapping_guess
from experiments.intake.parsing import ParseReport
from experiments.models import Dataset, DatasetVersion, Queue, Split
from experiments.presence import queue_health
from experiments.reads import datasets as reads
from experiments.reads.finding_rows import finding_page, num_found, row_findings
from experiments.services import datasets
from experiments.services.jobs import job_retry
from experiments.storage import open_stored
from experiments.uploads import upload_refused
from experiments.views.viewer import posted, posted_files, require_here, viewer

GET_POST = ["GET", "HEAD", "POST"]


@require_safe
def dataset_list(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_workspace_for(viewer(request), slug)
    return render(request, "dataset_list.html", {"datasets": reads.datasets_of(workspace)})


@require_http_methods(GET_POST)
def dataset_create(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_membership_for(viewer(request), slug, needs=WRITE_ROLES[Dataset]).workspace
    refused = upload_refused(request) if request.method == "POST" else None
    form = NewDatasetForm(posted(request), posted_files(request))
    if request.method == "POST" and not refused and form.is_valid():
        file, values = form.cleaned_data["file"], form.cleaned_data
        try:
            version = datasets.dataset_start(
                workspace=workspace,
                by=viewer(request),
                name=values["name"],
                attribution=values["attribution"],
                file=file,
                file_name=file.name,
            )
            return _uploaded(request, version)
        except UserError as error:
            form.add_error(None, str(error))
    return _upload_page(request, "dataset_create.html", form, refused, {})


@require_http_methods(GET_POST)
def dataset_version_create(request: HttpRequest, slug: str, dataset_id: UUID) -> HttpResponse:
    dataset = get_dataset_for(viewer(request), dataset_id, write=True)
    require_here(dataset.workspace, slug)
    refused = upload_refused(request) if request.method == "POST" else None
    form = UploadForm(posted(request), posted_files(request))
    if request.method == "POST" and not refused and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            return _uploaded(request, datasets.dataset_upload(dataset=dataset, by=viewer(request), file=file, name=file.name))
        except UserError as error:
            form.add_error(None, str(error))
    return _upload_page(request, "dataset_version_create.html", form, refused, {"dataset": dataset})


@require_safe
def dataset_detail(request: HttpRequest, slug: str, dataset_id: UUID) -> HttpResponse:
    """Data is looked at through a version: the newest complete one, or the draft on its way."""
    dataset = get_dataset_for(viewer(request), dataset_id)
    require_here(dataset.workspace, slug)
    version = reads.newest_version(dataset)
    if version is None:
        return redirect("dataset-version-create", slug, dataset.pk)
    return redirect("dataset-version-detail", slug, version.pk)


@require_http_methods(GET_POST)
def dataset_edit(request: HttpRequest, slug: str, dataset_id: UUID) -> HttpResponse:
    dataset = get_dataset_for(viewer(request), dataset_id, write=True)
    require_here(dataset.workspace, slug)
    said = {"name": dataset.name, "description": dataset.description, "attribution": dataset.attribution}
    form = DatasetForm(posted(request), initial=said)
    if request.method == "POST" and form.is_valid():
        try:
            datasets.dataset_update(dataset=dataset, by=viewer(request), **form.cleaned_data)
            return redirect("dataset-detail", slug, dataset.pk)
        except UserError as error:
            form.add_error(None, str(error))
    return render(request, "dataset_edit.html", {"form": form, "dataset": dataset, "said": said}, status=422 if form.errors else 200)


@require_safe
def dataset_version_detail(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    version = _version(request, slug, version_id)
    stage = reads.stage_of(version)
    if stage == reads.COMPLETE:
        return render(request, "dataset_version_detail.html", _complete_context(request, version))
    context = {"version": version, "stage": stage, "versions": reads.versions_beside(version), "health": queue_health(Queue.IO)}
    if stage == reads.MAPPING:
        context |= {"form": _mapping_form(version), "only_empty_rows": reads.only_empty_rows_block(version.gate_report)}
        context |= {"only_empty_labels": reads.only_empty_labels_block(version.gate_report), **_refused_rows(request, version)}
    return render(request, f"dataset_version_{'waiting' if stage in (reads.READING, reads.STORING) else stage}.html", context)


@require_safe
def dataset_version_progress(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    """The part of the waiting page that is asked for again; it leads on when the job has ended."""
    version = _version(request, slug, version_id)
    stage = reads.stage_of(version)
    if stage not in (reads.READING, reads.STORING):
        return HttpResponseClientRedirect(reverse("dataset-version-detail", args=[slug, version.pk]))
    return render(request, "_dataset_version_progress.html", {"version": version, "stage": stage, "health": queue_health(Queue.IO)})


@require_POST
def dataset_version_map(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    version = _version(request, slug, version_id, write=True)
    form = _mapping_form(version, request)
    if form.is_valid() and form.mapping:
        try:
            datasets.dataset_version_map(version=version, by=viewer(request), mapping=form.mapping)
            return redirect("dataset-version-detail", slug, version.pk)
        except UserError as error:
            form.add_error(None, str(error))
    context = {"version": version, "versions": reads.versions_beside(version), "form": form}
    return render(request, "dataset_version_mapping.html", context, status=422)


@require_POST
def dataset_version_divide(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    """How the rows are divided, for the roles that the columns have at this moment in the form."""
    version = _version(request, slug, version_id, write=True)
    return render(request, "_dataset_version_divide.html", {"form": _mapping_form(version, request)})


@require_POST
def dataset_version_retry(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    version = _version(request, slug, version_id, write=True)
    try:
        if version.job:
            job_retry(job=version.job, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
    return redirect("dataset-version-detail", slug, version.pk)


@require_POST
def dataset_version_discard(request: HttpRequest, slug: str, version_id: UUID) -> HttpResponse:
    version = _version(request, slug, version_id, write=True)
    dataset_id = version.dataset_id
    try:
        is_empty = datasets.dataset_version_discard(version=version, by=viewer(request))
    except UserError as error:
        messages.error(request, str(error))
        return redirect("dataset-version-detail", slug, version_id)
    messages.success(request, "The upload was discarded.")
    return redirect("dataset-list", slug) if is_empty else redirect("dataset-detail", slug, dataset_id)


@require_safe
def dataset_version_download(request: HttpRequest, slug: str, version_id: UUID) -> FileResponse:
    """The file as it was uploaded, byte for byte."""
    version = _version(request, slug, version_id)
    return FileResponse(
        open_stored(version.source_sha256), as_attachment=True, filename=version.source_name, content_type="application/octet-stream"
    )


def _version(request: HttpRequest, slug: str, version_id: UUID, *, write: bool = False) -> DatasetVersion:
    version = get_dataset_version_for(viewer(request), version_id, write=write)
    require_here(version.dataset.workspace, slug)
    return version


def _mapping_form(version: DatasetVersion, request: HttpRequest | None = None) -> MappingForm:
    report = ParseReport.from_json(version.parse_report)
    suggested = ColumnMapping.from_json(version.mapping) if version.mapping else mapping_guess(report)
    return MappingForm(request.POST if request else None, report=report, suggested=suggested)


def _complete_context(request: HttpRequest, version: DatasetVersion) -> dict[str, object]:
    has_unlabelled = bool(version.split_counts.get(Split.UNLABELLED))
    findings = row_findings(version)
    filters = RowFilterForm(request.GET or None, labels=version.labels, findings=findings, has_unlabelled=has_unlabelled)
    chosen = filters.chosen()
    finding = chosen.pop("finding")
    return {
        "version": version,
        "versions": reads.versions_beside(version),
        "report": version.parse_report,
        "bars": reads.label_bars(version.gate_report),
        "filters": filters,
        "row_findings": findings,
        # A found row may stand below one of another split.
        "shows_test": finding or chosen["split"] in ("", "test"),
        "page": _rows_page(request, version, finding, chosen),
        "columns": version.columns,
        "num_openings": version.test_openings.count(),
    }


def _refused_rows(request: HttpRequest, version: DatasetVersion) -> dict[str, object]:
    """The rows of the finding that was asked for, of a draft that the gate has refused."""
    findings, finding = row_findings(version), request.GET.get("finding", "")
    if finding not in findings:
        return {"row_findings": findings}
    return {
        "row_findings": findings,
        "finding": findings[finding],
        "num_found": num_found(version, finding),
        "page": _rows_page(request, version, finding, {}),
        "columns": version.mapping["text_columns"],
    }


def _rows_page(request: HttpRequest, version: DatasetVersion, finding: str, chosen: dict[str, str]) -> reads.RowsPage:
    after, before = _position(request, "after"), _position(request, "before")
    if finding:
        return finding_page(version, finding, **chosen, after=after, before=before)
    return reads.rows_page(version, **chosen, after=after, before=before)


def _position(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 10 else None


def _uploaded(request: HttpRequest, version: DatasetVersion) -> HttpResponse:
    address = reverse("dataset-version-detail", args=[version.dataset.workspace.slug, version.pk])
    return JsonResponse({"location": address}) if _by_script(request) else HttpResponseRedirect(address)


def _upload_page(request: HttpRequest, template: str, form: UploadForm, refused: str | None, context: dict[str, object]) -> HttpResponse:
    """The upload form; the page's script, which shows the progress, gets only the sentence."""
    if refused:
        form.full_clean()
        form.errors.clear()
        form.add_error("file", refused)
    failed = request.method == "POST"
    status = 413 if refused else 422 if failed else 200
    if failed and _by_script(request):
        sentences = [sentence for sentences in form.errors.values() for sentence in sentences]
        return JsonResponse({"error": " ".join(str(sentence) for sentence in sentences)}, status=status)
    return render(request, template, {**context, "form": form, "max_bytes": settings.UPLOAD_MAX_BYTES}, status=status)


def _by_script(request: HttpRequest) -> bool:
    return request.headers.get("X-Requested-With") == "XMLHttpRequest"
