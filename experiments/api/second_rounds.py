"""Training on mistakes over the API: find them among the train rows, read them, launch a second round."""

from typing import Any
from uuid import UUID, uuid4

from django.http import Http404
from ninja import Field, Router, Schema

from experiments.api.access import get_for
from experiments.api.auth import KeyRequest
from experiments.api.experiment_schemas import ExperimentDetail
from experiments.api.experiments import KEY_HEADER
from experiments.api.fields import IdempotencyKey, RowNumber, ShortText, WaitingFor, waiting_for
from experiments.errors import UserError
from experiments.models import Example, Experiment, Run
from experiments.planning.mistakes import SHOWN, USUAL_ODDS, mistakes_of, train_evaluation
from experiments.planning.second_rounds import MAX_ODDS, MAX_TIMES, USUAL_TIMES, RoundChoice
from experiments.services.second_rounds import mistakes_find, second_round_start

router = Router(tags=["Comparisons"])
ODDS = "Right answers count as close up to this many times as likely as the next label; 1 takes wrong answers only."


class MistakeOut(Schema):
    row: int = Field(description="Row number in the uploaded file, from 1.")
    label: str
    answer: str
    is_wrong: bool
    odds: float | None = Field(description="How many times as likely as the next label the right one was; below 1 it was wrong.")
    is_doubted: bool = Field(description="A mark contradicts the data, so a second round leaves the row out.")


class MistakesOut(Schema):
    state: str = Field(description="Of answering the train rows: queued, running, succeeded, …")
    error: str
    waiting_for: WaitingFor
    num_rows: int = Field(0, description="Train rows that were answered.")
    num_wrong: int = 0
    num_close: int = 0
    rows: list[MistakeOut] = Field([], description=f"The {SHOWN} most wrong, and those that somebody has marked.")


class SecondRoundIn(Schema):
    name: ShortText = ""
    times: int = Field(USUAL_TIMES, ge=2, le=MAX_TIMES, description="How often the mistakes are shown, against once for other train rows.")
    odds: float = Field(USUAL_ODDS, ge=1, le=MAX_ODDS, allow_inf_nan=False, description=ODDS)
    left_out: list[RowNumber] = Field([], max_length=10_000, description="Row numbers whose label is wrong: nothing learns from them.")
    has_control: bool = Field(True, description="Train the same without the focus beside it.")


@router.get("/runs/{uuid:run_id}/mistakes", response=MistakesOut, summary="The mistakes of a tuned prompt among its train rows")
def run_mistakes(request: KeyRequest, run_id: UUID, odds: float = USUAL_ODDS) -> dict[str, Any]:
    """Train rows only: validation rows choose and test rows judge, so neither is looked at."""
    return _found(get_for(request.auth, Run, run_id), odds)


@router.post("/runs/{uuid:run_id}/mistakes", response={202: MistakesOut}, summary="Find the mistakes of a tuned prompt")
def run_mistakes_find(request: KeyRequest, run_id: UUID) -> dict[str, Any]:
    """Answers every train row. A repeated call gives the state of the first."""
    run = get_for(request.auth, Run, run_id, write=True)
    mistakes_find(run=run, by=request.auth.created_by)
    return _found(run, USUAL_ODDS)


@router.post("/runs/{uuid:run_id}/second-round", response={201: ExperimentDetail}, summary="Train a tuned prompt on its mistakes")
def second_round_create(
    request: KeyRequest, run_id: UUID, payload: SecondRoundIn, idempotency_key: IdempotencyKey = KEY_HEADER
) -> Experiment:
    """Launches a comparison of its own: the written prompt, the second round, and its control. The same key never launches twice."""
    run = get_for(request.auth, Run, run_id, write=True)
    choice = RoundChoice(payload.times, payload.odds, _ids(run, payload.left_out), payload.has_control, payload.name)
    return second_round_start(run=run, by=request.auth.created_by, choice=choice, key=f"api:{idempotency_key or uuid4()}")


def _ids(run: Run, numbers: list[int]) -> tuple[int, ...]:
    rows = Example.objects.filter(version=run.approach.experiment.dataset_version_id, position__in=numbers)
    known = dict(rows.values_list("position", "pk"))
    for number in numbers:
        if number not in known:
            raise UserError(f"The data has no row {number:,}, so it cannot be left out.")
    return tuple(known.values())


def _found(run: Run, odds: float) -> dict[str, Any]:
    evaluation = train_evaluation(run)
    if evaluation is None:
        raise Http404("Nobody has looked for mistakes of this run. Find them with a POST to this address.")
    said: dict[str, Any] = {"state": evaluation.job.state, "error": evaluation.job.error, "waiting_for": waiting_for(evaluation.job)}
    if evaluation.completed_at is None:
        return said
    mistakes = mistakes_of(evaluation, min(max(odds, 1.0), MAX_ODDS))
    rows = [
        {
            "row": each.example.position,
            "label": each.example.label,
            "answer": each.mistake.answer,
            "is_wrong": each.mistake.is_wrong,
            "odds": each.mistake.odds,
            "is_doubted": each.mistake.is_doubted,
        }
        for each in mistakes.shown()
    ]
    return {**said, "num_rows": mistakes.num_rows, "num_wrong": mistakes.num_wrong, "num_close": mistakes.num_close, "rows": rows}
