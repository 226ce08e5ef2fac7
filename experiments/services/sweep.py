"""The sweep: what nobody else will notice. Each step is a set of conditional single-row updates, so several sweeps may run at once."""

import shutil
import time
from pathlib import Path
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from experiments.database_clock import from_now
from experiments.dispatch import send_hint
from experiments.models import Job, JobState, Queue, Worker
from experiments.presence import WORKER_GONE_SECONDS
from experiments.services.jobs import job_end_cancelled
from experiments.services.leases import lease_expire

UNCLAIMED_SECONDS = 15.0
HINTS_A_PASS = 50
DAY_SECONDS = 24 * 3600.0


def sweep() -> dict[str, int]:
    """One pass; returns how much each step found."""
    return {"reclaimed": jobs_reclaim(), "cancelled": jobs_end_cancelled(), "hinted": jobs_hint()}


def jobs_reclaim() -> int:
    """Take jobs from workers whose lease has run out: back to the queue, to their end, or set aside."""
    expired = Job.objects.filter(state=JobState.RUNNING, lease_until__lt=Now()).values_list("pk", flat=True)
    return sum(lease_expire(job_id=job_id) for job_id in list(expired))


def jobs_end_cancelled() -> int:
    """End queued jobs that a person stopped while their worker was dying."""
    return sum(job_end_cancelled(job=job) for job in Job.objects.filter(state=JobState.QUEUED, cancel_requested_at__isnull=False))


def jobs_hint() -> int:
    """Send the hint of waiting jobs again: it was never sent, or nobody came for it though a worker has its hands free."""
    return sum(_hint(job) for queue in Queue if _has_free_hands(queue) for job in _unclaimed(queue)[:HINTS_A_PASS])


def workers_forget() -> int:
    """Drop workers that have been silent for a day."""
    return Worker.objects.filter(seen_at__lt=from_now(-DAY_SECONDS)).delete()[0]


def scratch_clear(*, folder: Path, older_than_seconds: float = DAY_SECONDS) -> int:
    """Delete the folders of jobs that have ended, and shared files, that nothing has touched for a day. Returns how many went."""
    folders = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    stale = [path for path in folders if time.time() - path.stat().st_mtime > older_than_seconds and not _is_wanted(path.name)]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)


def _unclaimed(queue: Queue) -> QuerySet[Job]:
    is_due = Q(not_before=None) | Q(not_before__lte=Now())
    was_not_hinted = Q(dispatched_at=None) | Q(dispatched_at__lt=from_now(-UNCLAIMED_SECONDS))
    return Job.objects.filter(is_due, was_not_hinted, queue=queue, state=JobState.QUEUED).order_by("created_at")


def _hint(job: Job) -> bool:
    """Stamp first, then send: of two sweeps one sends, and a sweep that dies in between costs seconds."""
    return _unclaimed(Queue(job.queue)).filter(pk=job.pk).order_by().update(dispatched_at=Now()) == 1 and send_hint(job)


def _has_free_hands(queue: Queue) -> bool:
    """Whether a worker of the queue could start something now. Without this, a long job would pile up hints for those behind it."""
    seen = Worker.objects.filter(queue=queue, seen_at__gte=from_now(-WORKER_GONE_SECONDS))
    hands = sum(int(device.get("slots", 1)) for device in seen.values_list("device", flat=True))
    return Job.objects.filter(queue=queue, state=JobState.RUNNING).count() < hands


def _is_wanted(name: str) -> bool:
    """Whether a scratch folder belongs to a job that may still come back to it."""
    try:
        job_id = UUID(name)
    except ValueError:
        return False
    return Job.objects.filter(pk=job_id, state__in=[JobState.QUEUED, JobState.RUNNING]).exists()
