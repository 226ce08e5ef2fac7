"""What people ask of a comparison that is launched: another baseline, timed requests, stopping, trying again. Its tables are kept here.

Each function that moves a state is one transaction. Knows no request and computes no statistics.
"""

from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Q

from experiments.errors import UserError
from experiments.models import Approach, ComparisonTable, Experiment, Job, JobKind, JobState, PriceBook, Run, Split, TestOpening, User
from experiments.models.comparisons import Family
from experiments.services.advances import compare_queue, experiment_advance
from experiments.services.audit import audit_record
from experiments.services.experiment_jobs import (
    EVALUATE_JOBS,
    LATENCY_JOBS,
    RUN_JOBS,
    experiment_jobs,
    experiment_locked,
    open_jobs,
    runs_of,
)
from experiments.services.jobs import job_cancel, job_retry
from experiments.services.latency import latency_applied, latency_queue


def experiment_baseline_choose(*, experiment: Experiment, by: User | None, approach: Approach | None) -> None:
    """Choose what the other approaches are measured against, and have the stored tables computed anew.

    Args:
        approach: one of the comparison's own; None goes back to the best written prompt on validation rows.
    """
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        if experiment.baseline_id == (approach.pk if approach else None):
            return
        Experiment.objects.filter(pk=experiment.pk).update(baseline=approach)
        _compute_anew(experiment, "baseline")
        detail = {"baseline": approach.name if approach else "best written prompt"}
        audit_record(by=by, verb="chose the baseline of", target=experiment, workspace=experiment.workspace, detail=detail)


def experiment_prices_choose(*, experiment: Experiment, by: User | None, book: PriceBook) -> None:
    """Let a comparison without prices reckon with a price book, and have its stored tables and learning curve computed anew.

    Prices only weigh what was measured, so no result changes. Once chosen they stay, for people decide by them.

    Raises:
        UserError: it reckons with other prices already.
    """
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        if experiment.price_book_id == book.pk:
            return
        if experiment.price_book:
            raise UserError(f"This comparison reckons with the prices {experiment.price_book} already. Set it up again for others.")
        Experiment.objects.filter(pk=experiment.pk).update(price_book=book)
        _compute_anew(experiment, "prices")
        curve = Experiment.objects.filter(curve_of=experiment).exclude(learning_curve={}).first()
        if curve:
            compare_queue(curve, Split.VALIDATION, mark=":prices")
        audit_record(by=by, verb="chose the prices of", target=experiment, workspace=experiment.workspace, detail={"prices": str(book)})


def _compute_anew(experiment: Experiment, because: str) -> None:
    # A choice that was made before and is made again asks for work anew, so each choice has a number.
    number = experiment_jobs(experiment).filter(kind=JobKind.COMPARE).count()
    for split in experiment.tables.values_list("split", flat=True):
        compare_queue(experiment, Split(split), mark=f":{because}{number}")


def comparison_store(*, experiment: Experiment, split: str, payload: dict[str, Any], job: Job | None) -> ComparisonTable:
    """Keep the comparison of a split, replacing an older one."""
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        kept = {"payload": latency_applied(payload, experiment.latency), "job": job}
        table, _ = ComparisonTable.objects.update_or_create(experiment=experiment, split=split, defaults=kept)
    return table


def experiment_measure_latency(*, experiment: Experiment, by: User | None) -> Job:
    """Time single requests of every approach anew. A pass that is under way already is the answer.

    Raises:
        UserError: other work of the comparison goes on, or no run has succeeded.
    """
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        under_way = open_jobs(experiment, LATENCY_JOBS).first()
        if under_way:
            return under_way
        if not experiment.launched_at or open_jobs(experiment).exists():
            raise UserError("Work of this comparison goes on, and it would disturb the timing. Measure when everything has ended.")
        if not runs_of(experiment).filter(job__state=JobState.SUCCEEDED).exclude(approach__family=Family.HOSTED).exists():
            raise UserError(
                "No run on a model of your own has succeeded, so there is nothing to time. Calls of endpoints are timed as made."
            )
        return latency_queue(experiment=experiment, by=by, occasion=uuid4().hex)


def experiment_cancel(*, experiment: Experiment, by: User | None) -> int:
    """Stop everything of a comparison that has not ended; what has succeeded is kept and compared, not timed. Returns how many jobs.

    The test set stays closed: a person who stops the work has not asked for it.
    """
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        if not TestOpening.objects.filter(experiment=experiment).exists():
            Experiment.objects.filter(pk=experiment.pk).update(open_test_when_finished=False, curve_when_finished=False)
        jobs = list(open_jobs(experiment, RUN_JOBS | EVALUATE_JOBS | LATENCY_JOBS))
        for job in jobs:
            job_cancel(job=job, by=by)
        experiment_advance(experiment=experiment)
    return len(jobs)


def run_cancel(*, run: Run, by: User | None) -> None:
    """Stop one run.

    Raises:
        JobAlreadyEnded: it has ended.
    """
    with transaction.atomic():
        job_cancel(job=run.job, by=by)
        experiment_advance(experiment=run.approach.experiment)


def run_retry(*, run: Run, by: User | None) -> None:
    """Start a run again that failed, was set aside or was stopped; with it, its failed evaluations.

    A search and a training go on where they were.

    Raises:
        UserError: there is nothing to try again.
    """
    with transaction.atomic():
        mine = Q(run=run) | Q(evaluations__run=run)
        jobs = list(Job.objects.filter(mine, state__in=[JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED]).distinct())
        if not jobs:
            raise UserError("This run has neither failed nor been stopped, so there is nothing to start again.")
        for job in jobs:
            job_retry(job=job, by=by)
        Experiment.objects.filter(pk=run.approach.experiment_id).update(finished_at=None)


def experiment_go_on(*, experiment: Experiment, by: User | None) -> int:
    """Start everything of a comparison again that somebody stopped, each run where it was. Returns how many runs.

    Raises:
        UserError: nothing was stopped.
    """
    stopped = Q(job__state=JobState.CANCELLED) | Q(evaluations__split=Split.TEST, evaluations__job__state=JobState.CANCELLED)
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        runs = list(runs_of(experiment).filter(stopped).distinct())
        if not runs:
            raise UserError("No run of this comparison is stopped, so there is nothing to go on with.")
        for run in runs:
            run_retry(run=run, by=by)
    return len(runs)


def comparison_retry(*, experiment: Experiment, by: User | None) -> None:
    """Try the latest comparisons again that could not be computed.

    Raises:
        UserError: none failed.
    """
    failed = Q(kind=JobKind.COMPARE, state__in=[JobState.FAILED, JobState.QUARANTINED])
    with transaction.atomic():
        jobs = list(experiment_jobs(experiment).filter(failed))
        if not jobs:
            raise UserError("No comparison has failed, so there is nothing to try again.")
        for job in jobs:
            job_retry(job=job, by=by)
        Experiment.objects.filter(pk=experiment.pk).update(finished_at=None)
