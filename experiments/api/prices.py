"""Price books over the API: what comparisons reckon with. A price that is left out is unknown, never zero."""

from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Router, Schema
from ninja.pagination import paginate

from experiments.access import WRITE_ROLES
from experiments.api.access import need, rows_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import Page, ShortText
from experiments.models import PriceBook
from experiments.services.prices import price_book_create as create

router = Router(tags=["Prices"])
Price = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=6)]


class PriceBookIn(Schema):
    name: Annotated[ShortText, Field(min_length=1, max_length=80)]
    currency: Annotated[str, Field(pattern="^[A-Za-z]{3}$")] = "USD"
    effective_on: date
    device_hour: Price | None = None
    input_million_tokens: Price | None = None
    output_million_tokens: Price | None = None
    wrong_answer: Price | None = None
    labelled_row: Price | None = None
    person_hour: Price | None = None


class PriceBookOut(Schema):
    id: UUID
    name: str
    currency: str
    effective_on: date
    device_hour: Decimal | None
    input_million_tokens: Decimal | None
    output_million_tokens: Decimal | None
    wrong_answer: Decimal | None
    labelled_row: Decimal | None
    person_hour: Decimal | None


@router.get("/price-books", response=list[PriceBookOut], summary="List prices")
@paginate(Page)
def price_book_list(request: KeyRequest) -> "QuerySet[PriceBook]":
    return rows_for(request.auth, PriceBook).order_by("-effective_on", "id")


@router.post("/price-books", response={201: PriceBookOut}, summary="Write prices down")
def price_book_create(request: KeyRequest, payload: PriceBookIn) -> PriceBook:
    need(request.auth, WRITE_ROLES[PriceBook])
    head = {"name", "currency", "effective_on"}
    prices = payload.model_dump(exclude=head)
    return create(workspace=request.auth.workspace, by=request.auth.created_by, prices=prices, **payload.model_dump(include=head))
