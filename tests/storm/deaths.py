"""What a person is told when processes are missing or die: `python -m tests.storm.deaths`, over real workers and a scripted engine host.

Prints one JSON object: the sentences, and how long the last one took.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django

from tests.storm.fleet import Fleet

PATIENCE_SECONDS = 120.0


def main() -> None:
    django.setup()
    from django.core.management import call_command

    from experiments.models import Job, Queue
    from experiments.presence import queue_health
    from tests.storm import ledger

    call_command("migrate", verbosity=0)
    ledger.prepare(num_rows=20)
    told = {"before": queue_health(Queue.GPU)}
    with Fleet(Path(os.environ["PROMPTLAB_HOME"]) / "logs") as fleet:
        wait_until(lambda: queue_health(Queue.GPU) is None)
        told["while_it_lives"] = queue_health(Queue.GPU)
        ledger.launch(num_approaches=1)
        for crashes in (1, 2):
            wait_until(lambda: ledger.num_running() == 1)
            wait_until(lambda: fleet.kill("host"))  # it may not have started yet
            wait_until(lambda crashes=crashes: Job.objects.get().num_crashes == crashes)  # type: ignore[misc]
        job = Job.objects.get()
        told |= {"state": job.state, "error": job.error, "detail": job.error_detail}
        fleet.kill("worker")
        killed_at = time.monotonic()
        wait_until(lambda: queue_health(Queue.GPU) is not None)
        told |= {"after": queue_health(Queue.GPU), "after_seconds": time.monotonic() - killed_at}  # type: ignore[dict-item]
    sys.stdout.write(json.dumps(told) + "\n")


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > until:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
