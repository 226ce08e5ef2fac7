"""Reports over the API: freeze a comparison, read it, share it by link, end the link."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import reverse
from ninja import Field, Router, Schema
from ninja.pagination import paginate

from experiments.api.access import get_for, rows_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import Page, ScoredSplit, Title
from experiments.models import Experiment, Report, Share
from experiments.reads.report_files import report_csv, report_json
from experiments.services import reports as services

router = Router(tags=["Reports"])


class ReportIn(Schema):
    title: Title = Field("", description="The comparison's name unless told.")
    split: ScoredSplit | None = Field(None, description="The test rows once they are open unless told, else the validation rows.")
    includes_prompts: bool = False
    includes_examples: bool = False


class ReportOut(Schema):
    id: UUID
    experiment: UUID = Field(alias="experiment_id")
    title: str
    includes_prompts: bool
    includes_examples: bool
    sha256: str = Field(alias="payload_sha256", description="Of the frozen content.")
    created_at: datetime


class ShareIn(Schema):
    days: int = Field(services.DEFAULT_DAYS, ge=1, le=services.MAX_DAYS)
    name: str = Field("", max_length=services.MAX_NAME, description="For whom the link is; shown in the list of links.")


class ShareOut(Schema):
    id: UUID
    report: UUID = Field(alias="report_id")
    name: str
    ending: str = Field(description="The last characters of the link.")
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    num_opened: int


class NewShareOut(ShareOut):
    url: str = Field(description="The link, which is shown in this answer only.")


@router.get("/reports", response=list[ReportOut], summary="List reports")
@paginate(Page)
def report_list(request: KeyRequest) -> "QuerySet[Report]":
    return rows_for(request.auth, Report).defer("payload").order_by("-created_at", "id")


@router.post("/experiments/{uuid:experiment_id}/reports", response={201: ReportOut}, summary="Freeze a comparison as a report")
def report_create(request: KeyRequest, experiment_id: UUID, payload: ReportIn) -> Report:
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    wanted = payload.model_dump() | {"split": payload.split or ""}
    return services.report_create(experiment=experiment, by=request.auth.created_by, **wanted)


@router.get("/reports/{uuid:report_id}", response=ReportOut, summary="What a report is")
def report_detail(request: KeyRequest, report_id: UUID) -> Report:
    return get_for(request.auth, Report, report_id)


@router.get("/reports/{uuid:report_id}/report.json", response=dict[str, Any], summary="The frozen content")
def report_json_file(request: KeyRequest, report_id: UUID) -> HttpResponse:
    return HttpResponse(report_json(get_for(request.auth, Report, report_id).payload), content_type="application/json; charset=utf-8")


@router.get("/reports/{uuid:report_id}/table.csv", response=str, summary="The table as CSV, safe to open in a spreadsheet")
def report_csv_file(request: KeyRequest, report_id: UUID) -> StreamingHttpResponse:
    report = get_for(request.auth, Report, report_id)
    return StreamingHttpResponse(report_csv(report.payload), content_type="text/csv; charset=utf-8")


@router.get("/reports/{uuid:report_id}/shares", response=list[ShareOut], summary="Links of a report")
@paginate(Page)
def share_list(request: KeyRequest, report_id: UUID) -> "QuerySet[Share]":
    return rows_for(request.auth, Share).filter(report=get_for(request.auth, Report, report_id)).order_by("-created_at", "id")


@router.post("/reports/{uuid:report_id}/shares", response={201: NewShareOut}, summary="Make a link that opens a report signed out")
def share_create(request: KeyRequest, report_id: UUID, payload: ShareIn) -> dict[str, Any]:
    report = get_for(request.auth, Report, report_id, write=True)
    share, token = services.share_create(report=report, by=request.auth.created_by, **payload.model_dump())
    url = request.build_absolute_uri(reverse("share-open", args=[token]))
    return ShareOut.from_orm(share).model_dump(by_alias=True) | {"url": url}


@router.delete("/shares/{uuid:share_id}", response={204: None}, summary="End a link at once and for good")
def share_revoke(request: KeyRequest, share_id: UUID) -> None:
    services.share_revoke(share=get_for(request.auth, Share, share_id, write=True), by=request.auth.created_by)
