"""What an attempt brings home: predictions in fenced batches, then everything else in one fenced transaction.

A score comes from one attempt only: the final commit names it, and the predictions of every other attempt are deleted or never read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from experiments.errors import UserError
from experiments.models import (
    Artifact,
    Backbone,
    ComparisonTable,
    Evaluation,
    Example,
    Experiment,
    JobState,
    Prediction,
    Preview,
    Run,
    Score,
)
from experiments.services.backbones import backbone_verified
from experiments.services.endings import experiment_lock
from experiments.services.latency import latency_applied
from experiments.services.leases import Lease, lease_finish, lease_renew
from experiments.services.scores import scores_compute
from experiments.services.trials import search_finish, trial_win

BATCH_ROWS = 500


class RowsMissing(UserError):
    """The engine answered for fewer or more rows than the split has: nothing of it can be scored."""

    def __init__(self, evaluation: Evaluation, given: int, expected: int) -> None:
        super().__init__(
            f"{given:,} predictions came back for the {expected:,} {evaluation.split} rows, so they make no score. Start the run again."
        )


@dataclass(frozen=True)
class EvaluationSummary:
    """One finished evaluation: the engine's record of it, without rows."""

    evaluation: Evaluation
    summary: dict[str, Any]


@dataclass(frozen=True)
class ArtifactFiles:
    """A tuned part whose files are in storage already: {name: {sha256, bytes}}."""

    files: dict[str, dict[str, Any]]
    manifest: dict[str, Any]
    num_bytes: int


def predictions_store(*, lease: Lease, evaluation: Evaluation, predictions: Iterable[Prediction]) -> int:
    """Store an attempt's predictions of one evaluation, in short transactions that each check and extend the lease.

    Raises:
        LeaseLost: the fence has moved on; nothing of the batch is stored.
        RowsMissing: there is not exactly one prediction a row.
    """
    stored, remaining = 0, iter(predictions)
    while batch := list(islice(remaining, BATCH_ROWS)):
        for prediction in batch:
            prediction.evaluation_id, prediction.attempt_id = evaluation.pk, lease.attempt_id
        with transaction.atomic():
            lease_renew(lease=lease)
            Prediction.objects.bulk_create(batch)
        stored += len(batch)
    expected = Example.objects.filter(version=evaluation.dataset_version_id, split=evaluation.split).count()
    expected = min(expected, evaluation.num_rows or expected)
    if stored != expected:
        raise RowsMissing(evaluation, stored, expected)
    return stored


def run_commit(
    *,
    lease: Lease,
    evaluations: list[EvaluationSummary],
    result: dict[str, Any],
    artifact: ArtifactFiles | None,
    peak_memory_bytes: int | None,
) -> None:
    """The one moment in which an attempt wins: scores, artifact, the run's record and the job's end, all or nothing.

    Raises:
        LeaseLost: the fence has moved on; nothing is written.
    """
    scores = [score for done in evaluations for score in scores_compute(evaluation=done.evaluation, attempt_id=lease.attempt_id)]
    with transaction.atomic():
        experiment_lock(job_id=lease.job_id, kind=lease.kind)
        lease_renew(lease=lease)
        Score.objects.filter(evaluation__in=[done.evaluation for done in evaluations]).delete()
        Score.objects.bulk_create(scores)
        for done in evaluations:
            Evaluation.objects.filter(pk=done.evaluation.pk).update(attempt=lease.attempt_id, summary=done.summary, completed_at=Now())
        if "run" in lease.payload:
            _run_record(lease, result, artifact)
        lease_finish(lease=lease, state=JobState.SUCCEEDED, peak_memory_bytes=peak_memory_bytes)


def preview_commit(*, lease: Lease, result: dict[str, Any]) -> None:
    """Keep what a tried prompt answered. Raises LeaseLost when the fence has moved on."""
    with transaction.atomic():
        lease_renew(lease=lease)
        Preview.objects.filter(pk=lease.payload["preview"]).update(result=result)
        lease_finish(lease=lease, state=JobState.SUCCEEDED)


def explanation_commit(*, lease: Lease, ablation: dict[str, Any]) -> None:
    """Keep what each learned token of a run is worth. Raises LeaseLost when the fence has moved on."""
    with transaction.atomic():
        lease_renew(lease=lease)
        Artifact.objects.filter(run=lease.payload["explain"], explain_job=lease.job_id).update(explanation=ablation)
        lease_finish(lease=lease, state=JobState.SUCCEEDED)


def inspection_commit(*, lease: Lease, facts: dict[str, Any]) -> None:
    """Keep what a worker found in a model. Raises LeaseLost when the fence has moved on."""
    with transaction.atomic():
        lease_renew(lease=lease)
        backbone_verified(backbone=Backbone.objects.get(pk=lease.payload["backbone"]), facts=facts)
        lease_finish(lease=lease, state=JobState.SUCCEEDED)


def _run_record(lease: Lease, result: dict[str, Any], artifact: ArtifactFiles | None) -> None:
    run_id = lease.payload["run"]
    if search := (result.get("written") or {}).get("search"):
        run = Run.objects.select_related("approach__template_version__template", "job").get(pk=run_id)
        found = search_finish(run=run, search=search)
        search["version"] = str(found.pk) if found else None
    Run.objects.filter(pk=run_id).update(result=result)
    if sweep := result.get("sweep"):
        trial_win(run_id=run_id, number=sweep["winner"])
    Artifact.objects.filter(run=run_id).delete()
    if artifact:
        Artifact.objects.create(
            run_id=run_id, attempt_id=lease.attempt_id, files=artifact.files, manifest=artifact.manifest, num_bytes=artifact.num_bytes
        )


def latency_commit(*, lease: Lease, report: dict[str, Any]) -> None:
    """Keep a latency pass and bring its figures into the tables.

    Args:
        report: the engine's record: figures by approach id, the machine and what else it had to do.
    Raises:
        LeaseLost: the fence has moved on; nothing is written.
    """
    with transaction.atomic():
        experiment_lock(job_id=lease.job_id, kind=lease.kind)
        lease_renew(lease=lease)
        latency = {**report, "measured_at": timezone.now().isoformat(timespec="seconds")}
        Experiment.objects.filter(pk=lease.payload["experiment"]).update(latency=latency)
        for table in ComparisonTable.objects.filter(experiment=lease.payload["experiment"]):
            table.payload = latency_applied(table.payload, latency)
            table.save(update_fields=["payload", "computed_at"])
        lease_finish(lease=lease, state=JobState.SUCCEEDED)
