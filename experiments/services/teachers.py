"""Letting a run answer train or unlabelled rows, so that tuned approaches can learn from what it says. Knows no test rows."""

from django.db import transaction

from experiments.errors import UserError
from experiments.models import Evaluation, JobKind, JobState, Run, Split, User
from experiments.models.comparisons import Family
from experiments.planning.teachers import TEACHABLE
from experiments.services.audit import audit_record
from experiments.services.experiment_jobs import queue_of
from experiments.services.job_queue import job_create
from experiments.services.jobs import job_retry


def answers_start(*, run: Run, by: User | None, split: Split = Split.TRAIN, num_rows: int | None = None) -> Evaluation:
    """Queue the answers of a run to rows that may teach. Asked for again, the same answers are given back, or tried again if they failed.

    Args:
        split: train or unlabelled.
        num_rows: most rows, drawn by chance and without their labels; None answers all. A hosted model bills each one.
    Raises:
        UserError: the run has nothing to teach, or there are no such rows.
    """
    version = run.approach.experiment.dataset_version
    _check_may_teach(run, split)
    available = version.split_counts.get(split, 0)
    num_rows = None if num_rows is None or num_rows >= available else num_rows
    with transaction.atomic():
        earlier = Evaluation.objects.filter(run=run, dataset_version=version, split=split).select_related("job")
        known = next((each for each in earlier if each.num_rows == num_rows), None)
        if known is not None:
            if known.job.state in (JobState.FAILED, JobState.CANCELLED, JobState.QUARANTINED):
                job_retry(job=known.job, by=by)
            return known
        evaluation = Evaluation(run=run, dataset_version=version, split=split, num_rows=num_rows, repetition=len(earlier))
        workspace = run.approach.experiment.workspace
        payload = {"evaluation": str(evaluation.pk)}
        evaluation.job = job_create(workspace=workspace, kind=JobKind.EVALUATE, queue=queue_of(run.approach), payload=payload, by=by)
        evaluation.save()
        audit_record(by=by, verb=f"let answer {split} rows", target=run, workspace=workspace, detail={"rows": num_rows or available})
    return evaluation


def _check_may_teach(run: Run, split: Split) -> None:
    version = run.approach.experiment.dataset_version
    if split not in TEACHABLE:
        raise UserError(f"The {split} rows teach nobody: choices and figures rest on them. Let the run answer train or unlabelled rows.")
    if run.approach.family == Family.BASELINE:
        raise UserError("A plain baseline has no prompt and no model to teach with. Choose a run of another approach.")
    if run.job.state != JobState.SUCCEEDED:
        raise UserError("This run has not succeeded, so there is nothing yet that could answer. Wait for it, or start it again.")
    if not version.split_counts.get(split):
        remedy = (
            "Add train rows, or draw the splits again." if split == Split.TRAIN else "Keep rows without a label when you upload the data."
        )
        raise UserError(f"{version} has no {split} rows to answer. {remedy}")
