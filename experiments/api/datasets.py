"""Data over the API: upload, say what the columns mean, watch, read rows that may be seen."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, File, Form, Router, Schema, UploadedFile
from ninja.errors import HttpError
from ninja.pagination import paginate
from pydantic import Json

from experiments.access import WRITE_ROLES
from experiments.api.access import get_for, need, rows_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import LongText, Name, Page, WaitingFor, waiting_for
from experiments.api.mappings import MappingIn, mapping_of
from experiments.api.waiting import SECONDS, wait_for
from experiments.errors import UserError
from experiments.models import ApiKey, Dataset, DatasetVersion, Example, Role
from experiments.reads.datasets import MAPPING, READING, STORING, stage_of
from experiments.services import datasets as services
from experiments.services import removals
from experiments.uploads import upload_refused

router = Router(tags=["Data"])
READ_SECONDS = 20
SeenSplit = Literal["train", "validation", "unlabelled"]


class UploadIn(Schema):
    name: Name
    attribution: LongText = Field("", description="Source and licence, shown on reports.")
    mapping: Json[MappingIn] | None = Field(None, description="JSON as in the mapping call: one call then uploads, reads and stores.")


class VersionUploadIn(Schema):
    mapping: Json[MappingIn] | None = Field(None, description="JSON as in the mapping call.")


class DatasetOut(Schema):
    id: UUID
    name: str
    description: str
    attribution: str
    created_at: datetime


class VersionOut(Schema):
    id: UUID
    dataset: UUID = Field(alias="dataset_id")
    number: int
    stage: Literal["reading", "mapping", "storing", "refused", "complete"]
    problem: str
    source_name: str
    source_bytes: int
    file: dict[str, Any] = Field(alias="parse_report", description="What was found in the file: columns, preview, problems.")
    mapping: dict[str, Any]
    columns: list[str]
    labels: list[str]
    split_counts: dict[str, int]
    checks: dict[str, Any] = Field(alias="gate_report", description="What the checks found in the mapped rows.")
    completed_at: datetime | None
    waiting_for: WaitingFor

    @staticmethod
    def resolve_waiting_for(version: DatasetVersion) -> list[str]:
        return waiting_for(version.job)

    @staticmethod
    def resolve_stage(version: DatasetVersion) -> str:
        return stage_of(version)


class DatasetDetail(DatasetOut):
    versions: list[VersionOut]

    @staticmethod
    def resolve_versions(dataset: Dataset) -> list[DatasetVersion]:
        return list(dataset.versions.select_related("job"))


class ExampleOut(Schema):
    row: int = Field(alias="position", description="Row number in the uploaded file, from 1.")
    split: str
    fields: dict[str, str]
    label: str = Field(description="Empty for an unlabelled row.")


@router.get("/datasets", response=list[DatasetOut], summary="List data")
@paginate(Page)
def dataset_list(request: KeyRequest) -> "QuerySet[Dataset]":
    return rows_for(request.auth, Dataset).order_by("-created_at", "id")


@router.post("/datasets", response={201: VersionOut}, summary="Upload a file as new data")
def dataset_create(request: KeyRequest, payload: Form[UploadIn], file: File[UploadedFile] = None) -> DatasetVersion:  # type: ignore[assignment]
    """Multipart. CSV, TSV, JSON lines, XLSX or Parquet, at most 100 MB. The answer is the first version; watch its `stage`."""
    key = request.auth
    need(key, WRITE_ROLES[Dataset])
    arrived = _arrived(request, file)
    version = services.dataset_start(
        workspace=key.workspace,
        by=key.created_by,
        name=payload.name,
        attribution=payload.attribution,
        file=arrived,  # type: ignore[arg-type]
        file_name=arrived.name or "",
    )
    return _mapped_once_read(key, version, payload.mapping)


@router.get("/datasets/{uuid:dataset_id}", response=DatasetDetail, summary="Data and its versions")
def dataset_detail(request: KeyRequest, dataset_id: UUID) -> Dataset:
    return get_for(request.auth, Dataset, dataset_id)


@router.delete("/datasets/{uuid:dataset_id}", response={204: None}, summary="Delete data for good")
def dataset_delete(request: KeyRequest, dataset_id: UUID) -> None:
    """With every version, row and uploaded file. Refused while comparisons rest on it."""
    dataset = get_for(request.auth, Dataset, dataset_id, write=True)
    need(request.auth, Role.ML_ENGINEER)
    removals.dataset_delete(dataset=dataset, by=request.auth.created_by)


@router.post("/datasets/{uuid:dataset_id}/versions", response={201: VersionOut}, summary="Upload a file as a new version")
def dataset_version_create(
    request: KeyRequest,
    dataset_id: UUID,
    payload: Form[VersionUploadIn],
    file: File[UploadedFile] = None,  # type: ignore[assignment]
) -> DatasetVersion:
    dataset = get_for(request.auth, Dataset, dataset_id, write=True)
    arrived = _arrived(request, file)
    version = services.dataset_upload(dataset=dataset, by=request.auth.created_by, file=arrived, name=arrived.name or "")  # type: ignore[arg-type]
    return _mapped_once_read(request.auth, version, payload.mapping)


@router.get("/dataset-versions/{uuid:version_id}", response=VersionOut, summary="State of a version")
def dataset_version_detail(request: KeyRequest, version_id: UUID) -> DatasetVersion:
    return get_for(request.auth, DatasetVersion, version_id)


@router.post("/dataset-versions/{uuid:version_id}/mapping", response={202: VersionOut}, summary="Say what the columns mean")
def dataset_version_map(request: KeyRequest, version_id: UUID, payload: MappingIn) -> DatasetVersion:
    """For a version at the stage `mapping`. Saying the same again changes nothing."""
    version = get_for(request.auth, DatasetVersion, version_id, write=True)
    return _mapped(request.auth, version, payload)


@router.get("/dataset-versions/{uuid:version_id}/wait", response=VersionOut, summary="Wait until a version needs you or is complete")
def dataset_version_wait(request: KeyRequest, version_id: UUID, timeout: int = SECONDS) -> DatasetVersion:
    """Answers when the stage is neither `reading` nor `storing`, or when the time is up."""
    version = get_for(request.auth, DatasetVersion, version_id)
    wait_for(lambda: _stage(version) not in (READING, STORING), seconds=timeout)
    return get_for(request.auth, DatasetVersion, version_id)


@router.get("/dataset-versions/{uuid:version_id}/examples", response=list[ExampleOut], summary="Rows that prompts may be written on")
@paginate(Page)
def example_list(request: KeyRequest, version_id: UUID, split: SeenSplit = "train") -> "QuerySet[Example]":
    """Train, validation and unlabelled rows in file order. Test rows are for scoring only."""
    version = get_for(request.auth, DatasetVersion, version_id)
    # A draft has only what an unfinished import left, or the rows that its findings show.
    return version.examples.filter(split=split, version__completed_at__isnull=False).order_by("position")


def _arrived(request: HttpRequest, file: UploadedFile | None) -> UploadedFile:
    refused = upload_refused(request)
    if refused:
        raise HttpError(413, refused)
    if file is None:
        raise UserError("No file arrived. Send it as the multipart field `file`.")
    return file


def _mapped_once_read(key: ApiKey, version: DatasetVersion, payload: MappingIn | None) -> DatasetVersion:
    """Map as soon as the file has been read. A file that takes longer answers at the stage `reading`; its mapping is sent later."""
    if payload is None:
        return version
    wait_for(lambda: _stage(version) != READING, seconds=READ_SECONDS)
    read = get_for(key, DatasetVersion, version.pk)
    return _mapped(key, read, payload) if stage_of(read) == MAPPING else read


def _mapped(key: ApiKey, version: DatasetVersion, payload: MappingIn) -> DatasetVersion:
    services.dataset_version_map(version=version, by=key.created_by, mapping=mapping_of(payload, version))
    return get_for(key, DatasetVersion, version.pk)


def _stage(version: DatasetVersion) -> str:
    return stage_of(DatasetVersion.objects.select_related("job").only("completed_at", "parsed_sha256", "job").get(pk=version.pk))
