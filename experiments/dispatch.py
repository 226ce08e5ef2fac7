"""The only door from the web to Celery. A hint that is lost costs seconds, never a job: the sweep sends it again."""

import time

import structlog
from django.db import transaction

from experiments.models import Job
from promptlab.celery import app

EXECUTE_JOB = "workers.execute_job"
QUIET_SECONDS = 5.0
log = structlog.get_logger(__name__)
_quiet_until = 0.0


def hint_on_commit(job: Job) -> None:
    """Tell the job's queue about it once the transaction has committed."""
    transaction.on_commit(lambda: send_hint(job))


def send_hint(job: Job) -> bool:
    """Send one message that names the job. Returns False, and logs, when the broker is away: nobody gets an error for it.

    After a fault nothing is sent for a few seconds, so that a launch of many jobs waits for one connection that fails, not for each.
    """
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return False
    try:
        app.send_task(EXECUTE_JOB, args=[str(job.pk)], queue=job.queue, retry=False)
    except Exception as error:  # noqa: BLE001 - any broker fault: the sweep sends the hint again
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("hint_not_sent", job=str(job.pk), error=type(error).__name__)
        return False
    return True
