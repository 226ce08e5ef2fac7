"""What a worker finds out about an endpoint before anybody may choose it."""

import pytest

from experiments.models import Backbone, CallState, EndpointCall, Job, JobState
from tests.workers.endpoint.server import Answer, Server
from tests.workers.hosted.answering import do

pytestmark = pytest.mark.django_db


def inspect_job(backbone: Backbone) -> Job:
    job = Backbone.objects.get(pk=backbone.pk).job
    assert job is not None
    return job


def test_verification_finds_the_richest_way_that_the_endpoint_answers(hosted, server):
    """This one knows neither log-probabilities nor the older name of the token limit."""

    def picky(asked) -> Answer:
        return Answer({"error": {"message": "unsupported"}}, 400) if {"logprobs", "max_tokens"} & set(asked) else Answer()

    server.script = picky
    Backbone.objects.filter(pk=hosted.pk).update(facts={})

    do(inspect_job(hosted))

    hosted.refresh_from_db()
    assert hosted.verified_at is not None
    assert {name: hosted.facts[name] for name in ("protocol", "token_field", "has_temperature", "top_logprobs")} == {
        "protocol": "chat",
        "token_field": "max_completion_tokens",
        "has_temperature": False,
        "top_logprobs": 0,
    }
    assert EndpointCall.objects.filter(state=CallState.ANSWERED).count() == 1


def test_server_without_a_chat_template_is_asked_for_completions(hosted, server: Server):
    def base_model(asked) -> Answer:
        if "messages" in asked:
            return Answer(b"Internal Server Error", 500)
        return Answer({"choices": [{"text": " refund", "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    server.script = base_model

    do(inspect_job(hosted))

    hosted.refresh_from_db()
    assert hosted.facts["protocol"] == "completions"
    assert server.paths[-1] == "/v1/completions"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(b"<html>"), "a web page instead of JSON"),
        (Answer({"error": {"message": "bad"}}, 401), "does not accept the key"),
        (Answer({"error": {"message": "The model `tiny` does not exist"}}, 404), "has no model “tiny”"),
        (Answer(silent=5.0), "gave no answer within 1 seconds"),
    ],
)
def test_verification_says_what_is_wrong(hosted, server, answer, sentence):
    server.always(answer)

    job = do(inspect_job(hosted))

    hosted.refresh_from_db()
    assert job.state == JobState.FAILED
    assert sentence in hosted.problem
