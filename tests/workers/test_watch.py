"""The lease on the worker's own clock."""

import threading
import time

import pytest
from django.db import OperationalError, connection

from experiments.database_clock import from_now
from experiments.models import Job, JobState
from experiments.services.jobs import job_cancel
from experiments.services.leases import Lease, job_claim
from tests.factories import make_job
from workers.host import Wish
from workers.watch import LeaseKeeper, lease_kept_by_thread


@pytest.fixture
def lease(workspace, settings) -> Lease:
    settings.JOB_HEARTBEAT_SECONDS = 0.0
    return claim(make_job(workspace, kind="inspect"))


def claim(job: Job) -> Lease:
    lease = job_claim(job_id=job.pk, worker="w")
    assert lease is not None
    return lease


def keep(lease: Lease) -> LeaseKeeper:
    return LeaseKeeper(lease, is_leaving=lambda: False)


def database_away(execute, sql, params, many, context):
    raise OperationalError("database is locked")


def test_look_renews_the_lease(lease):
    Job.objects.update(lease_until=from_now(-1))

    assert keep(lease).look() is Wish.GO_ON

    assert Job.objects.filter(lease_until__gt=from_now(0)).exists()


def test_cancel_is_heard_and_stays_heard(lease, alice):
    keeper = keep(lease)
    job_cancel(job=Job.objects.get(), by=alice)

    assert [keeper.look(), keeper.look()] == [Wish.CANCEL, Wish.CANCEL]


def test_lost_lease_is_dropped_for_good(lease):
    keeper = keep(lease)
    Job.objects.update(fence=9)
    assert keeper.look() is Wish.DROP

    Job.objects.update(fence=lease.fence)

    assert keeper.look() is Wish.DROP


def test_leaving_worker_says_so_and_keeps_its_lease_until_the_host_has_ended(lease):
    Job.objects.update(lease_until=from_now(-1))

    assert LeaseKeeper(lease, is_leaving=lambda: True).look() is Wish.LEAVE

    assert Job.objects.filter(lease_until__gt=from_now(0)).exists()


def test_database_that_is_away_is_forgiven_until_two_thirds_of_the_lease(lease, settings):
    keeper = keep(lease)
    with connection.execute_wrapper(database_away):
        assert keeper.look() is Wish.GO_ON
        settings.JOB_LEASE_SECONDS = 0.0

        assert keeper.look() is Wish.DROP


def test_progress_is_stored_at_most_once_a_second(lease):
    keeper = keep(lease)

    for step in (1, 2, 3):
        keeper.record({"phase": "training", "step": step})

    assert Job.objects.get().progress["step"] == 1


def test_progress_of_a_stale_worker_ends_its_work(lease):
    keeper = keep(lease)
    Job.objects.update(state=JobState.QUEUED)

    keeper.record({"phase": "training", "step": 1})

    assert keeper.look() is Wish.DROP


@pytest.mark.django_db(transaction=True)
def test_thread_renews_while_the_work_goes_on_and_ends_with_it(workspace, settings):
    settings.JOB_HEARTBEAT_SECONDS = 0.02
    lease = claim(make_job(workspace, kind="compare"))
    Job.objects.update(lease_until=from_now(-1))

    with lease_kept_by_thread(lease, give_up_seconds=3600):
        patience = time.monotonic() + 20
        while not Job.objects.filter(lease_until__gt=from_now(0)).exists() and time.monotonic() < patience:
            time.sleep(0.01)

    assert Job.objects.filter(lease_until__gt=from_now(0)).exists()
    assert "lease" not in [thread.name for thread in threading.enumerate()]
