"""Jobs as people and pages see them."""

import pytest
from django.db import transaction

from experiments.database_clock import from_now
from experiments.models import AuditEntry, Job, JobKind, JobState, Queue, User, Worker, Workspace
from experiments.presence import job_health, queue_health, queues_health
from experiments.services.job_queue import job_create
from experiments.services.jobs import JobAlreadyEnded, JobNotStopped, job_cancel, job_retry
from experiments.services.leases import job_claim
from tests.factories import make_job

pytestmark = pytest.mark.django_db


def create(workspace: Workspace, by: User | None = None, **overrides) -> Job:
    wanted = {"kind": JobKind.INSPECT, "queue": Queue.INTERACTIVE, "payload": {"backbone": "b"}, "by": by} | overrides
    return job_create(workspace=workspace, **wanted)


def test_job_is_queued_and_its_hint_leaves_after_the_commit(workspace, alice, sent_hints, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        job = create(workspace, alice)
        assert sent_hints == []

    assert sent_hints == [(str(job.pk), "interactive")]
    assert (job.state, job.created_by) == (JobState.QUEUED, alice)
    assert Job.objects.get().dispatched_at is not None


def test_repeated_key_gives_the_first_job_and_sends_one_hint(workspace, sent_hints, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        first = create(workspace, idempotency_key="launch-1")
        second = create(workspace, idempotency_key="launch-1", payload={"backbone": "other"})

    assert first.pk == second.pk
    assert second.payload == {"backbone": "b"}
    assert len(sent_hints) == 1


def test_broker_fault_does_not_reach_the_person(workspace, broken_broker, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = create(workspace)

    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED


def test_launch_of_many_jobs_waits_for_one_broken_connection_only(workspace, broken_broker, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        jobs = [create(workspace) for _ in range(5)]

    assert broken_broker == [str(jobs[0].pk)]
    assert Job.objects.filter(state=JobState.QUEUED).count() == 5


def test_queued_job_is_cancelled_at_once_and_written_down(workspace, alice):
    job = create(workspace, alice)

    job_cancel(job=job, by=alice)

    assert job.state == JobState.CANCELLED
    assert job.finished_at is not None
    assert AuditEntry.objects.get().verb == "cancelled"


def test_running_job_is_asked_to_stop_and_goes_on_until_its_worker_looks(workspace, alice):
    job = create(workspace)
    job_claim(job_id=job.pk, worker="w")

    job_cancel(job=job, by=alice)
    asked_at = job.cancel_requested_at
    job_cancel(job=job, by=alice)

    assert job.state == JobState.RUNNING
    assert asked_at is not None
    assert job.cancel_requested_at == asked_at


@pytest.mark.parametrize("state", JobState.terminal())
def test_ended_job_cannot_be_cancelled(workspace, alice, state):
    job = make_job(workspace, state=state)

    with pytest.raises(JobAlreadyEnded, match=r"ended already \((succeeded|failed|stopped|set aside)\), so there is nothing left to stop"):
        job_cancel(job=job, by=alice)

    job.refresh_from_db()
    assert (job.state, job.cancel_requested_at) == (state, None)
    assert not AuditEntry.objects.exists()


def test_cancelled_job_is_not_claimed(workspace, alice):
    job = create(workspace)
    job_cancel(job=job, by=alice)

    assert job_claim(job_id=job.pk, worker="w") is None


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, JobState.QUARANTINED])
def test_job_without_a_result_starts_again_with_a_fresh_allowance(workspace, alice, state):
    job = make_job(workspace, kind="inspect", state=state, num_crashes=10, crashes_without_progress=3, error="Broken.", fence=4)

    job_retry(job=job, by=alice)

    assert (job.state, job.num_crashes, job.crashes_without_progress, job.error) == (JobState.QUEUED, 0, 0, "")
    assert AuditEntry.objects.get().verb == "started again"
    lease = job_claim(job_id=job.pk, worker="w")
    assert lease is not None
    assert lease.fence == 5


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED])
def test_job_that_runs_or_succeeded_is_not_started_again(workspace, alice, state):
    job = make_job(workspace, state=state)

    with pytest.raises(JobNotStopped):
        job_retry(job=job, by=alice)

    assert Job.objects.get().state == state


@pytest.mark.parametrize("state", JobState.values)
def test_only_a_job_that_has_not_ended_waits_for_a_worker(workspace, state):
    job = make_job(workspace, state=state)

    assert (job_health(job) is None) is job.has_ended
    assert job_health(None) is None


def test_each_absent_kind_of_worker_is_named_once():
    Worker.objects.create(name="w", queue="gpu", started_at=from_now(-100), seen_at=from_now(0))

    assert queues_health(["io", "gpu", "io"]) == [queue_health("io")]


def test_queue_without_a_live_worker_says_so():
    assert "No worker for tuning and scoring" in str(queue_health("gpu"))


@pytest.mark.parametrize(("seconds_ago", "is_well"), [(3, True), (60, False)])
def test_queue_health_follows_the_heartbeat(seconds_ago, is_well):
    Worker.objects.create(name="w", queue="gpu", started_at=from_now(-100), seen_at=from_now(-seconds_ago))

    assert (queue_health(Queue.GPU) is None) is is_well
    assert queue_health(Queue.IO) is not None
