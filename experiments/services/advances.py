"""What a comparison does next once jobs have ended: its test set is opened, its tables are queued, requests are timed, its end is marked.

Queues jobs and knows nothing of how they end, so that every ending can call it.
"""

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import Evaluation, Experiment, JobKind, JobState, Queue, Split, TestOpening, User
from experiments.models.comparisons import Family
from experiments.services.audit import audit_record
from experiments.services.experiment_jobs import (
    EVALUATE_JOBS,
    RUN_JOBS,
    compare_key,
    experiment_jobs,
    experiment_locked,
    open_jobs,
    queue_of,
    runs_of,
)
from experiments.services.job_queue import job_create
from experiments.services.latency import latency_queue


def experiment_advance(*, experiment: Experiment) -> None:
    """Do what is next once jobs have ended: open the test set if asked to, compare, time single requests, mark the end.

    Called in the transaction that ends a job of the comparison, whatever its end. Calling it again changes nothing.
    """
    with transaction.atomic():
        # The lock makes the last two jobs, ending at once on PostgreSQL, see each other's end.
        experiment = experiment_locked(experiment)
        if not experiment.launched_at or open_jobs(experiment, RUN_JOBS).exists():
            return
        opened = TestOpening.objects.filter(experiment=experiment).exists()
        if not runs_of(experiment).filter(job__state=JobState.SUCCEEDED).exists():
            _finish(experiment)
            return
        compare_queue(experiment, Split.VALIDATION)
        if opened:
            _test_evaluations_create(experiment, by=None)
        elif experiment.open_test_when_finished:
            experiment_open_test(experiment=experiment, by=None)
        if (opened or experiment.open_test_when_finished) and not open_jobs(experiment, EVALUATE_JOBS).exists():
            compare_queue(experiment, Split.TEST)
            # Passes over test rows measured speed too. Without them the two tables would tell two costs of one approach.
            compare_queue(experiment, Split.VALIDATION, mark=f":test:{_state_of(experiment, Split.TEST)}")
        _conclude(experiment)


def _conclude(experiment: Experiment) -> None:
    """Mark the end when nothing goes on. Single requests are timed last: work of the comparison's own would disturb them."""
    stopped = experiment_jobs(experiment).filter(RUN_JOBS | EVALUATE_JOBS, state=JobState.CANCELLED)
    timed = runs_of(experiment).filter(job__state=JobState.SUCCEEDED).exclude(approach__family=Family.HOSTED)
    if not experiment.curve_of_id and not open_jobs(experiment).exists() and not stopped.exists() and timed.exists():
        runs = experiment_jobs(experiment).filter(RUN_JOBS)
        latency_queue(experiment=experiment, by=None, occasion=f"{runs.count()}:{runs.aggregate(sum=Sum('fence'))['sum']}")
    if not open_jobs(experiment).exists():
        _finish(experiment)


def experiment_open_test(*, experiment: Experiment, by: User | None) -> TestOpening:
    """Let the comparison see the test rows: logged, counted, once. Queues a test Evaluation for each run that succeeded.

    Raises:
        UserError: there are no test rows, runs still go on, or none succeeded.
    """
    with transaction.atomic():
        experiment = experiment_locked(experiment)
        opening = TestOpening.objects.filter(experiment=experiment).first()
        if opening:
            return opening
        _check_may_open(experiment)
        opening = TestOpening.objects.create(version=experiment.dataset_version, experiment=experiment, opened_by=by)
        Experiment.objects.filter(pk=experiment.pk).update(finished_at=None)
        _test_evaluations_create(experiment, by)
        audit_record(by=by, verb="opened the test set of", target=experiment, workspace=experiment.workspace)
    return opening


def _check_may_open(experiment: Experiment) -> None:
    if experiment.curve_of_id:
        raise UserError("A learning curve is drawn on validation rows. Open the test set of the comparison that it belongs to.")
    if not experiment.dataset_version.split_counts.get(Split.TEST):
        raise UserError(f"{experiment.dataset_version} has no test rows, so there is nothing to open.")
    if open_jobs(experiment, RUN_JOBS).exists():
        raise UserError("Runs still go on. Choices are made on validation first: open the test set when every run has ended.")
    if not runs_of(experiment).filter(job__state=JobState.SUCCEEDED).exists():
        raise UserError("No run has succeeded, so there is nothing to score on the test rows. Retry the failed runs first.")


def _test_evaluations_create(experiment: Experiment, by: User | None) -> int:
    """Queue a test Evaluation for each succeeded run that has none. Returns how many."""
    runs = list(runs_of(experiment).filter(job__state=JobState.SUCCEEDED).exclude(evaluations__split=Split.TEST).select_related("approach"))
    for run in runs:
        evaluation = Evaluation(run=run, dataset_version=experiment.dataset_version, split=Split.TEST)
        payload = {"evaluation": str(evaluation.pk)}
        queue = queue_of(run.approach)
        evaluation.job = job_create(workspace=experiment.workspace, kind=JobKind.EVALUATE, queue=queue, payload=payload, by=by)
        evaluation.save()
    return len(runs)


def compare_queue(experiment: Experiment, split: Split, mark: str = "") -> None:
    """Queue the comparison of a split, once for each state of its results: a retried job has a higher fence."""
    key = f"{compare_key(experiment)}:{split}:{_state_of(experiment, split)}{mark}"
    payload = {"experiment": str(experiment.pk), "split": str(split)}
    job_create(workspace=experiment.workspace, kind=JobKind.COMPARE, queue=Queue.IO, payload=payload, by=None, idempotency_key=key)


def _state_of(experiment: Experiment, split: Split) -> str:
    """The state of a split's results: how many jobs make them, and how often those were tried."""
    # Train rows are scored to find mistakes; no table rests on them.
    jobs = experiment_jobs(experiment).filter(RUN_JOBS if split == Split.VALIDATION else EVALUATE_JOBS & Q(evaluations__split=split))
    return f"{jobs.count()}:{jobs.aggregate(sum=Sum('fence'))['sum'] or 0}"


def _finish(experiment: Experiment) -> None:
    """Mark the end, once: a table that is computed again later, for another baseline, does not move it."""
    Experiment.objects.filter(pk=experiment.pk, finished_at=None).update(finished_at=timezone.now())
