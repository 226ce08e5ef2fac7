"""Work of the io queue when its lease is lost half-way: the worker that came second wins, and the first one changes nothing."""

import io

import pytest

from experiments.database_clock import from_now
from experiments.intake.mapping import ColumnMapping
from experiments.intake.splits import Shares
from experiments.models import DatasetVersion, Example, Job, JobState
from experiments.services import datasets
from experiments.services.leases import Lease, LeaseLost, job_claim, lease_expire
from workers.desk import desk_perform

pytestmark = pytest.mark.django_db
CSV = "\n".join(["text,label", *(f"message number {number},{'ab'[number % 2]}" for number in range(40))]).encode()


@pytest.fixture
def version(workspace, alice) -> DatasetVersion:
    """An upload whose reading is queued."""
    dataset = datasets.dataset_create(workspace=workspace, by=alice, name="Mail")
    return datasets.dataset_upload(dataset=dataset, by=alice, file=io.BytesIO(CSV), name="mail.csv")


def claim(job: Job | None, worker: str) -> Lease:
    assert job is not None
    lease = job_claim(job_id=job.pk, worker=worker)
    assert lease is not None
    return lease


def map_rows(version: DatasetVersion) -> DatasetVersion:
    desk_perform(claim(version.job, "reader"))
    version.refresh_from_db()
    datasets.dataset_version_map(version=version, by=None, mapping=ColumnMapping(("text",), "label", shares=Shares(0.6, 0.2, 0.2)))
    return DatasetVersion.objects.get(pk=version.pk)


def overtake(monkeypatch, step: str, job: Job) -> list[int]:
    """When the first worker reaches `step`, its lease has run out and a second worker has done the whole job: returns what it stored."""
    original = getattr(datasets, step)
    stored: list[int] = []

    def late(*args, **kwargs):
        monkeypatch.setattr(datasets, step, original)
        Job.objects.filter(pk=job.pk).update(lease_until=from_now(-1))
        assert lease_expire(job_id=job.pk)
        desk_perform(claim(job, "second"))
        stored.extend(Example.objects.values_list("pk", flat=True))
        return original(*args, **kwargs)

    monkeypatch.setattr(datasets, step, late)
    return stored


@pytest.mark.parametrize("step", ["gate_check", "_store_rows", "_complete"])
def test_overtaken_import_leaves_the_very_rows_of_the_worker_that_finished(version, monkeypatch, step):
    version = map_rows(version)
    assert version.job is not None
    stored = overtake(monkeypatch, step, version.job)

    with pytest.raises(LeaseLost):
        desk_perform(claim(version.job, "first"))

    version.refresh_from_db()
    assert version.completed_at
    assert len(stored) == 40
    assert list(version.examples.values_list("pk", flat=True)) == stored
    assert list(version.job.attempts.values_list("worker", "outcome")) == [("first", "lost"), ("second", JobState.SUCCEEDED)]


def test_overtaken_reading_cannot_replace_the_report(version, monkeypatch):
    assert version.job is not None
    overtake(monkeypatch, "file_parse", version.job)
    monkeypatch.setattr(datasets, "_store_path", lambda path: "0" * 64 if Job.objects.get(pk=version.job.pk).has_ended else "f" * 64)

    with pytest.raises(LeaseLost):
        desk_perform(claim(version.job, "first"))

    version.refresh_from_db()
    assert version.parsed_sha256 == "f" * 64
