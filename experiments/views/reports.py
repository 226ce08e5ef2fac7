"""Reports for members: made with a preview, read, exported, and shared by link."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.access import get_report_for, get_share_for
from experiments.errors import UserError
from experiments.forms.reports import ReportForm, ShareForm
from experiments.models import Experiment, Report
from experiments.reads.charts import break_even_chart, quality_chart, spent_chart
from experiments.reads.inks import placed
from experiments.reads.key_figures import key_figures
from experiments.reads.learning_view import learning_view
from experiments.reads.report_files import report_csv, report_json
from experiments.reads.snapshots import snapshot_build
from experiments.reads.table_view import table_view
from experiments.services import reports as services
from experiments.views.comparisons import experiment_at
from experiments.views.viewer import posted, require_here, viewer


def report_at(request: HttpRequest, slug: str, report_id: UUID, *, write: bool = False) -> Report:
    report = get_report_for(viewer(request), report_id, write=write)
    require_here(report.workspace, slug)
    return report


def body_of(payload: dict[str, Any]) -> dict[str, Any]:
    """What the body of a report needs, made of its snapshot alone."""
    payload = placed(payload)
    charts = [chart for chart in (quality_chart(payload), break_even_chart(payload), spent_chart(payload)) if chart]
    return {
        "report": payload,
        "figures": key_figures(payload),
        "table": table_view(payload),
        "charts": charts,
        "learning": learning_view(payload.get("learning") or {}),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def report_create(request: HttpRequest, slug: str, experiment_id: UUID) -> HttpResponse:
    """The form beside exactly what visitors will see. The preview button, or a change of the form, shows another and stores nothing."""
    experiment = experiment_at(request, slug, experiment_id, write=True)
    try:
        table = services.report_table(experiment, request.GET.get("split", ""))
    except UserError as error:
        messages.error(request, str(error))
        return redirect("comparison-detail", slug, experiment.pk)
    splits = sorted(experiment.tables.values_list("split", flat=True))
    form = ReportForm(posted(request), splits=splits, initial={"title": experiment.name, "split": table.split})
    if request.method == "POST" and "preview" not in request.POST and form.is_valid():
        made = services.report_create(experiment=experiment, by=viewer(request), **form.cleaned_data)
        return redirect("report-detail", slug, made.pk)
    chosen = _chosen(form, experiment, table.split)
    table = services.report_table(experiment, chosen.pop("split"))
    preview = snapshot_build(experiment, table.payload, now=timezone.now(), **chosen)
    context = {"experiment": experiment, "form": form, **body_of(preview)}
    return render(request, "_report_preview.html" if "HX-Request" in request.headers else "report_create.html", context)


def _chosen(form: ReportForm, experiment: Experiment, split: str) -> dict[str, Any]:
    """What the form asks for; where it is new or wrong, a report without prompts and rows."""
    plain = {"title": experiment.name, "split": split, "includes_prompts": False, "includes_examples": False}
    return plain | form.cleaned_data if form.is_bound and (form.is_valid() or form.cleaned_data) else plain


@require_safe
def report_detail(request: HttpRequest, slug: str, report_id: UUID) -> HttpResponse:
    report = report_at(request, slug, report_id)
    return render(request, "report_detail.html", _page(report, ShareForm()))


def _page(report: Report, form: ShareForm) -> dict[str, Any]:
    shares = report.shares.select_related("created_by")
    context = {"noun": report, "shares": shares, "form": form, "now": timezone.now(), "links_open": services.shares_enabled()}
    return context | body_of(report.payload)


@require_safe
def report_csv_file(request: HttpRequest, slug: str, report_id: UUID) -> StreamingHttpResponse:
    report = report_at(request, slug, report_id)
    return csv_response(report.payload, _file_name(report, "csv"))


@require_safe
def report_json_file(request: HttpRequest, slug: str, report_id: UUID) -> HttpResponse:
    report = report_at(request, slug, report_id)
    headers = {"Content-Disposition": f'attachment; filename="{_file_name(report, "json")}"'}
    return HttpResponse(report_json(report.payload), content_type="application/json", headers=headers)


def csv_response(payload: dict[str, Any], name: str) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(report_csv(payload), content_type="text/csv; charset=utf-8", headers=headers)


def _file_name(report: Report, extension: str) -> str:
    return f"{slugify(report.title)[:60] or 'report'}.{extension}"


@require_POST
def share_create(request: HttpRequest, slug: str, report_id: UUID) -> HttpResponse:
    """Make a link and show it, this once; loading the page again shows the list without it."""
    report = report_at(request, slug, report_id, write=True)
    form = ShareForm(request.POST)
    if not form.is_valid():
        return render(request, "report_detail.html", _page(report, form), status=400)
    try:
        share, token = services.share_create(report=report, by=viewer(request), **form.cleaned_data)
    except UserError as error:
        form.add_error(None, str(error))
        return render(request, "report_detail.html", _page(report, form), status=400)
    address = request.build_absolute_uri(f"/s/{token}/")
    return render(request, "report_detail.html", {**_page(report, ShareForm()), "address": address, "new_share": share})


@require_POST
def share_revoke(request: HttpRequest, slug: str, share_id: UUID) -> HttpResponse:
    share = get_share_for(viewer(request), share_id, write=True)
    require_here(share.report.workspace, slug)
    services.share_revoke(share=share, by=viewer(request))
    messages.success(request, "The link is revoked. It opens nothing from now on.")
    return redirect("report-detail", slug, share.report_id)
