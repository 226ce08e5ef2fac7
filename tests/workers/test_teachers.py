"""From a teacher's answers to a student's spec: a hosted model that teaches, a prompt that teaches, and what never reaches a student."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.catalogue.recipes import recipe_options, split_teaching
from experiments.endpoints import networks_of
from experiments.models import Backbone, EndpointCall, Evaluation, Job, JobState, Run, Split
from experiments.services.endpoints import EndpointWish, endpoint_register
from experiments.services.teachers import answers_start
from tests import factories
from tests.workers.endpoint.server import Answer, completion, serving
from tests.workers.engine.fakes import make_backbone as make_model
from workers.adapters import order_of
from workers.engine.contract.spec import RunSpec
from workers.engine.contract.teaching_rules import JOURNAL
from workers.engine.execute import execute
from workers.engine.run import Run as EngineRun
from workers.tasks import execute_job
from workers.teachers import answers_file

pytestmark = pytest.mark.django_db
FACTS = {"protocol": "chat", "token_field": "max_tokens", "has_temperature": True, "top_logprobs": 5}
ROWS = [(split, f"{split} message {at} about {word}", label)
        for split, number in (("train", 12), ("validation", 4), ("test", 4))
        for at in range(number)
        for word, label in [(("my money", "refund"), ("the parcel", "delivery"))[at % 2]]]  # fmt: skip
BARE = [("unlabelled", f"unsorted message {at} about {('my money', 'the parcel')[at % 2]}", "") for at in range(8)]


@pytest.fixture
def server(settings, tmp_path):
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    settings.ENDPOINT_PRIVATE_NETWORKS = networks_of(["127.0.0.0/8"])
    with serving() as running:
        running.script = contrary
        yield running


def contrary(asked) -> Answer:
    """Sure answers that are all wrong, so that learning them cannot be taken for learning the labels."""
    says = "delivery" if "money" in asked["messages"][-1]["content"] else "refund"
    other = "refund" if says == "delivery" else "delivery"
    return Answer(completion(says, top=[[(says, -0.1), (other, -3.0)]]))


@pytest.fixture
def teacher(workspace, server) -> Run:
    """A hosted run that has answered its validation rows; its prompt shows the first train row."""
    wish = EndpointWish(url=server.url, model="large", key="sk-secret-of-a-test", limits={"concurrency": 2, "timeout_seconds": 1})
    hosted = endpoint_register(workspace=workspace, name="Hosted", wish=wish, by=None)
    Backbone.objects.filter(pk=hosted.pk).update(facts=FACTS)
    version = factories.make_dataset_version(workspace, [*ROWS, *BARE])
    shown = version.examples.filter(split="train").first()
    prompt = factories.make_template_version(
        workspace, demonstrations=[{"example": shown.pk, "fields": shown.fields, "label": shown.label}]
    )
    experiment = factories.make_experiment(workspace, dataset_version=version)
    approach = factories.make_approach(experiment, backbone=hosted, family="hosted", template_version=prompt)
    run = factories.make_run(approach, job=factories.make_job(workspace, queue="hosted"))
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    factories.make_evaluation(run)
    return done(run)


def done(run: Run) -> Run:
    execute_job(str(run.job_id))
    run.refresh_from_db()
    assert run.job.state == JobState.SUCCEEDED, run.job.error
    return run


def answer(run: Run, **options) -> Evaluation:
    evaluation = answers_start(run=run, by=None, **options)
    execute_job(str(evaluation.job_id))
    evaluation.refresh_from_db()
    assert evaluation.job.state == JobState.SUCCEEDED, evaluation.job.error
    return evaluation


def make_student(workspace, experiment, seed=0, learns_on="train", **teacher) -> Run:
    asked = {"max_steps": 4, "evaluate_every": 2, "num_virtual_tokens": 4, "learns_on": learns_on}
    options, teaching = split_teaching(recipe_options("distilled", asked))
    values = {"method": "prompt_tuning", "family": "hybrid", "recipe": options, "teaching": teaching}
    approach = experiment.approaches.filter(family="hybrid").first()
    if approach is None:
        prompt = factories.make_template_version(workspace, name="Student")
        approach = factories.make_approach(experiment, backbone=factories.make_backbone(), template_version=prompt, **values, **teacher)
    run = factories.make_run(approach, seed=seed)
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    factories.make_evaluation(run)
    run.job.refresh_from_db()
    return run


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_hosted_model_answers_train_rows_and_a_student_learns_them(workspace, teacher, server):
    evaluation = answer(teacher)
    assert evaluation.predictions.count() == 12
    assert evaluation.summary["accuracy"] == 0.0
    student = make_student(workspace, teacher.approach.experiment, teacher_evaluation=evaluation)

    order = order_of(student.job, fence=1)
    spec = RunSpec.from_file(order.folder / "spec.json")
    result = execute(EngineRun(spec, order.folder / "out", provide=lambda ref: make_model()))

    assert result.distillation["targets"] == "distribution"
    assert result.distillation["learned_rows"] == 11
    assert result.distillation["teacher_right"] == 0
    assert result.distillation["checked_rows"] == 4
    assert EndpointCall.objects.count() == 4 + 12


def test_a_hosted_model_answers_unlabelled_rows_without_any_score(teacher):
    before = EndpointCall.objects.count()

    evaluation = answer(teacher, split=Split.UNLABELLED, num_rows=6)

    assert set(evaluation.predictions.values_list("example__split", "correct")) == {("unlabelled", False)}
    assert EndpointCall.objects.count() == before + 6
    assert not evaluation.scores.exists()
    assert (evaluation.summary["n"], evaluation.summary["accuracy"]) == (6, None)
    assert evaluation.summary["endpoint"]["billed"]["input"] is not None


@pytest.mark.parametrize(("learns_on", "train", "unlabelled"), [("unlabelled", 0, 8), ("both", 11, 8)])
def test_a_student_learns_what_a_hosted_model_says_about_unlabelled_rows(workspace, teacher, learns_on, train, unlabelled):
    answer(teacher)
    evaluation = answer(teacher, split=Split.UNLABELLED)
    student = make_student(workspace, teacher.approach.experiment, learns_on=learns_on, teacher_evaluation=evaluation)

    order = order_of(student.job, fence=1)
    result = execute(EngineRun(RunSpec.from_file(order.folder / "spec.json"), order.folder / "out", provide=lambda ref: make_model()))

    assert (result.distillation["learned_train"], result.distillation["learned_unlabelled"]) == (train, unlabelled)
    assert result.distillation["checked_rows"] == 4


def test_the_row_that_the_teachers_prompt_shows_and_all_test_rows_stay_out(workspace, teacher, tmp_path):
    evaluation = answer(teacher)
    version = teacher.approach.experiment.dataset_version
    shown, *train = version.examples.filter(split="train").values_list("pk", flat=True)

    ref = answers_file([evaluation], tmp_path / "answers.jsonl")

    told = {int(line["id"]) for line in lines_of(Path(ref.path))}
    assert shown not in told
    assert told == {*train, *version.examples.filter(split="validation").values_list("pk", flat=True)}


def test_a_shown_row_stays_out_when_another_version_of_the_data_gave_it_its_id(teacher, tmp_path):
    evaluation, prompt = answer(teacher), teacher.approach.template_version
    shown = prompt.demonstrations[0]
    type(prompt).objects.filter(pk=prompt.pk).update(demonstrations=[{**shown, "example": 10**9}])

    ref = answers_file([type(evaluation).objects.get(pk=evaluation.pk)], tmp_path / "answers.jsonl")

    assert str(shown["example"]) not in {line["id"] for line in lines_of(Path(ref.path))}


def test_only_as_many_rows_are_asked_about_and_paid_for_as_were_wanted(teacher):
    before = EndpointCall.objects.count()

    evaluation = answer(teacher, num_rows=5)

    assert evaluation.predictions.count() == 5
    assert EndpointCall.objects.count() == before + 5


@pytest.mark.parametrize(("learns_on", "taught"), [("train", 12), ("unlabelled", 8), ("both", 20)])
def test_a_second_seed_hears_what_the_first_was_told(workspace, settings, tmp_path, learns_on, taught):
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    experiment = factories.make_experiment(workspace, dataset_version=factories.make_dataset_version(workspace, [*ROWS, *BARE]))
    few_shot = factories.make_template_version(workspace, name="Teacher")
    first, second = [make_student(workspace, experiment, seed, learns_on, teacher_version=few_shot) for seed in (0, 1)]
    order = order_of(first.job, fence=1)
    spec = RunSpec.from_file(order.folder / "spec.json")
    assert spec.teacher is not None
    execute(EngineRun(spec, order.folder / "out", provide=lambda ref: make_model()))

    later = order_of(second.job, fence=1).folder / "checkpoint" / JOURNAL

    assert lines_of(later) == lines_of(order.folder / "checkpoint" / JOURNAL)
    assert len(lines_of(later)) == 1 + taught + 4
