"""Distillation on the pages: choosing a teacher, asking a run to teach, and what both runs then say."""

import pytest
from django.urls import reverse

from experiments.models import Approach, DatasetVersion, Evaluation, Job, JobState
from experiments.planning.teachers import TERMS_WARNING
from experiments.reads.reports import build_table
from experiments.services.experiments import comparison_store
from tests import factories
from tests.comparison_data import make_finished_experiment
from tests.experiments.views.test_comparison_launch import ready  # noqa: F401

pytestmark = pytest.mark.django_db
RECORD = {"targets": "distribution", "temperature": 1.0, "rows": 0, "learned_rows": 48, "learned_train": 48, "learned_unlabelled": 0}
RECORD |= {"left_out": 2, "teacher_right": 30}
RECORD |= {"teacher_right_checked": 40, "asked_rows": 110, "teacher_tokens": 9000, "teacher_seconds": 4.0, "checked_rows": 60, "agreed": 57}


def plain(answer) -> str:
    return " ".join(answer.content.decode().split())


@pytest.fixture
def hosted_run(workspace):
    model = factories.make_backbone(workspace, name="Far away", kind="hosted", source="https://api.example.com/v1")
    version = factories.make_dataset_version(workspace, dataset=factories.make_dataset(workspace, name="Other mail"))
    experiment = factories.make_experiment(workspace, dataset_version=version)
    approach = factories.make_approach(experiment, name="Zero-shot: Hosted", family="hosted", backbone=model)
    return factories.make_run(approach, state="succeeded")


def answered(run) -> Evaluation:
    summary = {"n": 4, "accuracy": 0.75, "endpoint": {"read_by": {"log-probabilities": 4}}}
    return factories.make_evaluation(
        run, split="train", attempt=factories.make_attempt(run.job), summary=summary, completed_at=run.created_at
    )


@pytest.fixture
def chosen(ready, workspace):  # noqa: F811
    few_shot = factories.make_template_version(
        workspace, name="Shown", demonstrations=[{"example": None, "fields": {"text": "x"}, "label": "refund"}]
    )
    return ready | {"recipes": ["distilled"], "templates": [*ready["templates"], str(few_shot.pk)]}


def test_a_distilled_prompt_is_launched_with_the_prompt_that_shows_examples(client_for, alice, chosen):
    client_for(alice).post(reverse("comparison-create", args=["acme"]), chosen | {"distilled-temperature": "2"})

    approach = Approach.objects.get(name="Distilled soft prompt")
    assert (approach.family, approach.method) == ("hybrid", "prompt_tuning")
    assert str(approach.teacher_version) == "Shown v1"
    assert approach.teaching == {"targets": "distribution", "temperature": 2.0, "rows": 0, "learns_on": "train"}
    assert "targets" not in approach.recipe
    assert approach.runs.count() == 2


def test_answers_of_a_hosted_model_can_be_chosen_and_the_page_warns_of_its_terms(client_for, alice, chosen, hosted_run):
    answers = answered(hosted_run)
    chosen["dataset_version"] = str(answers.dataset_version_id)
    client, address = client_for(alice), reverse("comparison-create", args=["acme"])
    form = client.get(address).content.decode()
    assert "Answers of a hosted model" in form
    assert f"answers:{answers.pk}" in form
    assert "may forbid that another model learns" in form

    chosen |= {"distilled-teacher": f"answers:{answers.pk}"}
    estimate = client.post(reverse("comparison-estimate", args=["acme"]), chosen)
    client.post(address, chosen)

    assert TERMS_WARNING in plain(estimate)
    assert Approach.objects.get(name="Distilled soft prompt").teacher_evaluation == answers


def test_a_distilled_prompt_learns_on_unlabelled_rows_or_the_form_says_why_not(client_for, alice, chosen):
    client, address = client_for(alice), reverse("comparison-create", args=["acme"])
    wish = chosen | {"distilled-learns_on": "both"}

    refused = plain(client.post(address, wish))
    assert "is to learn on unlabelled rows, but" in refused
    assert not Approach.objects.exists()
    DatasetVersion.objects.update(split_counts={"train": 4, "validation": 2, "test": 2, "unlabelled": 900})
    estimate = plain(client.post(reverse("comparison-estimate", args=["acme"]), wish))
    client.post(address, wish)

    assert "906 rows that the teacher is asked about" in estimate
    approach = Approach.objects.get(name="Distilled soft prompt")
    assert approach.teaching["learns_on"] == "both"
    assert "train and unlabelled rows" in plain(client.get(reverse("run-detail", args=["acme", approach.runs.first().pk])))


def test_without_a_prompt_that_shows_examples_the_form_asks_for_a_teacher(client_for, alice, ready):  # noqa: F811
    page = client_for(alice).post(reverse("comparison-create", args=["acme"]), ready | {"recipes": ["distilled"]}).content.decode()

    assert "Distilled soft prompt needs a teacher." in page
    assert not Approach.objects.exists()


def test_a_run_is_asked_to_answer_train_rows_from_its_page(client_for, alice, hosted_run):
    client = client_for(alice)
    page = plain(client.get(reverse("run-detail", args=["acme", hosted_run.pk])))
    assert "Let it answer these rows" in page
    assert "bills every answer" in page
    assert TERMS_WARNING in page

    answer = client.post(reverse("run-teach", args=["acme", hosted_run.pk]), {"rows": "3"})

    assert answer["Location"].endswith("#teaching")
    evaluation = Evaluation.objects.get(split="train")
    assert evaluation.num_rows == 3
    part = plain(client.get(reverse("run-teaching", args=["acme", hosted_run.pk])))
    assert "hx-trigger" in part
    Job.objects.filter(pk=evaluation.job_id).update(state=JobState.FAILED, error="The endpoint answers no more.")
    assert "The endpoint answers no more." in plain(client.get(reverse("run-teaching", args=["acme", hosted_run.pk])))


def test_a_run_is_asked_to_answer_unlabelled_rows_and_shows_no_share_of_right_ones(client_for, alice, hosted_run):
    client = client_for(alice)
    address = reverse("run-detail", args=["acme", hosted_run.pk])
    assert 'value="unlabelled"' not in plain(client.get(address))
    DatasetVersion.objects.update(split_counts={"train": 4, "validation": 2, "test": 2, "unlabelled": 900})
    assert '<option value="unlabelled">900 unlabelled</option>' in plain(client.get(address))

    client.post(reverse("run-teach", args=["acme", hosted_run.pk]), {"split": "unlabelled", "rows": "30"})

    evaluation = Evaluation.objects.get(split="unlabelled")
    assert evaluation.num_rows == 30
    assert "Answering unlabelled rows" in plain(client.get(reverse("run-teaching", args=["acme", hosted_run.pk])))
    Job.objects.filter(pk=evaluation.job_id).update(state=JobState.SUCCEEDED)
    Evaluation.objects.update(summary={"n": 30, "accuracy": None}, completed_at=evaluation.created_at)
    page = plain(client.get(address))
    assert "30 unlabelled rows answered. Choose this run" in page
    assert "unlabelled split" not in page


@pytest.mark.parametrize(
    ("learned", "words"),
    [
        (
            {"learned_train": 48, "learned_unlabelled": 200},
            "48 train rows, of which the teacher answers 30 as labelled, and 200 unlabelled rows;",
        ),
        ({"learned_train": 0, "learned_unlabelled": 200}, "<dd> 200 unlabelled rows; 2 that its prompt shows"),
    ],
)
def test_a_student_of_unlabelled_rows_says_how_many_and_no_share_of_right_answers(client_for, alice, workspace, learned, words):
    run = make_finished_experiment(workspace).approaches.get(name="Soft prompt").runs.first()
    run.result["distillation"] = RECORD | learned
    run.save()

    assert words in plain(client_for(alice).get(reverse("run-detail", args=["acme", run.pk])))


@pytest.mark.parametrize("rows", ["many", "0", "-3", "1e99"])
def test_a_bad_number_of_rows_is_said_in_a_sentence(client_for, alice, hosted_run, rows):
    page = client_for(alice).post(reverse("run-teach", args=["acme", hosted_run.pk]), {"rows": rows}, follow=True)

    assert "must be a whole number from 2" in plain(page)
    assert not Evaluation.objects.exists()


def test_the_table_and_the_run_say_how_far_student_and_teacher_agree(client_for, alice, workspace):
    experiment = make_finished_experiment(workspace)
    taught = experiment.approaches.get(name="Soft prompt")
    teacher = factories.make_template_version(workspace, name="Long prompt")
    Approach.objects.filter(pk=taught.pk).update(teacher_version=teacher, teaching={"targets": "distribution"})
    for run in taught.runs.all():
        run.result["distillation"] = RECORD
        run.save()
    comparison_store(experiment=experiment, split="validation", payload=build_table(experiment, "validation"), job=None)
    client = client_for(alice)

    table = plain(client.get(reverse("comparison-detail", args=["acme", experiment.pk])))
    run_page = plain(client.get(reverse("run-detail", args=["acme", taught.runs.first().pk])))

    assert "As its teacher" in table
    assert "95.0%" in table
    assert "57 of 60" in table
    assert "57 of 60 validation rows answered alike; the teacher itself is right on 40" in run_page
    assert "48 train rows, of which the teacher answers 30 as labelled; 2 that its prompt shows were left out" in run_page
    assert "Long prompt v1, on the same model" in run_page
    assert "how likely the teacher finds each label" in run_page


def test_a_table_without_students_has_no_such_column(client_for, alice, workspace):
    experiment = make_finished_experiment(workspace)

    assert "As its teacher" not in plain(client_for(alice).get(reverse("comparison-detail", args=["acme", experiment.pk])))
