"""Free answers in one process: a reference column, generation options, exact match and closeness in the table, a shared report."""

import csv
import io
import json

import pytest
from django.test import Client
from django.urls import reverse

from experiments.intake.mapping import ColumnMapping
from experiments.intake.splits import Shares
from experiments.models import Experiment, Prediction, Score
from experiments.services.reports import report_create, share_create
from tests import factories
from tests.test_end_to_end import SHORT, make_data, tiny_backbone, warm_host, work_off_all_jobs  # noqa: F401  (fixtures)

LINES = [
    "where is parcel {}, it should have come on Monday",
    "the courier did not bring box {}",
    "package {} is late again and nobody answers",
    "please send {} to my new address",
]
METRICS = ["accuracy", "chrf", "format", "rouge_l", "token_f1"]


CITIES = ["london", "berlin", "paris", "madrid", "rome", "vienna", "dublin", "oslo"]
CITIES += ["lisbon", "athens", "moscow", "tokyo", "boston", "chicago", "dallas", "toronto"]
NAMING = [
    "my card was stolen in {} last night",
    "how do I get cash in {} without a fee",
    "I moved to {} and need a new card",
    "the machine in {} kept my money",
    "can I pay with it when I am in {}",
    "a payment from {} that I never made",
]


def parcels_csv(rows=48):
    """Messages that hold a parcel number, and the number as the reference."""
    lines = ["message,number"]
    lines += [f'"{LINES[at % 4].format(f"PX-{at:03}")}",PX-{at:03}' for at in range(rows)]
    return io.BytesIO("\n".join(lines).encode())


def cities_csv():
    """Messages that name a city, and the city as the reference."""
    lines = ["message,city", *(f"{text.format(city)},{city}" for city in CITIES for text in NAMING)]
    return io.BytesIO("\n".join(lines).encode())


def free_answers(workspace, by, file, reference):
    mapping = ColumnMapping(("message",), reference, task="extraction", shares=Shares(0.5, 0.25, 0.25))
    return make_data(workspace, by, file, mapping)


def launch_from_the_form(client, version, template, backbone, tuned="soft_prompt", settings=SHORT, **answers):
    """The comparison as a browser sends it, with the options of free answers."""
    form = {
        "name": "Which number?",
        "dataset_version": str(version.pk),
        "templates": [str(template.pk)],
        "backbone": str(backbone.pk),
        "recipes": ["zero_shot", tuned],
        "seeds": "0",
        "monthly_requests": "100000",
        "margin": "1",
        "too_long": "refuse",
        "open_test_when_finished": "on",
        "key": "form-1",
        **{f"{tuned}-{name}": value for name, value in settings.items()},
        **{f"answers-{name}": value for name, value in answers.items()},
    }
    page = client.post(reverse("comparison-create", args=["acme"]), form)
    assert page.status_code == 302, page.content.decode()
    return Experiment.objects.get()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_free_answers_from_a_file_to_a_shared_report(workspace, alice, tiny_backbone, client_for):  # noqa: F811
    version = free_answers(workspace, alice, parcels_csv(), "number")
    assert (version.task, version.labels) == ("extraction", [])
    template = factories.make_template_version(workspace, user="Which parcel?\n{{message}}", answer_cue="\nNumber:")
    client = client_for(alice)

    asked = {"max_new_tokens": "8", "temperature": "0.7", "seed": "5", "one_line": "on", "stop": "###", "pattern": r"PX-\d{3}"}
    experiment = launch_from_the_form(client, version, template, tiny_backbone, **asked)
    work_off_all_jobs()

    assert experiment.generation["stop"] == ["\n", "###"]
    for evaluation in (each for run in experiment.approaches.get(method="hard_prompt").runs.all() for each in run.evaluations.all()):
        made = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt)
        assert made.count() == version.split_counts[evaluation.split]
        assert all(each.completion_tokens <= 8 and "\n" not in each.text for each in made)
        assert {score.metric: score.n for score in evaluation.scores.all()} == dict.fromkeys(METRICS, made.count())
        kept = Score.objects.get(evaluation=evaluation, metric="format")
        assert kept.value == pytest.approx(sum(not each.format_problem for each in made) / made.count())
    table = experiment.tables.get(split="test").payload
    json.dumps(table, allow_nan=False)
    assert [set(row["closeness"]) for row in table["rows"]] == [{"token_f1", "rouge_l", "chrf", "format"}] * 2
    assert table["headline"]

    page = client.get(reverse("comparison-detail", args=["acme", experiment.pk])).content.decode()
    assert all(name in page for name in ("Exact match", "Token F1", "ROUGE-L", "chrF", "Form kept", "temperature 0.7"))
    assert "Macro-F1" not in page
    rows = client.get(reverse("comparison-examples", args=["acme", experiment.pk])).content.decode()
    assert "Reference" in rows
    assert "It does not match the pattern." in rows

    report = report_create(experiment=experiment, by=alice)
    _, token = share_create(report=report, by=alice)
    shared = Client().get(reverse("share-open", args=[token])).content.decode()
    assert "Token F1" in shared
    assert "temperature 0.7" in shared
    download = client.get(reverse("report-csv", args=["acme", report.pk]))
    content = b"".join(download.streaming_content) if download.streaming else download.content
    line = next(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert float(line["token_f1_low"]) <= float(line["token_f1"]) <= float(line["token_f1_high"])
    assert "macro_f1" not in line


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_starter_learns_to_take_the_city_out_of_the_text(workspace, alice, client_for):
    version = free_answers(workspace, alice, cities_csv(), "city")
    template = factories.make_template_version(workspace, user="Name the city in the message.\nMessage: {{message}}", answer_cue="\nCity:")
    steps = {"max_steps": 60, "evaluate_every": 30, "batch_size": 8}

    experiment = launch_from_the_form(client_for(alice), version, template, factories.make_backbone(), "lora", steps, max_new_tokens="4")
    work_off_all_jobs()

    zero_shot, lora = experiment.tables.get(split="test").payload["rows"]
    assert lora["accuracy"] > max(0.5, zero_shot["accuracy"])
    assert lora["closeness"]["token_f1"]["value"] >= lora["accuracy"]
