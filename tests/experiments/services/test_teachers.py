"""A run is asked to answer train rows: once for the same rows, again where it failed, never about nothing."""

import pytest

from experiments.errors import UserError
from experiments.models import AuditEntry, Evaluation, Job, JobState, Split
from experiments.services import removals
from experiments.services.teachers import answers_start
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    return factories.make_run(factories.make_approach(factories.make_experiment(workspace)), state="succeeded")


def test_the_same_rows_are_asked_about_once(run, alice):
    first, again = (answers_start(run=run, by=alice) for _ in range(2))

    assert first == again
    assert (first.split, first.num_rows, first.job.kind, first.job.queue) == ("train", None, "evaluate", "gpu")
    assert Job.objects.filter(kind="evaluate").count() == 1


def test_other_rows_are_answers_of_their_own(run, alice):
    version = run.approach.experiment.dataset_version
    version.split_counts = version.split_counts | {"train": 100}
    version.save()

    some, all_of_them = answers_start(run=run, by=alice, num_rows=10), answers_start(run=run, by=alice, num_rows=100)

    assert (some.num_rows, all_of_them.num_rows) == (10, None)
    assert {some.repetition, all_of_them.repetition} == {0, 1}


def test_unlabelled_rows_are_answers_of_their_own(workspace, alice):
    version = factories.make_dataset_version(workspace, [*factories.ROWS, *(("unlabelled", f"text {at}", "") for at in range(5))])
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace, dataset_version=version)), state="succeeded")

    train, bare, few = (
        answers_start(run=run, by=alice, split=split, num_rows=rows)
        for split, rows in ((Split.TRAIN, None), (Split.UNLABELLED, 5), (Split.UNLABELLED, 3))
    )

    assert [(each.split, each.num_rows, each.repetition) for each in (train, bare, few)] == [
        ("train", None, 0), ("unlabelled", None, 0), ("unlabelled", 3, 1)
    ]  # fmt: skip
    assert AuditEntry.objects.filter(verb="let answer unlabelled rows").count() == 2


@pytest.mark.parametrize(
    ("split", "words"),
    [(Split.UNLABELLED, "has no unlabelled rows to answer. Keep rows without a label"), (Split.TEST, "The test rows teach nobody")],
)
def test_rows_that_are_not_there_or_judge_are_refused(run, alice, split, words):
    with pytest.raises(UserError, match=words):
        answers_start(run=run, by=alice, split=split)

    assert not Evaluation.objects.exists()


def test_answers_that_failed_are_tried_again(run, alice):
    evaluation = answers_start(run=run, by=alice)
    Job.objects.filter(pk=evaluation.job_id).update(state=JobState.FAILED)

    answers_start(run=run, by=alice)

    assert Job.objects.get(pk=evaluation.job_id).state == JobState.QUEUED


def test_calls_of_an_endpoint_go_where_patience_is_kept(workspace, alice):
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace), family="hosted"), state="succeeded")

    assert answers_start(run=run, by=alice).job.queue == "hosted"


@pytest.mark.parametrize(
    ("family", "state", "words"),
    [("baseline", "succeeded", "no prompt and no model to teach with"), ("engineered", "failed", "has not succeeded")],
)
def test_a_run_with_nothing_to_teach_is_refused(workspace, alice, family, state, words):
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace), family=family), state=state)

    with pytest.raises(UserError, match=words):
        answers_start(run=run, by=alice)

    assert not Evaluation.objects.exists()


def test_a_comparison_stays_while_another_learned_from_its_answers(workspace, run, alice):
    evaluation = factories.make_evaluation(run, split="train")
    other = factories.make_experiment(workspace, name="Second round", dataset_version=run.approach.experiment.dataset_version)
    factories.make_approach(other, method="prompt_tuning", family="hybrid", teacher_evaluation=evaluation)

    with pytest.raises(UserError, match="Comparisons rest on it: “Second round”"):
        removals.experiment_delete(experiment=run.approach.experiment, by=alice)


def test_a_prompt_stays_while_it_teaches(workspace, alice):
    taught = factories.make_experiment(workspace, name="Taught")
    prompt = factories.make_template_version(workspace, name="Teacher")
    factories.make_approach(taught, method="prompt_tuning", family="hybrid", teacher_version=prompt)

    with pytest.raises(UserError, match="“Taught”"):
        removals.prompt_delete(template=prompt.template, by=alice)
