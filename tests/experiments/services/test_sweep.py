"""What the sweep finds, and what it leaves alone."""

import os
import time

import pytest
from django.core.management import call_command
from django.test import override_settings

from experiments.database_clock import from_now
from experiments.models import Job, JobState, Worker
from experiments.services.jobs import job_cancel
from experiments.services.leases import job_claim
from experiments.services.sweep import jobs_hint, scratch_clear, sweep, workers_forget
from tests.factories import make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def idle_worker(db):
    return Worker.objects.create(name="w", queue="gpu", started_at=from_now(0), seen_at=from_now(0), device={"slots": 1})


@pytest.fixture
def waiting(workspace):
    return make_job(workspace, kind="inspect")


def test_hint_that_was_never_sent_is_sent_once(waiting, idle_worker, sent_hints):
    assert jobs_hint() == 1
    assert jobs_hint() == 0

    assert sent_hints == [(str(waiting.pk), "gpu")]


def test_hint_that_nobody_took_is_sent_again_after_a_while(waiting, idle_worker, sent_hints):
    Job.objects.update(dispatched_at=from_now(-14))
    assert jobs_hint() == 0
    Job.objects.update(dispatched_at=from_now(-16))

    assert jobs_hint() == 1


def test_job_before_its_time_gets_no_hint(waiting, idle_worker, sent_hints):
    Job.objects.update(not_before=from_now(5))

    assert jobs_hint() == 0


def test_hints_do_not_pile_up_behind_a_busy_worker(workspace, waiting, idle_worker, sent_hints):
    job_claim(job_id=make_job(workspace, kind="inspect").pk, worker="w")

    assert jobs_hint() == 0


def test_without_a_worker_no_hint_is_sent(waiting, sent_hints):
    assert jobs_hint() == 0


def test_broker_fault_leaves_the_job_for_later(waiting, idle_worker, broken_broker):
    assert jobs_hint() == 0

    assert Job.objects.get().state == JobState.QUEUED


def test_sweep_takes_jobs_from_dead_workers_once(waiting, idle_worker, sent_hints):
    with override_settings(JOB_LEASE_SECONDS=-1.0):
        job_claim(job_id=waiting.pk, worker="dead")

    assert sweep() == {"reclaimed": 1, "cancelled": 0, "hinted": 1}
    assert sweep() == {"reclaimed": 0, "cancelled": 0, "hinted": 0}


def test_sweep_ends_a_queued_job_that_is_to_stop(waiting, alice):
    job_claim(job_id=waiting.pk, worker="w")
    job_cancel(job=waiting, by=alice)
    Job.objects.update(state=JobState.QUEUED)

    assert sweep()["cancelled"] == 1

    assert Job.objects.get().state == JobState.CANCELLED


def test_command_makes_one_pass(waiting, capsys):
    call_command("sweep", "--once")

    assert "reclaimed: 0" in capsys.readouterr().out


def test_long_silent_workers_are_forgotten(idle_worker):
    Worker.objects.create(name="old", queue="gpu", started_at=from_now(-200_000), seen_at=from_now(-90_000))

    workers_forget()

    assert list(Worker.objects.values_list("name", flat=True)) == ["w"]


def test_scratch_of_ended_jobs_goes_after_a_day_and_of_living_ones_stays(workspace, tmp_path):
    ended, living, fresh = (make_job(workspace, kind="inspect", state=state) for state in ("succeeded", "queued", "succeeded"))
    for name in (str(ended.pk), str(living.pk), str(fresh.pk), "rows-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in (str(ended.pk), str(living.pk), "rows-old"):
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)

    assert scratch_clear(folder=tmp_path) == 2

    assert {path.name for path in tmp_path.iterdir()} == {str(living.pk), str(fresh.pk)}
