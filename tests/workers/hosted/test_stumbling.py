"""Hosted runs some of whose rows, or all of them, get no answer: what ends the run, what is an error of a row, and that it can end."""

import itertools
import random
from types import SimpleNamespace

import pytest

from experiments.models import Backbone, Evaluation, JobState, Prediction
from experiments.services.jobs import job_retry
from tests.workers.endpoint.server import Answer
from tests.workers.hosted.answering import by_message, do

pytestmark = pytest.mark.django_db
TOO_LONG = Answer({"detail": "too long"}, 400)


def stumbling(asked) -> Answer:
    """Answers one of the two rows and breaks over the other, each time."""
    return Answer(b"", 500) if "package" in str(asked) else by_message(asked)


def test_endpoint_that_refuses_every_row_gives_no_result(run, server):
    server.always(TOO_LONG)

    job = do(run.job)

    assert (job.state, job.error_kind) == (JobState.FAILED, "endpoint_refused")
    assert "refused the request (400): “too long”. 0 rows of 2 are answered and kept, 2 are not." in job.error
    assert not Prediction.objects.exists()


def test_row_that_always_fails_keeps_no_run_from_its_end(run, server, monkeypatch, settings):
    """Tried again, only that row is left to ask, so that nothing tells its fault from an endpoint that is away but what was before."""
    server.script = stumbling
    assert do(run.job).error_kind == "endpoint_busy"
    monkeypatch.setattr("workers.endpoint.rounds.MOST_PAUSE_SECONDS", 0.01)
    settings.ENDPOINT_PATIENCE_SECONDS = 30.0
    before = len(server.asked)
    job_retry(job=run.job, by=None)

    job = do(run.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    told = Prediction.objects.order_by("example__position").values_list("predicted", "error")
    assert [(predicted, error.partition(" could ")[2]) for predicted, error in told] == [("refund", ""), ("", "not answer (500).")]
    assert len(server.asked) - before == 5


def test_rows_are_asked_in_an_order_that_the_attempt_draws(run, server, monkeypatch):
    """Rows that the endpoint refuses often lie together, such as the longest ones at the end of sorted data."""
    monkeypatch.setattr(random.Random, "shuffle", lambda self, asks: asks.reverse())
    Backbone.objects.update(limits={"concurrency": 1})

    do(run.job)

    in_order = ["can I get a refund", "my package is late"]
    assert [text for asked in server.asked for text in in_order if text in str(asked)] == in_order[::-1]


def test_throughput_of_a_run_that_goes_on_is_that_of_the_rows_it_asked(run, server, monkeypatch):
    """One of the two rows was answered before, which took this attempt no time."""
    server.script = lambda asked: Answer(b"", 401) if "package" in str(asked) else by_message(asked)
    assert do(run.job).state == JobState.FAILED
    server.script = by_message
    job_retry(job=run.job, by=None)
    clock = itertools.count(step=4)
    monkeypatch.setattr("workers.hosted_run.time", SimpleNamespace(monotonic=lambda: next(clock)))

    assert do(run.job).state == JobState.SUCCEEDED
    assert Evaluation.objects.get().summary["rows_per_second"] == 1 / 4
