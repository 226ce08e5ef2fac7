"""Jobs that people stop or start again.

Where they are made stands in `job_queue`, what workers do with them in `leases`, and what follows from an ending in `endings`.
"""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from experiments.dispatch import hint_on_commit
from experiments.errors import UserError
from experiments.models import Job, JobState, User
from experiments.services.audit import audit_record
from experiments.services.endings import experiment_lock, job_ended


class JobAlreadyEnded(UserError):
    """The job is in a terminal state, so it cannot be stopped."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"This has ended already ({job.get_state_display().lower()}), so there is nothing left to stop.")


class JobNotStopped(UserError):
    """Only what ended without a result can be tried again."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"Only what failed, was stopped or was set aside starts again; this has {job.get_state_display().lower()}.")


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
