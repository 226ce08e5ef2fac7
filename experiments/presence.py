"""Whether workers are there for a queue, and what they can do. Reads the table of workers; knows no job's ending and writes nothing."""

from collections.abc import Iterable

from experiments.database_clock import from_now
from experiments.models import Job, Queue, Worker

WORKER_GONE_SECONDS = 15.0  # three missed heartbeats of an idle worker
WORK = {
    Queue.GPU: "tuning and scoring",
    Queue.IO: "reading data and computing comparisons",
    Queue.HOSTED: "asking hosted models",
    Queue.INTERACTIVE: "trying prompts and checking models",
}


def queue_health(queue: Queue | str) -> str | None:
    """A sentence when no worker serves the queue, else None."""
    if Worker.objects.filter(queue=queue, seen_at__gte=from_now(-WORKER_GONE_SECONDS)).exists():
        return None
    return (
        f"No worker for {WORK[Queue(queue)]} is running, so this waits. Nothing is lost: it starts by itself once a worker for the "
        f"queue “{queue}” is there. Ask whoever runs this installation to start one."
    )


def queues_health(queues: Iterable[Queue | str]) -> list[str]:
    """The sentences of those queues that no worker serves, each once."""
    return [sentence for queue in sorted(set(queues)) if (sentence := queue_health(queue))]


def job_health(job: Job | None) -> str | None:
    """A sentence when a job waits for a worker that is not there, else None."""
    return None if job is None or job.has_ended else queue_health(job.queue)


def extras_of(queue: Queue | str) -> set[str]:
    """The extras that every running worker of a queue has; none where no worker runs. Any of them may get the job."""
    serving = Worker.objects.filter(queue=queue, seen_at__gte=from_now(-WORKER_GONE_SECONDS))
    known = [set(device.get("extras", [])) for device in serving.values_list("device", flat=True)]
    return set.intersection(*known) if known else set()
