"""Prompts over the API: write one, save a new version, read, name one version `production`."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Router, Schema
from ninja.pagination import paginate

from experiments.access import WRITE_ROLES
from experiments.api.access import get_for, need, rows_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import LongText, Name, Page, ShortText, StopText
from experiments.errors import UserError
from experiments.models import ApiKey, DatasetVersion, PromptTemplate, Role, TemplateVersion
from experiments.prompting.chains import MAX_STOPS, MAX_TOKENS, FirstStep
from experiments.prompting.wording import MAX_DEMONSTRATIONS, PromptWording
from experiments.services import prompts as services
from experiments.services import removals

router = Router(tags=["Prompts"])

RowNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class FirstStepIn(Schema):
    """What the model writes about a row before it answers; its text fills {{step_1}} in `user`."""

    text: LongText = Field(description="The whole prompt of this step, with {{column}} slots.")
    max_tokens: int = Field(FirstStep.max_tokens, ge=1, le=MAX_TOKENS)
    stop: list[StopText] = Field(["\n"], max_length=MAX_STOPS)


class WordingIn(Schema):
    """`user` holds {{column}} slots. `demonstrations` are row numbers of train rows of `dataset_version`, in the order shown."""

    user: LongText
    system: LongText = ""
    answer_cue: ShortText = ""
    answer_words: dict[str, list[ShortText]] = Field({}, max_length=1_000)
    demonstrations: list[RowNumber] = Field([], max_length=MAX_DEMONSTRATIONS)
    first_step: FirstStepIn | None = None
    dataset_version: UUID | None = Field(None, description="The data that the wording must fit; needed for demonstrations.")
    note: ShortText = ""


class PromptIn(WordingIn):
    name: Name
    description: LongText = ""


class VersionOut(Schema):
    id: UUID
    prompt: UUID = Field(alias="template_id")
    number: int
    user: str
    system: str
    answer_cue: str
    answer_words: dict[str, list[str]]
    demonstrations: list[dict[str, Any]]
    first_step: dict[str, Any] = Field(description="{text, max_tokens, stop}; empty for a prompt of one step.")
    note: str
    optimised_from: UUID | None = Field(None, alias="optimised_from_id", description="The version that a prompt search started from.")
    optimised_by: UUID | None = Field(None, alias="optimised_by_id", description="The run of that search; empty for a written version.")
    created_at: datetime


class PromptOut(Schema):
    id: UUID
    name: str
    description: str
    created_at: datetime


class PromptDetail(PromptOut):
    versions: list[VersionOut]
    aliases: dict[str, UUID] = Field(description="Name to version, such as “production”.")

    @staticmethod
    def resolve_versions(template: PromptTemplate) -> list[TemplateVersion]:
        return list(template.versions.all())

    @staticmethod
    def resolve_aliases(template: PromptTemplate) -> dict[str, UUID]:
        return {alias.name: alias.version_id for alias in template.aliases.all()}


@router.get("/prompts", response=list[PromptOut], summary="List prompts")
@paginate(Page)
def prompt_list(request: KeyRequest) -> "QuerySet[PromptTemplate]":
    return rows_for(request.auth, PromptTemplate).order_by("-created_at", "id")


@router.post("/prompts", response={201: VersionOut}, summary="Write a prompt")
def prompt_create(request: KeyRequest, payload: PromptIn) -> TemplateVersion:
    """The answer is the first version, whose `id` comparisons take."""
    key = request.auth
    need(key, WRITE_ROLES[PromptTemplate])
    data = _data(key, payload)
    return services.prompt_create(
        workspace=key.workspace,
        by=key.created_by,
        name=payload.name,
        description=payload.description,
        note=payload.note,
        wording=_wording(payload, data),
        dataset_version=data,
    )


@router.get("/prompts/{uuid:prompt_id}", response=PromptDetail, summary="A prompt and its versions")
def prompt_detail(request: KeyRequest, prompt_id: UUID) -> PromptTemplate:
    return get_for(request.auth, PromptTemplate, prompt_id)


@router.delete("/prompts/{uuid:prompt_id}", response={204: None}, summary="Delete a prompt for good")
def prompt_delete(request: KeyRequest, prompt_id: UUID) -> None:
    """With every version. Refused while comparisons use one of them."""
    template = get_for(request.auth, PromptTemplate, prompt_id, write=True)
    need(request.auth, Role.ML_ENGINEER)
    removals.prompt_delete(template=template, by=request.auth.created_by)


@router.post("/prompts/{uuid:prompt_id}/versions", response={201: VersionOut}, summary="Save a new version")
def prompt_version_create(request: KeyRequest, prompt_id: UUID, payload: WordingIn) -> TemplateVersion:
    """The same words again give the newest version back."""
    template = get_for(request.auth, PromptTemplate, prompt_id, write=True)
    data = _data(request.auth, payload)
    return services.prompt_version_save(
        template=template, by=request.auth.created_by, wording=_wording(payload, data), dataset_version=data, note=payload.note
    )


@router.post("/prompt-versions/{uuid:version_id}/promote", response={200: PromptDetail}, summary="Name a version “production”")
def prompt_version_promote(request: KeyRequest, version_id: UUID) -> PromptTemplate:
    version = get_for(request.auth, TemplateVersion, version_id, write=True)
    services.prompt_alias_move(version=version, by=request.auth.created_by)
    return get_for(request.auth, PromptTemplate, version.template_id)


def _data(key: ApiKey, payload: WordingIn) -> DatasetVersion | None:
    return get_for(key, DatasetVersion, payload.dataset_version) if payload.dataset_version else None


def _wording(payload: WordingIn, data: DatasetVersion | None) -> PromptWording:
    return PromptWording(
        user=payload.user,
        system=payload.system,
        answer_cue=payload.answer_cue,
        answer_words=payload.answer_words,
        demonstrations=_demonstrations(payload.demonstrations, data),
        first_step=FirstStep(first.text, first.max_tokens, tuple(first.stop)) if (first := payload.first_step) else None,
    )


def _demonstrations(rows: list[int], data: DatasetVersion | None) -> list[dict[str, Any]]:
    """Train rows by their number in the file. A row that may not be shown is refused, never left out in silence."""
    if not rows:
        return []
    if data is None:
        raise UserError("Demonstrations are rows of data. Name the version in `dataset_version`.")
    ids = dict(data.examples.filter(position__in=rows).values_list("position", "pk"))
    missing = [row for row in rows if row not in ids]
    if missing:
        raise UserError(f"{data} has no row {missing[0]:,}. Row numbers count from 1, as in the file.")
    return services.demonstrations_of(data, [ids[row] for row in rows])
