"""A run is asked to answer train rows: once for the same rows, again where it failed, never about nothing."""

import pytest

from experiments.errors import UserError
from experiments.models import Evaluation, Job, JobState
from experiments.services import removals
from experiments.services.teachers import train_answers_start
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(workspace):
    return factories.make_run(factories.make_approach(factories.make_experiment(workspace)), state="succeeded")


def test_the_same_rows_are_asked_about_once(run, alice):
    first, again = (train_answers_start(run=run, by=alice) for _ in range(2))

    assert first == again
    assert (first.split, first.num_rows, first.job.kind, first.job.queue) == ("train", None, "evaluate", "gpu")
    assert Job.objects.filter(kind="evaluate").count() == 1


def test_other_rows_are_answers_of_their_own(run, alice):
    version = run.approach.experiment.dataset_version
    version.split_counts = version.split_counts | {"train": 100}
    version.save()

    some, all_of_them = train_answers_start(run=run, by=alice, num_rows=10), train_answers_start(run=run, by=alice, num_rows=100)

    assert (some.num_rows, all_of_them.num_rows) == (10, None)
    assert {some.repetition, all_of_them.repetition} == {0, 1}


def test_answers_that_failed_are_tried_again(run, alice):
    evaluation = train_answers_start(run=run, by=alice)
    Job.objects.filter(pk=evaluation.job_id).update(state=JobState.FAILED)

    train_answers_start(run=run, by=alice)

    assert Job.objects.get(pk=evaluation.job_id).state == JobState.QUEUED


def test_calls_of_an_endpoint_go_where_patience_is_kept(workspace, alice):
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace), family="hosted"), state="succeeded")

    assert train_answers_start(run=run, by=alice).job.queue == "io"


@pytest.mark.parametrize(
    ("family", "state", "words"),
    [("baseline", "succeeded", "no prompt and no model to teach with"), ("engineered", "failed", "has not succeeded")],
)
def test_a_run_with_nothing_to_teach_is_refused(workspace, alice, family, state, words):
    run = factories.make_run(factories.make_approach(factories.make_experiment(workspace), family=family), state=state)

    with pytest.raises(UserError, match=words):
        train_answers_start(run=run, by=alice)

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
