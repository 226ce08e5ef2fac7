"""A comparison's life: stored, launched, its test set opened, its runs cancelled or tried again, its tables kept.

Each function that moves a state is one transaction. Knows no request and computes no statistics.
"""

from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import (
    Approach,
    ComparisonTable,
    Evaluation,
    Experiment,
    Focus,
    Job,
    JobKind,
    JobState,
    Queue,
    Run,
    Split,
    TestOpening,
    User,
    Workspace,
)
from experiments.models.comparisons import Family
from experiments.models.datasets import Task
from experiments.plan_checks import plan_problems
from experiments.plans import ApproachPlan, ExperimentPlan, FocusPlan
from experiments.recipes import recipe_options, split_teaching, teaching_defaults
from experiments.services.audit import audit_record
from experiments.services.job_queue import job_create
from experiments.services.jobs import job_cancel, job_retry
from experiments.services.latency import latency_applied, latency_key, latency_queue
from experiments.teachers import Teacher

RUN_JOBS = Q(kind=JobKind.RUN)
EVALUATE_JOBS = Q(kind=JobKind.EVALUATE)
LATENCY_JOBS = Q(kind=JobKind.LATENCY)


class CannotLaunch(UserError):
    """Something stands against the launch; `problems` holds a sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(" ".join(problems))


def experiment_start(*, workspace: Workspace, by: User | None, plan: ExperimentPlan, key: str) -> Experiment:
    """Store and launch in one step. The same key gives the same comparison, however often it is sent.

    Raises:
        CannotLaunch: the plan has problems; nothing is stored.
    """
    try:
        with transaction.atomic():
            known = Experiment.objects.filter(workspace=workspace, launch_key=key).first()
            if known:
                return known
            return experiment_launch(experiment=experiment_create(workspace=workspace, by=by, plan=plan), by=by, key=key)
    except IntegrityError:
        # The same launch, sent twice at once: the other request won, and its comparison is the answer to both.
        return Experiment.objects.get(workspace=workspace, launch_key=key)


def experiment_create(*, workspace: Workspace, by: User | None, plan: ExperimentPlan) -> Experiment:
    """Store a comparison and its approaches, every option written out. Nothing runs yet.

    Raises:
        CannotLaunch: the plan has problems; nothing is stored.
    """
    problems = plan_problems(plan)
    if problems:
        raise CannotLaunch(problems)
    with transaction.atomic():
        experiment = Experiment.objects.create(
            workspace=workspace,
            name=plan.name,
            description=plan.description,
            dataset_version=plan.dataset_version,
            price_book=plan.price_book,
            seeds=list(plan.seeds),
            configurations=plan.configurations,
            too_long=plan.too_long,
            truncate_column=plan.truncate_column,
            margin=plan.margin,
            monthly_requests=plan.monthly_requests,
            endpoint_requests=plan.endpoint_requests,
            endpoint_money=plan.endpoint_money,
            open_test_when_finished=plan.open_test_when_finished,
            curve_when_finished=plan.curve_when_finished,
            generation=plan.generation.to_json() if plan.dataset_version.task == Task.EXTRACTION else {},
            created_by=by,
        )
        made = [(_approach(experiment, position, planned), planned.focus) for position, planned in enumerate(plan.approaches)]
        Approach.objects.bulk_create(approach for approach, _ in made)
        Focus.objects.bulk_create(_focus(approach, focus) for approach, focus in made if focus)
        audit_record(by=by, verb="created", target=experiment, workspace=workspace)
    return experiment


def _approach(experiment: Experiment, position: int, planned: ApproachPlan) -> Approach:
    options, teaching = split_teaching(recipe_options(planned.recipe, planned.options))
    teacher = planned.teacher or Teacher()
    return Approach(
        experiment=experiment,
        position=position,
        name=planned.shown_name,
        family=planned.family,
        method=planned.kind.method,
        recipe=options,
        backbone=planned.backbone,
        template_version=planned.template_version,
        start_artifact=planned.start,
        teacher_version=teacher.version,
        teacher_evaluation=teacher.evaluation,
        teaching=(teaching or teaching_defaults()) if planned.teacher else {},
    )


def _focus(approach: Approach, planned: FocusPlan) -> Focus:
    rows, left_out = list(planned.rows), list(planned.left_out)
    return Focus(approach=approach, run=planned.run, times=planned.times, odds=planned.odds, rows=rows, left_out=left_out)


def experiment_launch(*, experiment: Experiment, by: User | None, key: str) -> Experiment:
    """Write every Run, its validation Evaluation and its Job. A launched comparison is returned as it is."""
    with transaction.atomic():
        experiment = _locked(experiment)
        if experiment.launched_at:
            return experiment
        for approach in experiment.approaches.all():
            for seed in _seeds_of(approach, experiment):
                _run_create(approach, seed, by)
        experiment.launched_at, experiment.launch_key = timezone.now(), key
        experiment.save(update_fields=["launched_at", "launch_key"])
        audit_record(by=by, verb="launched", target=experiment, workspace=experiment.workspace)
    return experiment


def _seeds_of(approach: Approach, experiment: Experiment) -> list[int]:
    """A seed trains a tuned approach; in a learning curve it also draws the rows, whatever learns from them."""
    is_seeded = approach.family in (Family.TUNED, Family.HYBRID) or approach.train_rows is not None
    return list(experiment.seeds) or [0] if is_seeded else [0]


def _run_create(approach: Approach, seed: int, by: User | None) -> Run:
    run = Run(approach=approach, seed=seed)
    workspace = approach.experiment.workspace
    run.job = job_create(workspace=workspace, kind=JobKind.RUN, queue=queue_of(approach), payload={"run": str(run.pk)}, by=by)
    run.save()
    version = approach.experiment.dataset_version
    Evaluation.objects.create(run=run, dataset_version=version, split=Split.VALIDATION, job=run.job)
    return run


def queue_of(approach: Approach) -> Queue:
    """Calls of an endpoint need no accelerator, only patience."""
    return Queue.IO if approach.family == Family.HOSTED else Queue.GPU


def experiment_open_test(*, experiment: Experiment, by: User | None) -> TestOpening:
    """Let the comparison see the test rows: logged, counted, once. Queues a test Evaluation for each run that succeeded.

    Raises:
        UserError: there are no test rows, runs still go on, or none succeeded.
    """
    with transaction.atomic():
        experiment = _locked(experiment)
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
    if _open_jobs(experiment, RUN_JOBS).exists():
        raise UserError("Runs still go on. Choices are made on validation first: open the test set when every run has ended.")
    if not _runs(experiment).filter(job__state=JobState.SUCCEEDED).exists():
        raise UserError("No run has succeeded, so there is nothing to score on the test rows. Retry the failed runs first.")


def _test_evaluations_create(experiment: Experiment, by: User | None) -> int:
    """Queue a test Evaluation for each succeeded run that has none. Returns how many."""
    runs = list(_runs(experiment).filter(job__state=JobState.SUCCEEDED).exclude(evaluations__split=Split.TEST).select_related("approach"))
    for run in runs:
        evaluation = Evaluation(run=run, dataset_version=experiment.dataset_version, split=Split.TEST)
        payload = {"evaluation": str(evaluation.pk)}
        queue = queue_of(run.approach)
        evaluation.job = job_create(workspace=experiment.workspace, kind=JobKind.EVALUATE, queue=queue, payload=payload, by=by)
        evaluation.save()
    return len(runs)


def experiment_advance(*, experiment: Experiment) -> None:
    """Do what is next once jobs have ended: open the test set if asked to, compare, time single requests, mark the end.

    Called in the transaction that ends a job of the comparison, whatever its end. Calling it again changes nothing.
    """
    with transaction.atomic():
        # The lock makes the last two jobs, ending at once on PostgreSQL, see each other's end.
        experiment = _locked(experiment)
        if not experiment.launched_at or _open_jobs(experiment, RUN_JOBS).exists():
            return
        opened = TestOpening.objects.filter(experiment=experiment).exists()
        if not _runs(experiment).filter(job__state=JobState.SUCCEEDED).exists():
            _finish(experiment)
            return
        _compare_queue(experiment, Split.VALIDATION)
        if opened:
            _test_evaluations_create(experiment, by=None)
        elif experiment.open_test_when_finished:
            experiment_open_test(experiment=experiment, by=None)
        if (opened or experiment.open_test_when_finished) and not _open_jobs(experiment, EVALUATE_JOBS).exists():
            _compare_queue(experiment, Split.TEST)
        _conclude(experiment)


def _conclude(experiment: Experiment) -> None:
    """Mark the end when nothing goes on. Single requests are timed last: work of the comparison's own would disturb them."""
    stopped = experiment_jobs(experiment).filter(RUN_JOBS | EVALUATE_JOBS, state=JobState.CANCELLED)
    timed = _runs(experiment).filter(job__state=JobState.SUCCEEDED).exclude(approach__family=Family.HOSTED)
    if not experiment.curve_of_id and not _open_jobs(experiment).exists() and not stopped.exists() and timed.exists():
        runs = experiment_jobs(experiment).filter(RUN_JOBS)
        latency_queue(experiment=experiment, by=None, occasion=f"{runs.count()}:{runs.aggregate(sum=Sum('fence'))['sum']}")
    if not _open_jobs(experiment).exists():
        _finish(experiment)


def experiment_baseline_choose(*, experiment: Experiment, by: User | None, approach: Approach | None) -> None:
    """Choose what the other approaches are measured against, and have the stored tables computed anew.

    Args:
        approach: one of the comparison's own; None goes back to the best written prompt on validation rows.
    """
    with transaction.atomic():
        experiment = _locked(experiment)
        if experiment.baseline_id == (approach.pk if approach else None):
            return
        Experiment.objects.filter(pk=experiment.pk).update(baseline=approach)
        # A choice that was made before and is made again asks for work anew, so each choice has a number.
        number = experiment_jobs(experiment).filter(kind=JobKind.COMPARE).count()
        for split in experiment.tables.values_list("split", flat=True):
            _compare_queue(experiment, Split(split), mark=f":baseline{number}")
        detail = {"baseline": approach.name if approach else "best written prompt"}
        audit_record(by=by, verb="chose the baseline of", target=experiment, workspace=experiment.workspace, detail=detail)


def _compare_queue(experiment: Experiment, split: Split, mark: str = "") -> None:
    """Queue the comparison of a split, once for each state of its results: a retried job has a higher fence."""
    # Train rows are scored to find mistakes; no table rests on them.
    jobs = experiment_jobs(experiment).filter(RUN_JOBS if split == Split.VALIDATION else EVALUATE_JOBS & Q(evaluations__split=split))
    fences = jobs.aggregate(sum=Sum("fence"))["sum"] or 0
    key = f"{compare_key(experiment)}:{split}:{jobs.count()}:{fences}{mark}"
    payload = {"experiment": str(experiment.pk), "split": str(split)}
    job_create(workspace=experiment.workspace, kind=JobKind.COMPARE, queue=Queue.IO, payload=payload, by=None, idempotency_key=key)


def compare_key(experiment: Experiment) -> str:
    """What the idempotency keys of all comparison jobs of an experiment begin with."""
    return f"compare:{experiment.pk}"


def comparison_store(*, experiment: Experiment, split: str, payload: dict[str, Any], job: Job | None) -> ComparisonTable:
    """Keep the comparison of a split, replacing an older one."""
    with transaction.atomic():
        experiment = _locked(experiment)
        kept = {"payload": latency_applied(payload, experiment.latency), "job": job}
        table, _ = ComparisonTable.objects.update_or_create(experiment=experiment, split=split, defaults=kept)
    return table


def experiment_measure_latency(*, experiment: Experiment, by: User | None) -> Job:
    """Time single requests of every approach anew. A pass that is under way already is the answer.

    Raises:
        UserError: other work of the comparison goes on, or no run has succeeded.
    """
    with transaction.atomic():
        experiment = _locked(experiment)
        under_way = _open_jobs(experiment, LATENCY_JOBS).first()
        if under_way:
            return under_way
        if not experiment.launched_at or _open_jobs(experiment).exists():
            raise UserError("Work of this comparison goes on, and it would disturb the timing. Measure when everything has ended.")
        if not _runs(experiment).filter(job__state=JobState.SUCCEEDED).exclude(approach__family=Family.HOSTED).exists():
            raise UserError(
                "No run on a model of your own has succeeded, so there is nothing to time. Calls of endpoints are timed as made."
            )
        return latency_queue(experiment=experiment, by=by, occasion=uuid4().hex)


def experiment_cancel(*, experiment: Experiment, by: User | None) -> int:
    """Stop everything of a comparison that has not ended; what has succeeded is kept and compared, not timed. Returns how many jobs.

    The test set stays closed: a person who stops the work has not asked for it.
    """
    with transaction.atomic():
        experiment = _locked(experiment)
        if not TestOpening.objects.filter(experiment=experiment).exists():
            Experiment.objects.filter(pk=experiment.pk).update(open_test_when_finished=False, curve_when_finished=False)
        jobs = list(_open_jobs(experiment, RUN_JOBS | EVALUATE_JOBS | LATENCY_JOBS))
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


def experiment_jobs(experiment: Experiment) -> "QuerySet[Job]":
    """Every job of a comparison: runs, evaluations, comparisons and latency passes."""
    runs, evaluations = _runs(experiment), Evaluation.objects.filter(run__approach__experiment=experiment)
    keyed = Q(idempotency_key__startswith=compare_key(experiment)) | Q(idempotency_key__startswith=latency_key(experiment))
    return Job.objects.filter(
        Q(pk__in=runs.values("job")) | Q(pk__in=evaluations.values("job")) | keyed & Q(workspace=experiment.workspace_id)
    )


def _open_jobs(experiment: Experiment, kinds: Q | None = None) -> "QuerySet[Job]":
    return experiment_jobs(experiment).filter(kinds or Q()).exclude(state__in=JobState.terminal())


def _runs(experiment: Experiment) -> "QuerySet[Run]":
    return Run.objects.filter(approach__experiment=experiment)


def _locked(experiment: Experiment) -> Experiment:
    return Experiment.objects.select_for_update(of=("self",)).select_related("workspace", "dataset_version__dataset").get(pk=experiment.pk)


def _finish(experiment: Experiment) -> None:
    """Mark the end, once: a table that is computed again later, for another baseline, does not move it."""
    Experiment.objects.filter(pk=experiment.pk, finished_at=None).update(finished_at=timezone.now())
