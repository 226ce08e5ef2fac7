"""Deleting is refused while something rests on the noun, takes what belongs to it, and leaves what must be remembered."""

import pytest
from django.core.files.storage import default_storage

from experiments.errors import UserError
from experiments.models import AuditEntry, Dataset, Experiment, Job, Prediction, PromptTemplate, Share, TestOpening
from experiments.services import removals
from experiments.services.explanations import explanation_start
from experiments.services.latency import latency_queue
from experiments.services.reports import report_create, share_create, share_find
from experiments.storage import store_bytes, stored_path
from tests import factories
from tests.comparison_data import make_finished_experiment

pytestmark = pytest.mark.django_db


def test_data_and_prompts_stay_while_a_comparison_rests_on_them(workspace, alice):
    experiment = make_finished_experiment(workspace)
    template = PromptTemplate.objects.get()

    with pytest.raises(UserError, match="Comparisons rest on it: “Which prompt"):
        removals.dataset_delete(dataset=experiment.dataset_version.dataset, by=alice)
    with pytest.raises(UserError, match="Comparisons rest on it"):
        removals.prompt_delete(template=template, by=alice)

    assert (Dataset.objects.count(), PromptTemplate.objects.count()) == (1, 1)


def test_a_deleted_comparison_takes_its_answers_reports_links_and_jobs(workspace, alice):
    experiment = make_finished_experiment(workspace, num_test=12)
    _, token = share_create(report=report_create(experiment=experiment, by=alice), by=alice)

    removals.experiment_delete(experiment=experiment, by=alice)

    assert [each.objects.count() for each in (Prediction, Job, Share)] == [0, 0, 0]
    assert share_find(token) is None
    assert AuditEntry.objects.get(verb="deleted").target_name == "Which prompt?"


def test_that_the_test_rows_were_seen_outlives_the_comparison(workspace, alice):
    experiment = make_finished_experiment(workspace, num_test=12)

    removals.experiment_delete(experiment=experiment, by=alice)

    assert TestOpening.objects.filter(version__dataset=experiment.dataset_version.dataset_id).count() == 1


def test_a_running_comparison_is_stopped_before_it_is_deleted(workspace, alice):
    experiment = factories.make_experiment(workspace)
    factories.make_run(factories.make_approach(experiment), state="running")

    with pytest.raises(UserError, match="still running"):
        removals.experiment_delete(experiment=experiment, by=alice)

    assert Experiment.objects.exists()


def test_a_file_goes_with_the_last_data_that_holds_it(workspace, alice, django_capture_on_commit_callbacks):
    sha256, _ = store_bytes(b"text,label\na file of its own,x\n")
    first, second = (factories.make_dataset(workspace, name=name) for name in ("First", "Second"))
    for dataset in (first, second):
        factories.make_dataset_version(workspace, dataset=dataset, source_sha256=sha256)

    with django_capture_on_commit_callbacks(execute=True):
        removals.dataset_delete(dataset=first, by=alice)
    assert default_storage.exists(stored_path(sha256))

    with django_capture_on_commit_callbacks(execute=True):
        removals.dataset_delete(dataset=second, by=alice)
    assert not default_storage.exists(stored_path(sha256))


def test_a_comparison_stays_while_another_started_from_its_tuned_prompt(workspace, alice):
    source = factories.make_approach(factories.make_experiment(workspace), method="lora", family="tuned")
    start = factories.make_artifact(factories.make_run(source, state="succeeded"))
    other = factories.make_experiment(workspace, name="Second round", dataset_version=source.experiment.dataset_version)
    factories.make_approach(other, method="lora", family="tuned", start_artifact=start)

    with pytest.raises(UserError, match="Comparisons rest on it: “Second round”"):
        removals.experiment_delete(experiment=source.experiment, by=alice)


@pytest.mark.parametrize("kind", ["latency", "explain"])
def test_what_only_waits_to_be_measured_goes_with_its_comparison(workspace, alice, kind):
    experiment = make_measured(workspace, kind, "queued")

    removals.experiment_delete(experiment=experiment, by=alice)

    assert not Job.objects.exists()


@pytest.mark.parametrize(("kind", "words"), [("latency", "still running"), ("explain", "being explained")])
def test_a_comparison_stays_while_it_is_measured(workspace, alice, kind, words):
    experiment = make_measured(workspace, kind, "running")

    with pytest.raises(UserError, match=words):
        removals.experiment_delete(experiment=experiment, by=alice)

    assert Job.objects.filter(kind=kind).exists()


def test_jobs_of_another_comparison_stay(workspace, alice):
    other = make_measured(workspace, "explain", "running")
    experiment = factories.make_experiment(workspace, name="Another", dataset_version=other.dataset_version)

    removals.experiment_delete(experiment=experiment, by=alice)

    assert Job.objects.filter(kind="explain").count() == 1


def make_measured(workspace, kind, state):
    """A comparison whose latency is measured, or whose soft prompt is explained."""
    experiment = factories.make_experiment(workspace)
    approach = factories.make_approach(experiment, method="prompt_tuning", family="tuned")
    run = factories.make_run(approach, state="succeeded", result={"learned_tokens": [{}]})
    factories.make_artifact(run)
    job = latency_queue(experiment=experiment, by=None, occasion="once") if kind == "latency" else explanation_start(run=run, by=None)
    Job.objects.filter(pk=job.pk).update(state=state)
    return experiment
