"""Comparisons over the API: plan, launch, watch, read, stop, open the test set."""

from typing import Any
from uuid import UUID, uuid4

from django.db.models import QuerySet
from django.http import Http404
from ninja import Router
from ninja.pagination import paginate
from ninja.params import functions

from experiments.access import WRITE_ROLES
from experiments.api.access import get_for, need, rows_for
from experiments.api.auth import KeyRequest
from experiments.api.experiment_schemas import (
    BaselineIn,
    BudgetIn,
    ExperimentDetail,
    ExperimentIn,
    ExperimentOut,
    LearningCurveOut,
    PricesIn,
    ResultsOut,
    TrialOut,
)
from experiments.api.fields import IdempotencyKey, Page, ScoredSplit
from experiments.api.plans import plan_of
from experiments.api.waiting import SECONDS, wait_for
from experiments.models import ComparisonTable, Experiment, PriceBook, Role, Run, Split, Trial
from experiments.reads.live import compare_problem
from experiments.reads.trials import trials_of
from experiments.services import advances, launches, removals
from experiments.services import experiments as services
from experiments.services.endpoint_calls import endpoint_budget_set
from experiments.services.learning_curves import learning_curve_start

router = Router(tags=["Comparisons"])
KEY_HEADER: Any = functions.Header("", alias="Idempotency-Key", description="Yours to choose; the same key never launches twice.")


@router.get("/experiments", response=list[ExperimentOut], summary="List comparisons")
@paginate(Page)
def experiment_list(request: KeyRequest) -> "QuerySet[Experiment]":
    return rows_for(request.auth, Experiment).order_by("-created_at", "id")


@router.post("/experiments", response={201: ExperimentDetail}, summary="Plan a comparison, and launch it when asked to")
def experiment_create(request: KeyRequest, payload: ExperimentIn, idempotency_key: IdempotencyKey = KEY_HEADER) -> Experiment:
    """With `"launch": true` the same Idempotency-Key gives the same comparison, however often it is sent."""
    key = request.auth
    need(key, WRITE_ROLES[Experiment])
    plan = plan_of(key, payload)
    if payload.launch:
        launch_key = f"api:{idempotency_key or uuid4()}"
        return launches.experiment_start(workspace=key.workspace, by=key.created_by, plan=plan, key=launch_key)
    return launches.experiment_create(workspace=key.workspace, by=key.created_by, plan=plan)


@router.get("/experiments/{uuid:experiment_id}", response=ExperimentDetail, summary="State of a comparison and its runs")
def experiment_detail(request: KeyRequest, experiment_id: UUID) -> Experiment:
    return get_for(request.auth, Experiment, experiment_id)


@router.delete("/experiments/{uuid:experiment_id}", response={204: None}, summary="Delete a comparison for good")
def experiment_delete(request: KeyRequest, experiment_id: UUID) -> None:
    """With its answers, tuned prompts, reports and links. Refused while work on it goes on. That test rows were opened is remembered."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    need(request.auth, Role.ML_ENGINEER)
    removals.experiment_delete(experiment=experiment, by=request.auth.created_by)


@router.post("/experiments/{uuid:experiment_id}/launch", response={202: ExperimentDetail}, summary="Launch a planned comparison")
def experiment_launch(request: KeyRequest, experiment_id: UUID, idempotency_key: IdempotencyKey = KEY_HEADER) -> Experiment:
    """A launched comparison is never launched again; a repeated call gives its state."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    launch_key = f"api:{idempotency_key or uuid4()}"
    return launches.experiment_launch(experiment=experiment, by=request.auth.created_by, key=launch_key)


@router.get("/experiments/{uuid:experiment_id}/wait", response=ExperimentDetail, summary="Wait until a comparison ends")
def experiment_wait(request: KeyRequest, experiment_id: UUID, timeout: int = SECONDS) -> Experiment:
    """Answers when the comparison ends or the time is up, whichever is first; look at `state` and call again."""
    experiment = get_for(request.auth, Experiment, experiment_id)
    wait_for(lambda: not Experiment.objects.filter(pk=experiment.pk, launched_at__isnull=False, finished_at=None).exists(), seconds=timeout)
    return get_for(request.auth, Experiment, experiment_id)


@router.get("/experiments/{uuid:experiment_id}/results", response=ResultsOut, summary="The comparison of one split")
def experiment_results(request: KeyRequest, experiment_id: UUID, split: ScoredSplit = "validation") -> ComparisonTable:
    experiment = get_for(request.auth, Experiment, experiment_id)
    table = ComparisonTable.objects.filter(experiment=experiment, split=split).first()
    if table is None and (problem := compare_problem(experiment)):
        raise Http404(f"There are no results on the {split} rows. {problem}")
    if table is None:
        raise Http404(f"There are no results on the {split} rows yet. They are computed when the runs have ended{_opening(split)}.")
    return table


@router.post("/experiments/{uuid:experiment_id}/open-test", response={202: ExperimentDetail}, summary="Open the test set")
def experiment_open_test(request: KeyRequest, experiment_id: UUID) -> Experiment:
    """Lets the comparison see the test rows. Logged, counted per data version and printed on every report; done once."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    advances.experiment_open_test(experiment=experiment, by=request.auth.created_by)
    return get_for(request.auth, Experiment, experiment_id)


@router.post(
    "/experiments/{uuid:experiment_id}/baseline", response={202: ExperimentDetail}, summary="Choose what the others are measured against"
)
def experiment_baseline(request: KeyRequest, experiment_id: UUID, payload: BaselineIn) -> Experiment:
    """The stored results are computed anew within seconds. Without an approach: the best written prompt on validation rows."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    approach = experiment.approaches.filter(pk=payload.approach).first() if payload.approach else None
    if payload.approach and approach is None:
        raise Http404("This comparison has no such approach.")
    services.experiment_baseline_choose(experiment=experiment, by=request.auth.created_by, approach=approach)
    return get_for(request.auth, Experiment, experiment_id)


@router.post(
    "/experiments/{uuid:experiment_id}/prices", response={202: ExperimentDetail}, summary="Choose the prices of a comparison without any"
)
def experiment_prices(request: KeyRequest, experiment_id: UUID, payload: PricesIn) -> Experiment:
    """The stored results are computed anew within seconds: prices only weigh what was measured. Once chosen they stay."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    book = get_for(request.auth, PriceBook, payload.price_book)
    services.experiment_prices_choose(experiment=experiment, by=request.auth.created_by, book=book)
    return get_for(request.auth, Experiment, experiment_id)


@router.post("/experiments/{uuid:experiment_id}/cancel", response={202: ExperimentDetail}, summary="Stop every run that has not ended")
def experiment_cancel(request: KeyRequest, experiment_id: UUID) -> Experiment:
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    services.experiment_cancel(experiment=experiment, by=request.auth.created_by)
    return get_for(request.auth, Experiment, experiment_id)


@router.post("/experiments/{uuid:experiment_id}/go-on", response={202: ExperimentDetail}, summary="Go on with every stopped run")
def experiment_go_on(request: KeyRequest, experiment_id: UUID) -> Experiment:
    """Trainings and searches go on where they were. Runs that failed are not touched: `retry` starts them again, one by one."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    services.experiment_go_on(experiment=experiment, by=request.auth.created_by)
    return get_for(request.auth, Experiment, experiment_id)


@router.post("/experiments/{uuid:experiment_id}/latency", response={202: ExperimentDetail}, summary="Measure latency anew")
def experiment_latency(request: KeyRequest, experiment_id: UUID) -> Experiment:
    """Times single requests of every approach in turn, when nothing else of the comparison goes on. Results show it once it has ended."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    services.experiment_measure_latency(experiment=experiment, by=request.auth.created_by)
    return get_for(request.auth, Experiment, experiment_id)


@router.post("/experiments/{uuid:experiment_id}/learning-curve", response={202: ExperimentDetail}, summary="Draw the learning curve")
def learning_curve_create(request: KeyRequest, experiment_id: UUID) -> Experiment:
    """Makes the approaches that learn on 16, 64, 256 and 1,024 train rows, as far as there are so many, scored on validation rows.
    Answers with the comparison that its runs stand in, which can be watched and stopped like any other; a repeated call gives its state."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    return learning_curve_start(experiment=experiment, by=request.auth.created_by)


@router.get("/experiments/{uuid:experiment_id}/learning-curve", response=LearningCurveOut, summary="The learning curve of a comparison")
def learning_curve_detail(request: KeyRequest, experiment_id: UUID) -> Experiment:
    experiment = get_for(request.auth, Experiment, experiment_id)
    curve = Experiment.objects.filter(curve_of=experiment).first()
    if curve is None:
        raise Http404("This comparison has no learning curve. Draw one with a POST to this address once it has ended.")
    return curve


@router.post(
    "/experiments/{uuid:experiment_id}/compute", response={202: ExperimentDetail}, summary="Compare again what could not be compared"
)
def experiment_compute(request: KeyRequest, experiment_id: UUID) -> Experiment:
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    services.comparison_retry(experiment=experiment, by=request.auth.created_by)
    return get_for(request.auth, Experiment, experiment_id)


@router.put("/experiments/{uuid:experiment_id}/budget", response=ExperimentDetail, summary="Change what hosted models may bill")
def experiment_budget(request: KeyRequest, experiment_id: UUID, payload: BudgetIn) -> Experiment:
    """Runs that a budget stopped go on when they are tried again; what was answered is not asked again."""
    experiment = get_for(request.auth, Experiment, experiment_id, write=True)
    requests, money = payload.endpoint_requests, payload.endpoint_money
    endpoint_budget_set(experiment=experiment, requests=requests, money=money, by=request.auth.created_by)
    return get_for(request.auth, Experiment, experiment_id)


@router.get("/runs/{uuid:run_id}/trials", response=list[TrialOut], summary="What a run has tried, the best first")
@paginate(Page)
def run_trials(request: KeyRequest, run_id: UUID) -> "QuerySet[Trial]":
    """Trials appear while the run goes on. Each was judged on validation rows; test rows are never read."""
    return trials_of(get_for(request.auth, Run, run_id))


@router.post("/runs/{uuid:run_id}/cancel", response={202: ExperimentDetail}, summary="Stop a run")
def run_cancel(request: KeyRequest, run_id: UUID) -> Experiment:
    """What it has tried or trained so far is kept; `retry` goes on from there."""
    run = get_for(request.auth, Run, run_id, write=True)
    services.run_cancel(run=run, by=request.auth.created_by)
    return get_for(request.auth, Experiment, run.approach.experiment_id)


@router.post("/runs/{uuid:run_id}/retry", response={202: ExperimentDetail}, summary="Start a failed or stopped run again")
def run_retry(request: KeyRequest, run_id: UUID) -> Experiment:
    run = get_for(request.auth, Run, run_id, write=True)
    services.run_retry(run=run, by=request.auth.created_by)
    return get_for(request.auth, Experiment, run.approach.experiment_id)


def _opening(split: str) -> str:
    return " and the test set has been opened" if split == Split.TEST else ""
