"""Jobs as people and pages see them: made, cancelled, tried again, and whether anybody is there to do them.

Workers use `experiments.services.leases`; what follows from an ending stands in `experiments.services.endings`.
"""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from experiments.dispatch import hint_on_commit
from experiments.errors import UserError
from experiments.models import Job, JobKind, JobState, Queue, User, Worker, Workspace
from experiments.services.audit import audit_record
from experiments.services.endings import experiment_lock, job_ended
from experiments.services.leases import Lease, LeaseLost, from_now, job_claim

__all__ = ["JobAlreadyEnded", "JobNotStopped", "Lease", "LeaseLost", "job_cancel", "job_claim", "job_create", "job_retry", "queue_health"]

WORKER_GONE_SECONDS = 15.0  # three missed heartbeats of an idle worker
WORK = {
    Queue.GPU: "tuning and scoring",
    Queue.IO: "reading data and computing comparisons",
    Queue.INTERACTIVE: "trying prompts and checking models",
}


class JobAlreadyEnded(UserError):
    """The job is in a terminal state, so it cannot be stopped."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"This has ended already ({job.get_state_display().lower()}), so there is nothing left to cancel.")


class JobNotStopped(UserError):
    """Only what ended without a result can be tried again."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"Only what failed, was cancelled or was set aside starts again; this has {job.get_state_display().lower()}.")


def job_create(
    *, workspace: Workspace, kind: JobKind, queue: Queue, payload: dict[str, Any], by: User | None, idempotency_key: str | None = None
) -> Job:
    """Queue a piece of work, and tell the queue once the caller's transaction has committed. A repeated key gives the first job back.

    Args:
        payload: ids and settings, never data.
        idempotency_key: unique in the workspace; None makes a new job each time.
    """
    wanted = {"kind": kind, "queue": queue, "payload": payload, "created_by": by}
    with transaction.atomic():
        if idempotency_key is None:
            job, is_new = Job.objects.create(workspace=workspace, **wanted), True
        else:
            job, is_new = Job.objects.get_or_create(workspace=workspace, idempotency_key=idempotency_key, defaults=wanted)
        if is_new:
            Job.objects.filter(pk=job.pk).update(dispatched_at=Now())
            hint_on_commit(job)
    return job


def job_cancel(*, job: Job, by: User | None) -> None:
    """Ask a job to stop. A queued job ends at once; a running one ends when its worker next looks.

    Raises:
        JobAlreadyEnded: the job is in a terminal state.
    """
    with transaction.atomic():
        experiment_lock(job_id=job.pk, kind=job.kind)
        alive = Job.objects.filter(pk=job.pk, state__in=[JobState.QUEUED, JobState.RUNNING])
        if alive.update(cancel_requested_at=Coalesce(F("cancel_requested_at"), Now())) != 1:
            job.refresh_from_db()
            raise JobAlreadyEnded(job)
        audit_record(by=by, verb="cancelled", target=job, workspace=job.workspace)
        job_end_cancelled(job=job)
    job.refresh_from_db()


def job_end_cancelled(*, job: Job) -> bool:
    """End a queued job that is to stop. False when it is not queued: then its worker ends it."""
    with transaction.atomic():
        experiment_lock(job_id=job.pk, kind=job.kind)
        waiting = Job.objects.filter(pk=job.pk, state=JobState.QUEUED, cancel_requested_at__isnull=False)
        if waiting.update(state=JobState.CANCELLED, finished_at=Now()) != 1:
            return False
        job_ended(job=Job.objects.get(pk=job.pk))
    return True


def job_retry(*, job: Job, by: User | None) -> None:
    """Queue a job again that ended without a result, with a fresh allowance of crashes.

    Raises:
        JobNotStopped: the job has succeeded or has not ended.
    """
    with transaction.atomic():
        stopped = Job.objects.filter(pk=job.pk, state__in=[JobState.FAILED, JobState.CANCELLED, JobState.QUARANTINED])
        requeued = stopped.update(
            state=JobState.QUEUED,
            num_crashes=0,
            crashes_without_progress=0,
            not_before=None,
            finished_at=None,
            cancel_requested_at=None,
            dispatched_at=Now(),
            error_kind="",
            error="",
            error_detail="",
        )
        job.refresh_from_db()
        if requeued != 1:
            raise JobNotStopped(job)
        audit_record(by=by, verb="started again", target=job, workspace=job.workspace)
        hint_on_commit(job)


def queue_health(queue: Queue | str) -> str | None:
    """A sentence when no worker serves the queue, else None."""
    if Worker.objects.filter(queue=queue, seen_at__gte=from_now(-WORKER_GONE_SECONDS)).exists():
        return None
    return (
        f"No worker for {WORK[Queue(queue)]} is running, so this waits. Nothing is lost: it starts by itself once a worker for the "
        f"queue “{queue}” is there. Ask whoever runs this installation to start one."
    )


def extras_of(queue: Queue | str) -> set[str]:
    """The extras that every running worker of a queue has; none where no worker runs. Any of them may get the job."""
    serving = Worker.objects.filter(queue=queue, seen_at__gte=from_now(-WORKER_GONE_SECONDS))
    known = [set(device.get("extras", [])) for device in serving.values_list("device", flat=True)]
    return set.intersection(*known) if known else set()
