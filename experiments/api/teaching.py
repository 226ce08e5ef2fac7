"""Answers of a run to train or unlabelled rows, from which tuned approaches can learn, over the API."""

from typing import Literal
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Router, Schema

from experiments.api.access import get_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import WaitingFor, waiting_for
from experiments.models import Evaluation, Run, Split
from experiments.planning.teachers import TEACHABLE
from experiments.services.teachers import answers_start

router = Router(tags=["Comparisons"])


class AnswersIn(Schema):
    split: Literal["train", "unlabelled"] = Field("train", description="Which rows are answered.")
    rows: int | None = Field(None, ge=2, le=10_000_000, description="Most rows, drawn by chance; all unless told.")


class AnswersOut(Schema):
    """Answers to train or unlabelled rows; once they have succeeded, name `id` as the `answers` of a teacher."""

    id: UUID
    state: str = Field(alias="job.state")
    error: str = Field(alias="job.error")
    split: str
    rows: int | None = Field(description="Rows that were asked for; null for all.")
    accuracy: float | None = Field(description="Share answered as labelled; null until they have ended, and for unlabelled rows.")

    waiting_for: WaitingFor

    @staticmethod
    def resolve_waiting_for(evaluation: Evaluation) -> list[str]:
        return waiting_for(evaluation.job)

    @staticmethod
    def resolve_rows(evaluation: Evaluation) -> int | None:
        return evaluation.num_rows

    @staticmethod
    def resolve_accuracy(evaluation: Evaluation) -> float | None:
        found = evaluation.summary.get("accuracy")
        return None if found is None else float(found)


@router.get("/runs/{uuid:run_id}/answers", response=list[AnswersOut], summary="What a run has answered to teach others")
def run_answers(request: KeyRequest, run_id: UUID) -> "QuerySet[Evaluation]":
    run = get_for(request.auth, Run, run_id)
    return run.evaluations.filter(split__in=TEACHABLE).select_related("job").order_by("-created_at")


@router.post("/runs/{uuid:run_id}/answers", response={202: AnswersOut}, summary="Let a run answer rows, to teach others")
def run_answer(request: KeyRequest, run_id: UUID, payload: AnswersIn) -> Evaluation:
    """Asked for again, the same answers are given back. A hosted model bills each answer, and its terms may forbid learning from it."""
    run = get_for(request.auth, Run, run_id, write=True)
    return answers_start(run=run, by=request.auth.created_by, split=Split(payload.split), num_rows=payload.rows)
