"""Many at once: `python -m tests.storm.crowd` lets processes launch with the same keys and claim the same jobs, and counts.

Prints one JSON object: jobs that came of the keys, and attempts that came of claiming each job from every process.
"""

import json
import subprocess
import sys

import django

MEMBERS = 6
KEYS = 20


def main() -> None:
    django.setup()
    if "--member" in sys.argv:
        member()
        return
    from django.core.management import call_command

    from experiments.models import Attempt, Job
    from tests import factories

    call_command("migrate", verbosity=0)
    factories.make_workspace("crowd")
    members = [subprocess.Popen([sys.executable, "-m", "tests.storm.crowd", "--member"]) for _ in range(MEMBERS)]
    codes = [process.wait() for process in members]
    found = {
        "codes": codes,
        "jobs": Job.objects.count(),
        "attempts": Attempt.objects.count(),
        "fences": list(Job.objects.values_list("fence", flat=True)),
    }
    sys.stdout.write(json.dumps(found, default=list) + "\n")


def member() -> None:
    """Launch every key and claim every job that comes of it, as if each hint had been delivered to every worker."""
    from experiments.models import JobKind, Queue, Workspace
    from experiments.services.job_queue import job_create
    from experiments.services.leases import job_claim

    workspace = Workspace.objects.get(slug="crowd")
    for number in range(KEYS):
        payload = {"backbone": str(number)}
        job = job_create(
            workspace=workspace, kind=JobKind.INSPECT, queue=Queue.INTERACTIVE, payload=payload, by=None, idempotency_key=f"key-{number}"
        )
        job_claim(job_id=job.pk, worker="member")


if __name__ == "__main__":
    main()
