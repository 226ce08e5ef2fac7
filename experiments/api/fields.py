"""Shapes that several operations share: text that every database can keep, what work waits for, and pages of a list."""

from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Schema
from ninja.pagination import LimitOffsetPagination
from pydantic import AfterValidator, StringConstraints

from experiments.models import Job
from experiments.presence import job_health
from experiments.services.feedback import MAX_ANSWER, MAX_NOTE

MAX_TEXT = 100_000
# What results and reports can be about: train and unlabelled rows are learned from, and nothing is judged by them.
ScoredSplit = Literal["validation", "test"]


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("The text holds a NUL character. Remove it.")
    return text


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120), AfterValidator(_storable)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=160), AfterValidator(_storable)]
ShortText = Annotated[str, StringConstraints(max_length=200), AfterValidator(_storable)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_storable)]
LongText = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_storable)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NOTE), AfterValidator(_storable)]
RightAnswer = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_ANSWER), AfterValidator(_storable)]
RowNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
IdempotencyKey = Annotated[str, StringConstraints(max_length=100, pattern=r"^[\x21-\x7e]*$")]

WaitingFor = Annotated[list[str], Field(description="A sentence for each kind of worker that is needed and not running; usually empty.")]


def waiting_for(job: Job | None) -> list[str]:
    """The worker that a job waits for in vain, in a sentence."""
    sentence = job_health(job)
    return [sentence] if sentence else []


class Page(LimitOffsetPagination):
    """`limit` (at most 200, 50 unless told) and `offset`; the answer is {"items": […], "count": n}."""

    class Input(Schema):
        limit: int = Field(50, ge=1, le=200)
        offset: int = Field(0, ge=0, le=1_000_000)

    def paginate_queryset(self, queryset: "QuerySet[Any]", pagination: Any, request: HttpRequest, **params: Any) -> dict[str, Any]:
        start = pagination.offset
        return {"items": list(queryset[start : start + pagination.limit]), "count": queryset.count()}
