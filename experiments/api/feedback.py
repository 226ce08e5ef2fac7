"""Marks of people on answers over the API: give, change, take back, list."""

from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Router, Schema
from ninja.pagination import paginate

from experiments.api.access import get_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import Note, Page, RightAnswer, RowNumber
from experiments.models import Feedback, Run, Verdict
from experiments.services.feedback import Judgement, feedback_give, feedback_take_back

router = Router(tags=["Comparisons"])


class FeedbackIn(Schema):
    row: RowNumber = Field(description="Row number in the uploaded file, from 1; a train row.")
    verdict: Verdict = Field(description="Of the run's answer to that row.")
    right_answer: RightAnswer = Field("", description="What a wrong answer should have been; a label where the data has labels.")
    note: Note = ""


class FeedbackOut(Schema):
    row: int = Field(alias="example.position")
    label: str = Field(alias="example.label", description="What the data says.")
    answer: str = Field(description="What was marked.")
    verdict: Verdict
    right_answer: str
    note: str
    doubts_label: bool = Field(description="The mark contradicts the data, so a second round leaves the row out.")
    by: str = Field(description="The person; of a key, who made it.")
    created_at: datetime = Field(description="When it was given, or last changed.")

    @staticmethod
    def resolve_by(mark: Feedback) -> str:
        return str(mark.by or "")


@router.get("/runs/{uuid:run_id}/feedback", response=list[FeedbackOut], summary="Marks on a run's answers to train rows")
@paginate(Page)
def feedback_list(request: KeyRequest, run_id: UUID) -> "QuerySet[Feedback]":
    """Everybody's, by row number."""
    return Feedback.objects.filter(run=get_for(request.auth, Run, run_id)).select_related("example", "by")


@router.post("/runs/{uuid:run_id}/feedback", response=FeedbackOut, summary="Mark an answer to a train row")
def feedback_create(request: KeyRequest, run_id: UUID, payload: FeedbackIn) -> Feedback:
    """Wrong answers are shown more often in a second round. The next mark of the same person replaces this one."""
    run = get_for(request.auth, Run, run_id, write=True)
    judgement = Judgement(payload.verdict, payload.right_answer, payload.note)
    return feedback_give(run=run, position=payload.row, judgement=judgement, by=request.auth.created_by)


@router.delete("/runs/{uuid:run_id}/feedback/{int:row}", response={204: None}, summary="Take back a mark")
def feedback_delete(request: KeyRequest, run_id: UUID, row: RowNumber) -> None:
    """Only the mark of the person who made the key."""
    feedback_take_back(run=get_for(request.auth, Run, run_id, write=True), position=row, by=request.auth.created_by)
