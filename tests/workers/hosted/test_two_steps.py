"""A hosted prompt of two steps: two calls a row, both paid for, neither made twice."""

import pytest

from experiments.models import CallState, EndpointCall, Experiment, JobState, Prediction
from experiments.services.jobs import job_retry
from tests.workers.endpoint.server import Answer, completion
from tests.workers.hosted.answering import do

pytestmark = pytest.mark.django_db


def in_two_steps(asked) -> Answer:
    """Says what a customer wants when it is asked that, and goes by the wish alone when it is to answer."""
    text = asked["messages"][-1]["content"]
    if text.startswith("Wish?"):
        return Answer(completion("money back\nor so" if "refund" in text else "a parcel"))
    return Answer(completion("refund" if "Wish: money back\n" in text else "delivery"))


@pytest.fixture
def chain(run, server):
    version = run.approach.template_version
    version.first_step = {"text": "Wish? {{text}}", "max_tokens": 40, "stop": ["\n"]}
    version.user = "Wish: {{step_1}}\nMessage: hidden"
    version.save()
    server.script = in_two_steps
    return version


def test_two_steps_are_two_calls_a_row_and_both_are_paid_for(run, chain, server):
    job = do(run.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    evaluation = run.evaluations.get()
    told = evaluation.predictions.order_by("example__position").values_list(
        "predicted", "correct", "first_text", "prompt_tokens", "completion_tokens"
    )
    assert list(told) == [("refund", True, "money back", 20, 4), ("delivery", True, "a parcel", 20, 4)]
    assert evaluation.summary["endpoint"]["billed"] == {"input": 20.0, "output": 4.0, "cached": None}
    assert evaluation.summary["endpoint"]["latency"]["rows"] == 2
    assert EndpointCall.objects.filter(state=CallState.ANSWERED).count() == 4
    assert sorted(asked["max_tokens"] for asked in server.asked) == [32, 32, 40, 40]
    calls = sum(call.seconds or 0.0 for call in EndpointCall.objects.all())
    assert sum(evaluation.predictions.values_list("seconds", flat=True)) == pytest.approx(calls)
    run.refresh_from_db()
    assert run.result["written"]["first_step"] == {"rows": 2, "mean_tokens": 2.0, "at_limit": 0}


def test_budget_ends_between_the_steps_and_nothing_is_asked_twice(run, chain, server):
    Experiment.objects.filter(pk=run.approach.experiment_id).update(endpoint_requests=3)

    job = do(run.job)

    assert job.error_kind == "budget"
    assert "1 row of 2 is answered and kept, 1 is not." in job.error
    Experiment.objects.filter(pk=run.approach.experiment_id).update(endpoint_requests=1)
    EndpointCall.objects.all().delete()
    job_retry(job=job, by=None)
    assert "In the first step, 1 row of 2 is answered and kept, 1 is not." in do(job).error
    Experiment.objects.filter(pk=run.approach.experiment_id).update(endpoint_requests=10)
    before = len(server.asked)
    job_retry(job=job, by=None)

    assert do(job).state == JobState.SUCCEEDED
    assert len(server.asked) - before == 3


def test_row_without_a_first_text_is_an_error_of_that_row(run, chain, server):
    server.script = lambda asked: Answer({"detail": "too long"}, 400) if "package" in str(asked) else in_two_steps(asked)

    assert do(run.job).state == JobState.SUCCEEDED
    told = Prediction.objects.order_by("example__position").values_list("predicted", "first_text")
    assert list(told) == [("refund", "money back"), ("", "")]
    assert len(server.asked) == 3


def test_examples_of_the_prompt_are_thought_about_as_well(run, chain, server):
    chain.demonstrations = [{"example": None, "fields": {"text": "a refund, please"}, "label": "refund"}]
    chain.save()

    assert do(run.job).state == JobState.SUCCEEDED

    answered = [asked["messages"] for asked in server.asked if len(asked["messages"]) > 1]
    assert [messages[0]["content"] for messages in answered] == ["Wish: money back\nMessage: hidden\nQueue:"] * 2
    assert len(server.asked) == 5
