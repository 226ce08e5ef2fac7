"""Distillation over the API: a run answers train rows, an approach learns from them."""

import pytest

from experiments.models import Approach, DatasetVersion, Evaluation
from experiments.presence import queue_health
from tests import factories
from tests.experiments.api.test_experiments import plan  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    version = factories.make_dataset_version(workspace, dataset=factories.make_dataset(workspace, name="Mail"))
    approach = factories.make_approach(
        factories.make_experiment(workspace, dataset_version=version), backbone=factories.make_backbone(name="M")
    )
    return factories.make_run(approach, state="succeeded")


def test_a_run_answers_train_rows_and_tells_how_far_it_is(call, run):
    asked = call("post", f"runs/{run.pk}/answers", {"rows": 3})

    assert asked.status_code == 202
    said = {"id": str(Evaluation.objects.get().pk), "state": "queued", "error": "", "split": "train", "rows": 3, "accuracy": None}
    assert asked.json() == said | {"waiting_for": [queue_health("gpu")]}
    assert call("get", f"runs/{run.pk}/answers").json() == [asked.json()]


def test_a_run_answers_unlabelled_rows_where_the_data_has_some(call, run):
    assert "has no unlabelled rows" in call("post", f"runs/{run.pk}/answers", {"split": "unlabelled"}).json()["error"]["message"]
    DatasetVersion.objects.update(split_counts={"train": 4, "validation": 2, "test": 2, "unlabelled": 9})

    asked = call("post", f"runs/{run.pk}/answers", {"split": "unlabelled", "rows": 9}).json()

    assert (asked["split"], asked["rows"], asked["accuracy"]) == ("unlabelled", None, None)
    assert [each["split"] for each in call("get", f"runs/{run.pk}/answers").json()] == ["unlabelled"]
    assert call("post", f"runs/{run.pk}/answers", {"split": "test"}).status_code == 422


def test_an_approach_learns_on_unlabelled_rows_or_is_refused_before_launch(call, plan):  # noqa: F811
    wish = {"recipes": ["distilled"], "teachers": {"distilled": {"prompt_version": plan["prompts"][0]}}}
    wish |= {"options": {"distilled": {"learns_on": "unlabelled"}}}

    refused = call("post", "experiments", plan | wish)
    DatasetVersion.objects.update(split_counts={"train": 4, "validation": 2, "test": 2, "unlabelled": 9})
    made = call("post", "experiments", plan | wish)

    assert "is to learn on unlabelled rows, but" in refused.json()["error"]["message"]
    assert made.json()["approaches"][0]["teaching"]["learns_on"] == "unlabelled"


def test_an_approach_learns_from_a_prompt_or_from_answers(call, plan, run):  # noqa: F811
    answers = factories.make_evaluation(run, split="train", attempt=factories.make_attempt(run.job))
    same_data = {"dataset_version": str(answers.dataset_version_id), "recipes": ["distilled"]}

    by_prompt = call(
        "post", "experiments", plan | {"recipes": ["distilled"], "teachers": {"distilled": {"prompt_version": plan["prompts"][0]}}}
    )
    by_answers = call("post", "experiments", plan | same_data | {"teachers": {"distilled": {"answers": str(answers.pk)}}})

    assert (by_prompt.status_code, by_answers.status_code) == (201, 201)
    first, second = (each.json()["approaches"][0] for each in (by_prompt, by_answers))
    assert first["teacher_prompt"] == plan["prompts"][0]
    assert second["teacher_answers"] == str(answers.pk)
    assert second["teaching"] == {"targets": "distribution", "temperature": 1.0, "rows": 0, "learns_on": "train"}


def test_any_tuned_approach_can_have_a_teacher(call, plan):  # noqa: F811
    prompt = plan.pop("prompts")[0]
    approaches = [{"recipe": "lora", "prompt_version": prompt, "teacher": {"prompt_version": prompt}}]

    assert call("post", "experiments", plan | {"approaches": approaches}).status_code == 201
    assert Approach.objects.get().teaching["targets"] == "distribution"


@pytest.mark.parametrize("teacher", [{}, {"prompt_version": "PROMPT", "answers": "PROMPT"}])
def test_a_teacher_is_one_of_the_two(call, plan, teacher):  # noqa: F811
    named = dict.fromkeys(teacher, plan["prompts"][0])

    answer = call("post", "experiments", plan | {"recipes": ["distilled"], "teachers": {"distilled": named}})

    assert answer.status_code in (400, 409, 422)
    assert "either a `prompt_version` or the `answers` of a run" in answer.json()["error"]["message"]


def test_a_distilled_prompt_without_a_teacher_is_refused(call, plan):  # noqa: F811
    answer = call("post", "experiments", plan | {"recipes": ["distilled"]})

    assert "Distilled soft prompt needs a teacher" in answer.json()["error"]["message"]


def test_answers_of_another_workspace_are_not_there(call, plan, alice):  # noqa: F811
    other = factories.make_run(factories.make_approach(factories.make_experiment(factories.make_workspace("other"))), state="succeeded")
    answers = factories.make_evaluation(other, split="train")

    teachers = {"distilled": {"answers": str(answers.pk)}}
    assert call("post", "experiments", plan | {"recipes": ["distilled"], "teachers": teachers}).status_code == 404
