"""Hosted runs that a budget, a person or a lost worker stops: what was answered is kept and never paid for twice."""

import threading
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError

from experiments.models import CallState, EndpointCall, Experiment, Job, JobState, Prediction
from experiments.services.endpoint_calls import call_settle
from experiments.services.jobs import job_cancel, job_retry
from experiments.services.leases import job_claim, lease_crash
from experiments.services.prices import price_book_create
from tests.workers.endpoint.server import Answer
from tests.workers.hosted.answering import by_message, do
from workers.host import Wish
from workers.perform import job_perform

pytestmark = pytest.mark.django_db


def test_budget_of_calls_stops_the_run_and_loses_nothing(run, server):
    experiment = run.approach.experiment
    Experiment.objects.filter(pk=experiment.pk).update(endpoint_requests=1)

    job = do(run.job)

    assert (job.state, job.error_kind) == (JobState.FAILED, "budget")
    assert "used up (1 call). 1 row of 2 is answered and kept, 1 is not." in job.error
    Experiment.objects.filter(pk=experiment.pk).update(endpoint_requests=10)
    job_retry(job=job, by=None)
    assert do(job).state == JobState.SUCCEEDED
    assert len(server.asked) == 2


def test_budget_in_money_is_never_passed(run, server):
    prices = {"input_million_tokens": Decimal(1000), "output_million_tokens": Decimal(1000)}
    book = price_book_create(
        workspace=run.approach.experiment.workspace, name="Dear", currency="EUR", effective_on=date(2026, 1, 1), prices=prices, by=None
    )
    # At most a call could be billed more than a hundred tokens, each of them a thousandth of a euro.
    Experiment.objects.filter(pk=run.approach.experiment_id).update(price_book=book, endpoint_money=Decimal("0.1"))

    job = do(run.job)

    assert job.error_kind == "budget"
    assert "0.1 EUR" in job.error
    assert server.asked == []


def test_calls_that_a_dead_worker_left_open_are_made_again_and_counted(run, server):
    """The worker wrote down what it was about to ask, asked, and died before it recorded the answers."""
    lease = job_claim(job_id=run.job_id, worker="first")
    assert lease is not None
    EndpointCall.objects.create(
        job=run.job,
        attempt_id=lease.attempt_id,
        backbone=run.approach.backbone,
        example=run.approach.experiment.dataset_version.examples.filter(split="validation").first(),
        request_sha256="0" * 64,
        reserved_input_tokens=9,
        reserved_output_tokens=9,
    )
    lease_crash(lease=lease, detail="killed")

    do(run.job)

    run.refresh_from_db()
    assert run.evaluations.get().summary["endpoint"]["perhaps_paid_twice"] == 1
    assert "may have been paid twice" in run.result["warnings"][0]


def test_answers_of_a_lost_attempt_are_not_asked_for_again(run, server):
    """A worker that is killed after one row: the next one asks only for the other."""
    seen = threading.Semaphore(1)
    server.script = lambda asked: by_message(asked) if seen.acquire(blocking=False) else Answer(b"", 401)
    assert do(run.job).state == JobState.FAILED
    server.script = by_message
    job_retry(job=run.job, by=None)

    assert do(run.job).state == JobState.SUCCEEDED
    answered = EndpointCall.objects.filter(state=CallState.ANSWERED)
    assert answered.count() == answered.values("example").distinct().count() == 2


@pytest.mark.django_db(transaction=True)
def test_answers_that_come_while_the_database_is_away_are_written_down_when_it_is_back(run, server, monkeypatch):
    away = [OperationalError("away"), OperationalError("away")]

    def settle(**how: Any) -> None:
        if away:
            raise away.pop()
        call_settle(**how)

    monkeypatch.setattr("workers.asking.call_settle", settle)
    monkeypatch.setattr("workers.asking.AWAY_SECONDS", 0.0)

    job = do(run.job)

    assert (job.state, job.num_crashes, len(server.asked)) == (JobState.SUCCEEDED, 0, 2)


@pytest.mark.django_db(transaction=True)
def test_database_that_stays_away_ends_the_attempt_and_not_the_job(run, server, monkeypatch):
    def settle(**how: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("workers.asking.call_settle", settle)
    monkeypatch.setattr("workers.asking.Asking.look", lambda self: Wish.DROP if EndpointCall.objects.exists() else Wish.GO_ON)

    assert do(run.job).state == JobState.QUEUED
    assert set(EndpointCall.objects.values_list("state", flat=True)) == {CallState.ASKED}


@pytest.mark.django_db(transaction=True)
def test_person_who_stops_the_run_stops_it(run, server):
    server.always(Answer(silent=0.5))
    lease = job_claim(job_id=run.job_id, worker="w")
    assert lease is not None
    job_cancel(job=run.job, by=None)

    from workers import watch

    watch_now, watch.CANCEL_LOOK_SECONDS = watch.CANCEL_LOOK_SECONDS, 0.0
    try:
        job_perform(lease)
    finally:
        watch.CANCEL_LOOK_SECONDS = watch_now

    run.job.refresh_from_db()
    assert run.job.state == JobState.CANCELLED


def test_worker_that_lost_its_lease_asks_nothing(run, server):
    lease = job_claim(job_id=run.job_id, worker="first")
    assert lease is not None
    Job.objects.filter(pk=run.job_id).update(fence=99)

    job_perform(lease)

    assert server.asked == []
    assert not Prediction.objects.exists()
