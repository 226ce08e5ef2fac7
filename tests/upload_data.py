"""A file to upload, what its columns mean, and the steps between its upload and its stored rows."""

from experiments.models import DatasetVersion, Job
from workers.tasks import execute_job

ROWS = "".join(f"message number {number},{'ab'[number % 2]}\n" for number in range(60))
CSV = f"text,label\n{ROWS}".encode()
SHARES = {"train": 60, "validation": 20, "test": 20, "seed": 0, "task": "classification"}
ROLES = {"role-0": "text", "role-1": "label", **SHARES}


def work_off() -> None:
    for job in Job.objects.filter(state="queued"):
        execute_job(str(job.pk))


def page_of(client, version: DatasetVersion | None = None) -> str:
    version = version or DatasetVersion.objects.latest("created_at")
    response = client.get(f"/w/acme/data/versions/{version.pk}/")
    assert response.status_code == 200
    return str(response.content.decode())


def map_it(client, **roles):
    version = DatasetVersion.objects.latest("created_at")
    return client.post(f"/w/acme/data/versions/{version.pk}/map/", {**ROLES, **roles})
