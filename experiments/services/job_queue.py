"""Jobs before anybody does them: queued and hinted at. Knows no ending and no worker."""

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from experiments.dispatch import hint_on_commit
from experiments.models import Job, JobKind, Queue, User, Workspace


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
