"""A search by DSPy on an endpoint: every call in the ledger, its trials stored, its winner a version, nothing paid for twice."""

import json

import pytest
from django.urls import reverse

from experiments.models import Approach, CallState, EndpointCall, Experiment, JobState, Trial
from experiments.services.jobs import job_retry
from tests.workers.endpoint.server import Answer, completion
from tests.workers.hosted.answering import do

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dspy]
BETTER = "Decide: refund or delivery?"


def by_instruction(asked) -> Answer:
    """Right answers once it is told the labels; asked for a text, it writes the instruction that tells them."""
    said = [message["content"] for message in asked["messages"]]
    if asked.get("seed"):
        return Answer(completion(json.dumps({"new_instruction": BETTER, "proposed_instruction": BETTER, "improved_instruction": BETTER})))
    knows = BETTER in said[0]
    wants_money = any(word in said[-1] for word in ("refund", "money", "paid"))
    return Answer(completion("refund" if knows and wants_money else "delivery"))


@pytest.fixture
def searching(run, server):
    Approach.objects.filter(pk=run.approach_id).update(
        method="dspy_search", recipe={"optimizer": "gepa", "budget": 64, "num_examples": 0, "draw_seed": 0}
    )
    version = run.approach.template_version
    version.user = "Sort the message.\nMessage: {{text}}"
    version.save()
    server.script = by_instruction
    return run


def test_a_search_finds_a_better_prompt_and_says_what_it_was_billed(searching, server, client_for, alice):
    job = do(searching.job)

    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    searching.refresh_from_db()
    search = searching.result["written"]["search"]
    assert (search["written_correct"], search["winner_correct"]) == (1, 2)
    assert search["wording"]["system"] == BETTER
    assert searching.evaluations.get().scores.get(metric="accuracy").value == 1.0
    assert EndpointCall.objects.count() == len(server.asked)
    assert search["billed"] == {"input": 10 * len(server.asked), "output": 2 * len(server.asked)}
    assert set(Trial.objects.filter(run=searching).values_list("number", "is_winner")) == {(0, False), (1, True)}
    assert searching.optimised_versions.get().system == BETTER
    page = client_for(alice).get(reverse("run-detail", args=["acme", searching.pk])).content.decode()
    assert "GEPA, DSPy" in page
    assert "answers 2 of 2 validation rows rightly" in page


def test_a_search_that_the_budget_stopped_goes_on_without_asking_again(searching, server):
    Experiment.objects.filter(pk=searching.approach.experiment_id).update(endpoint_requests=4)

    job = do(searching.job)

    assert (job.state, job.error_kind) == (JobState.FAILED, "budget")
    assert "The search got 4 answers, which are kept. Raise the budget and try again: the search goes on." in job.error
    Experiment.objects.filter(pk=searching.approach.experiment_id).update(endpoint_requests=None)
    job_retry(job=job, by=None)
    assert do(job).state == JobState.SUCCEEDED
    answered = EndpointCall.objects.filter(state=CallState.ANSWERED)
    assert answered.count() == answered.values("example", "request_sha256").distinct().count() == len(server.asked)
