"""The doorway from the queue: a hint names a job, and whoever claims its row does it. Decides nothing and imports no model library."""

import structlog
from celery import shared_task

from experiments.services.leases import job_claim
from workers import presence
from workers.perform import job_perform


@shared_task(name="workers.execute_job")  # type: ignore[untyped-decorator]
def execute_job(job_id: str) -> None:
    """Do the job that the hint names, unless somebody else has it."""
    lease = job_claim(job_id=job_id, worker=presence.process_name())
    if lease is None:
        return
    with structlog.contextvars.bound_contextvars(job=job_id, fence=lease.fence, kind=lease.kind):
        job_perform(lease)
