"""Models over the API: list, look at, register, verify again."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Router, Schema
from ninja.pagination import paginate

from experiments.access import WRITE_ROLES
from experiments.api.access import get_for, need, rows_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import Name, Page, ShortText
from experiments.models import Backbone
from experiments.services.backbones import backbone_inspect, backbone_register_hub, backbone_register_local
from experiments.services.endpoints import EndpointWish, endpoint_change, endpoint_register

router = Router(tags=["Models"])


class BackboneOut(Schema):
    id: UUID
    name: str
    kind: str
    source: str
    revision: str
    dtype: str
    remote_model: str
    limits: dict[str, Any]
    has_key: bool
    state: Literal["verified", "refused", "waiting"]
    problem: str
    facts: dict[str, Any]
    verified_at: datetime | None

    @staticmethod
    def resolve_has_key(backbone: Backbone) -> bool:
        return hasattr(backbone, "endpoint_key")

    @staticmethod
    def resolve_state(backbone: Backbone) -> str:
        if backbone.problem:
            return "refused"
        return "verified" if backbone.verified_at else "waiting"


class LimitsIn(Schema):
    """How an endpoint is asked; what is left out takes its default. The tokens of an answer include what a model thinks before it."""

    concurrency: int | None = None
    requests_per_minute: int | None = None
    timeout_seconds: int | None = None
    answer_tokens: int | None = None


class EndpointIn(Schema):
    """A model behind an OpenAI-compatible API. No answer ever holds the key."""

    name: Name
    url: ShortText = Field("", description="The address of the API, such as https://api.example.com/v1.")
    model: ShortText = Field("", description="The model's name at the endpoint.")
    key: str | None = Field(None, json_schema_extra={"writeOnly": True}, description="None keeps the key; an empty text throws it away.")
    limits: LimitsIn = LimitsIn()

    def wish(self) -> EndpointWish:
        return EndpointWish(url=self.url, model=self.model, key=self.key, limits=self.limits.model_dump())


class BackboneIn(EndpointIn):
    """One of `folder` (a path on the workers below MODEL_FOLDERS), `hub_id` with `revision` (a full commit), or `url` with `model`."""

    folder: ShortText = ""
    hub_id: ShortText = ""
    revision: ShortText = ""
    dtype: Literal["auto", "fp32", "bf16", "8bit", "4bit"] = "auto"


@router.get("/backbones", response=list[BackboneOut], summary="List models")
@paginate(Page)
def backbone_list(request: KeyRequest) -> "QuerySet[Backbone]":
    return rows_for(request.auth, Backbone).order_by("created_at", "id")


@router.post("/backbones", response={201: BackboneOut}, summary="Register a model")
def backbone_create(request: KeyRequest, payload: BackboneIn) -> Backbone:
    need(request.auth, WRITE_ROLES[Backbone])
    if payload.url:
        return endpoint_register(workspace=request.auth.workspace, name=payload.name, wish=payload.wish(), by=request.auth.created_by)
    shared = {"workspace": request.auth.workspace, "name": payload.name, "dtype": payload.dtype, "by": request.auth.created_by}
    if payload.hub_id:
        return backbone_register_hub(repository=payload.hub_id, revision=payload.revision, **shared)
    return backbone_register_local(folder=payload.folder, **shared)


@router.get("/backbones/{uuid:backbone_id}", response=BackboneOut, summary="Look at a model")
def backbone_detail(request: KeyRequest, backbone_id: UUID) -> Backbone:
    return get_for(request.auth, Backbone, backbone_id)


@router.put("/backbones/{uuid:backbone_id}", response=BackboneOut, summary="Change a hosted model")
def backbone_change(request: KeyRequest, backbone_id: UUID, payload: EndpointIn) -> Backbone:
    """A worker calls it again. Another address throws the key away unless a new one comes with it."""
    backbone = get_for(request.auth, Backbone, backbone_id, write=True)
    endpoint_change(backbone=backbone, name=payload.name, wish=payload.wish(), by=request.auth.created_by)
    return get_for(request.auth, Backbone, backbone_id)


@router.post("/backbones/{uuid:backbone_id}/verify", response={202: BackboneOut}, summary="Ask a worker to verify a model again")
def backbone_verify(request: KeyRequest, backbone_id: UUID) -> Backbone:
    backbone = get_for(request.auth, Backbone, backbone_id, write=True)
    backbone_inspect(backbone=backbone, workspace=request.auth.workspace, by=request.auth.created_by)
    return get_for(request.auth, Backbone, backbone_id)
