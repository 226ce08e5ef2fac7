"""Pages of free answers: exact match first, how close the answers come beside it, and what a soft prompt has learned."""

import csv
import io
import json

import pytest
from django.test import Client
from django.urls import reverse

from experiments.models import Artifact, Experiment, Job, Role
from experiments.services.keys import api_key_create
from experiments.services.reports import report_create, share_create
from tests.extraction_data import NUM_TOKENS, make_finished_extraction

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(make_finished_extraction)


@pytest.fixture
def finished(made):
    return Experiment.objects.get(pk=made.pk)


@pytest.fixture
def soft_prompt(finished):
    return finished.approaches.get(method="prompt_tuning").runs.get()


def call(key, verb, path, body=None):
    answer = Client().generic(
        verb, f"/api/v1/{path}", json.dumps(body or {}), "application/json", headers={"authorization": f"Bearer {key}"}
    )
    return answer.status_code, json.loads(answer.content)


@pytest.fixture
def key(workspace, alice):
    return api_key_create(workspace=workspace, name="Tests", role=Role.ML_ENGINEER, by=alice)[1]


def test_the_table_shows_exact_match_and_closeness_with_intervals(client_for, bob, finished):
    page = client_for(bob).get(reverse("comparison-detail", args=["acme", finished.pk])).content.decode()

    assert all(name in page for name in (">Exact match<", ">Token F1<", ">ROUGE-L<", ">chrF<", ">Form kept<", ">Forgetting<"))
    assert "Macro-F1" not in page
    assert "matched the reference exactly in" in page
    assert "greedy, at most 16 tokens, ending at the end of the line" in page
    assert "Loss on validation rows" in page
    row = finished.tables.get().payload["rows"][0]
    for found in row["closeness"].values():
        assert found["low"] <= found["value"] <= found["high"]
    assert row["closeness"]["token_f1"]["value"] >= row["accuracy"]


@pytest.mark.parametrize("column", ["token_f1", "rouge_l", "chrf", "format", "forgetting"])
def test_every_column_of_free_answers_sorts(client_for, bob, finished, column):
    address = reverse("comparison-table", args=["acme", finished.pk], query={"sort": column})

    page = client_for(bob).get(address).content.decode()

    assert 'aria-sort="' in page


def test_rows_show_reference_answer_and_what_breaks_the_form(client_for, bob, finished):
    page = client_for(bob).get(reverse("comparison-examples", args=["acme", finished.pk])).content.decode()

    assert ">Reference<" in page
    assert "token F1 0." in page
    assert "It does not match the pattern." in page
    assert "<b>" not in page.split("<tbody>")[1]


def test_reports_carry_the_figures_as_page_csv_and_json(client_for, alice, finished):
    report = report_create(experiment=finished, by=alice)
    _, token = share_create(report=report, by=alice)

    shared = Client().get(reverse("share-open", args=[token])).content.decode()
    table = client_for(alice).get(reverse("report-csv", args=["acme", report.pk]))
    content = table.getvalue() if table.streaming else table.content
    lines = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))

    assert "Token F1" in shared
    assert "Greedy, at most 16 tokens" in shared
    assert float(lines[1]["chrf_low"]) <= float(lines[1]["chrf"]) <= float(lines[1]["chrf_high"])
    assert float(lines[1]["unrelated_loss_after"]) == 3.957
    assert "macro_f1" not in lines[0]
    assert report.payload["rows"][1]["closeness"]["format"]["value"] is not None


def test_a_run_shows_what_each_learned_token_is_near_to_and_worth(client_for, bob, soft_prompt):
    page = client_for(bob).get(reverse("run-detail", args=["acme", soft_prompt.pk])).content.decode()

    assert page.count('class="near-word"') == NUM_TOKENS * 5
    assert "##berg" in page
    assert "20 lost, 1 won" in page
    assert page.count('class="delta-worse">−31.7 points') == 1
    assert "3.412 nats a token before and 3.957 after" in page


def test_asking_twice_measures_once(client_for, erin, soft_prompt):
    Artifact.objects.update(explanation={})
    client = client_for(erin)
    asked = reverse("run-explain", args=["acme", soft_prompt.pk])

    answers = [client.post(asked) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert Job.objects.filter(kind="explain").count() == 1
    assert "hx-trigger" in client.get(reverse("run-explanation", args=["acme", soft_prompt.pk])).content.decode()


def test_an_approach_without_learned_tokens_is_not_explained(client_for, erin, finished):
    run = finished.approaches.get(method="lora").runs.get()

    page = client_for(erin).post(reverse("run-explain", args=["acme", run.pk]), follow=True).content.decode()

    assert "This run has left no learned tokens to explain." in page
    assert not Job.objects.filter(kind="explain").exists()


def test_the_api_says_what_was_learned(key, soft_prompt):
    status, found = call(key, "GET", f"runs/{soft_prompt.pk}/explanation")

    assert (status, found["rows"], len(found["tokens"])) == (200, 60, NUM_TOKENS)
    assert found["tokens"][2]["change"]["value"] == pytest.approx(-19 / 60)
    assert found["tokens"][0]["nearest"][0] == {"text": " city", "similarity": 0.6}


def test_the_api_asks_for_the_measurement(key, soft_prompt):
    Artifact.objects.update(explanation={})

    status, found = call(key, "POST", f"runs/{soft_prompt.pk}/explanation")

    assert (status, found["state"], found["rows"]) == (202, "queued", None)


def test_the_api_has_no_explanation_where_nothing_was_learned(key, finished):
    run = finished.approaches.get(method="hard_prompt").runs.get()

    assert call(key, "GET", f"runs/{run.pk}/explanation")[0] == 404


def test_the_api_takes_the_rules_of_free_answers_and_names_what_is_wrong(key, finished):
    version, template = finished.dataset_version, finished.approaches.first().template_version
    plan = {"name": "API", "dataset_version": str(version.pk), "prompts": [str(template.pk)], "recipes": ["zero_shot"]}
    backbone = {"backbone": str(finished.approaches.first().backbone_id)}

    asked = {"generation": {"max_new_tokens": 5, "json_schema": {"type": "object"}}}
    status, made = call(key, "POST", "experiments", plan | backbone | asked)
    refused = call(key, "POST", "experiments", plan | backbone | {"generation": {"pattern": "("}})

    assert status == 201, made
    assert (made["generation"]["max_new_tokens"], made["generation"]["json_schema"]) == (5, {"type": "object"})
    assert refused[0] in (409, 422)
    assert "no regular expression" in refused[1]["error"]["message"]
