"""A worker's hold on a job: claim, renew, record, let go. Every write is conditional on the current fence.

The database's clock alone decides when a lease ends, so a worker with a wrong clock changes nothing. Knows no noun that a job serves.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Now

from experiments.database_clock import from_now
from experiments.models import Attempt, Job, JobState, Prediction
from experiments.services.endings import experiment_lock, job_ended

PHASES = ["starting", "loading", "teaching", "training", "searching", "trying", "scoring", "timing"]
SET_ASIDE = (
    "This job ended its worker process again and again without getting further, so it was set aside. "
    "Look at the log below, change the settings or the data, and start it again."
)


class LeaseLost(Exception):
    """Somebody else holds the job, or it has ended: whatever this worker has must not be written."""


@dataclass(frozen=True)
class Lease:
    """The right to write for one job until it is lost. `mark` is how far any attempt had come when this one began."""

    job_id: UUID
    fence: int
    attempt_id: int
    kind: str
    payload: dict[str, Any]
    mark: list[int]


def job_claim(*, job_id: UUID | str, worker: str) -> Lease | None:
    """Take a queued job whose time has come. None when it is not there to be taken: the hint was old or sent twice."""
    is_due = Q(not_before=None) | Q(not_before__lte=Now())
    with transaction.atomic():
        claimed = Job.objects.filter(is_due, pk=job_id, state=JobState.QUEUED, cancel_requested_at=None).update(
            state=JobState.RUNNING,
            fence=F("fence") + 1,
            num_attempts=F("num_attempts") + 1,
            lease_until=from_now(settings.JOB_LEASE_SECONDS),
            worker=worker,
            started_at=Now(),
            progress_at=Now(),
        )
        if claimed != 1:
            return None
        job = Job.objects.get(pk=job_id)
        attempt = Attempt.objects.create(job=job, fence=job.fence, worker=worker)
    return Lease(job.pk, job.fence, attempt.pk, job.kind, job.payload, job.progress.get("mark", []))


def lease_renew(*, lease: Lease) -> bool:
    """Extend the lease; returns whether a person has asked the job to stop. Inside a transaction it also guards what follows.

    Raises:
        LeaseLost: the fence has moved on.
    """
    if _held(lease).update(lease_until=from_now(settings.JOB_LEASE_SECONDS)) != 1:
        raise LeaseLost(lease)
    return lease_is_cancelled(lease=lease)


def lease_is_cancelled(*, lease: Lease) -> bool:
    """Whether a person has asked the job to stop. Reads only."""
    return _held(lease).filter(cancel_requested_at__isnull=False).exists()


def lease_record(*, lease: Lease, progress: dict[str, Any]) -> None:
    """Store the engine's progress. Getting further than any attempt before clears the count of fruitless crashes.

    Raises:
        LeaseLost: the fence has moved on.
    """
    mark = max(lease.mark, _mark(progress))
    changes: dict[str, Any] = {"progress": progress | {"mark": mark}, "progress_at": Now()}
    if mark > lease.mark:
        changes["crashes_without_progress"] = 0
    if _held(lease).update(**changes) != 1:
        raise LeaseLost(lease)


def lease_finish(
    *, lease: Lease, state: JobState, error_kind: str = "", error: str = "", detail: str = "", peak_memory_bytes: int | None = None
) -> None:
    """Bring the job to its end, with everything that follows from it, in one transaction (the caller's, if there is one).

    Raises:
        LeaseLost: the fence has moved on.
    """
    with transaction.atomic():
        experiment_lock(job_id=lease.job_id, kind=lease.kind)
        ended = _held(lease).update(
            state=state, lease_until=None, finished_at=Now(), error_kind=error_kind, error=error, error_detail=detail
        )
        if ended != 1:
            raise LeaseLost(lease)
        _attempt_end(lease.attempt_id, state, detail, peak_memory_bytes)
        job_ended(job=Job.objects.get(pk=lease.job_id))


def lease_release(*, lease: Lease) -> None:
    """Give the job back unharmed, because this worker is asked to leave. Not a crash; a job that was to stop ends."""
    _requeue(_held(lease), "requeued", "The worker was asked to stop.", crashed=False)


def lease_crash(*, lease: Lease, detail: str) -> None:
    """The process that did the work died. The job is queued again after a pause, or set aside when that has happened too often."""
    _requeue(_held(lease), "lost", detail, crashed=True)


def lease_expire(*, job_id: UUID) -> bool:
    """Take a job from a worker that stopped renewing. False when its lease is alive after all."""
    expired = Job.objects.filter(pk=job_id, state=JobState.RUNNING, lease_until__lt=Now())
    return _requeue(expired, "lost", "The worker stopped answering.", crashed=True)


def _held(lease: Lease) -> QuerySet[Job]:
    return Job.objects.filter(pk=lease.job_id, fence=lease.fence, state=JobState.RUNNING)


def _mark(progress: dict[str, Any]) -> list[int]:
    """How far a job is, in an order that only grows while it gets on."""
    phase = str(progress.get("phase"))
    rank = PHASES.index(phase) if phase in PHASES else 0
    return [int(progress.get("step") or 0), rank, int(progress.get("rows") or 0)]


def _requeue(jobs: QuerySet[Job], outcome: str, detail: str, *, crashed: bool) -> bool:
    """Move one running job on: to the queue, or to its end when it was to stop or has crashed too often. One conditional update."""
    with transaction.atomic():
        job = jobs.first()
        if job is None:
            return False
        experiment_lock(job_id=job.pk, kind=job.kind)
        if jobs.filter(fence=job.fence).update(**_crash_changes(detail) if crashed else _release_changes()) != 1:
            return False
        _attempt_end(Attempt.objects.values_list("pk", flat=True).get(job=job, fence=job.fence), outcome, detail, None)
        job.refresh_from_db()
        if job.has_ended:
            job_ended(job=job)
    return True


def _release_changes() -> dict[str, Any]:
    cancelled = When(cancel_requested_at__isnull=False, then=Value(JobState.CANCELLED))
    return {
        "state": Case(cancelled, default=Value(JobState.QUEUED)),
        "finished_at": Case(When(cancel_requested_at__isnull=False, then=Now())),
        "lease_until": None,
        "dispatched_at": None,
        "worker": "",
    }


def _crash_changes(detail: str) -> dict[str, Any]:
    """The update after a crash. Right-hand sides see the counts from before it."""
    cancelled = Q(cancel_requested_at__isnull=False)
    poisonous = Q(crashes_without_progress__gte=settings.JOB_MAX_CRASHES_WITHOUT_PROGRESS - 1) | Q(
        num_crashes__gte=settings.JOB_MAX_CRASHES - 1
    )
    quarantined = ~cancelled & poisonous
    return _release_changes() | {
        "state": Case(
            When(cancelled, then=Value(JobState.CANCELLED)),
            When(poisonous, then=Value(JobState.QUARANTINED)),
            default=Value(JobState.QUEUED),
        ),
        "finished_at": Case(When(cancelled | poisonous, then=Now())),
        "not_before": _back_off(),
        "num_crashes": F("num_crashes") + 1,
        "crashes_without_progress": F("crashes_without_progress") + 1,
        "error_kind": Case(When(quarantined, then=Value("quarantined")), default=Value("")),
        "error": Case(When(quarantined, then=Value(SET_ASIDE)), default=Value("")),
        "error_detail": detail,
    }


def _back_off() -> Case:
    """The first crash is nobody's fault: again at once. Then a sixth of a lease, then a whole one."""
    lease = settings.JOB_LEASE_SECONDS
    return Case(
        When(crashes_without_progress=0, then=Now()),
        When(crashes_without_progress=1, then=from_now(lease / 6)),
        default=from_now(lease),
    )


def _attempt_end(attempt_id: int, outcome: str, detail: str, peak_memory_bytes: int | None) -> None:
    """Close an attempt. What a losing one had stored is never read, so it goes."""
    Attempt.objects.filter(pk=attempt_id).update(
        outcome=outcome, detail=detail, peak_memory_bytes=peak_memory_bytes, ended_at=Coalesce(F("ended_at"), Now())
    )
    if outcome != JobState.SUCCEEDED:
        Prediction.objects.filter(attempt_id=attempt_id).delete()
