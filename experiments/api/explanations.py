"""What the learned tokens of a run are close to and worth, over the API."""

from typing import Any
from uuid import UUID

from django.http import Http404
from ninja import Field, Router, Schema

from experiments.api.access import get_for
from experiments.api.auth import KeyRequest
from experiments.api.fields import WaitingFor
from experiments.models import Run
from experiments.reads.explanations import explanation_of
from experiments.services.explanations import explanation_start

router = Router(tags=["Comparisons"])


class NearWord(Schema):
    text: str
    similarity: float = Field(description="Cosine.")


class Change(Schema):
    value: float | None
    low: float | None
    high: float | None


class LearnedTokenOut(Schema):
    place: int
    nearest: list[NearWord]
    norm: float
    norm_share: float | None = Field(description="As a multiple of the mean word's.")
    drift: float = Field(description="Distance from its start.")
    drift_share: float | None = Field(description="As a multiple of the mean word's norm.")
    start_similarity: float
    change: Change | None = Field(description="Accuracy without it minus accuracy with it, a share of rows, with the 95 % interval.")
    lost: int | None = Field(description="Rows that are right only with it.")
    won: int | None = Field(description="Rows that are right only without it.")
    loss_change: float | None = Field(description="Nats a row.")


class ExplanationOut(Schema):
    state: str = Field(description="Of the ablation: not asked, queued, running, succeeded, …")
    error: str
    waiting_for: WaitingFor
    num_tokens: int
    rows: int | None = Field(description="Validation rows of the ablation.")
    accuracy: float | None
    loss: float | None
    tokens: list[LearnedTokenOut]


@router.get("/runs/{uuid:run_id}/explanation", response=ExplanationOut, summary="What a soft prompt has learned")
def run_explanation(request: KeyRequest, run_id: UUID) -> dict[str, Any]:
    """Near words, norm and drift of each learned token; what each is worth once that was asked for."""
    return _explained(get_for(request.auth, Run, run_id))


@router.post("/runs/{uuid:run_id}/explanation", response={202: ExplanationOut}, summary="Measure what each learned token is worth")
def run_explain(request: KeyRequest, run_id: UUID) -> dict[str, Any]:
    """Takes each learned token out and scores validation rows again. A repeated call gives the state of the first."""
    run = get_for(request.auth, Run, run_id, write=True)
    explanation_start(run=run, by=request.auth.created_by)
    return _explained(run)


def _explained(run: Run) -> dict[str, Any]:
    found = explanation_of(run)
    if found is None:
        raise Http404("This run has left no learned tokens. Soft prompts, hybrids and P-tuning leave some once they succeed.")
    return found.to_json()
