"""What a comparison's page says and offers when runs are stopped, and when they go on."""

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from experiments.models import Evaluation, Experiment, Job, JobState
from experiments.reads.reports import build_table
from experiments.services.experiments import comparison_store
from tests import factories
from tests.comparison_data import make_finished_experiment

pytestmark = pytest.mark.django_db


@pytest.fixture
def finished(workspace):
    return make_finished_experiment(workspace, num_test=30)


@pytest.fixture
def stopped(workspace):
    """A comparison with a table that LoRA is not in, for somebody stopped its runs."""
    experiment = make_finished_experiment(workspace)
    Evaluation.objects.filter(run__approach__experiment=experiment, run__approach__name="LoRA").update(attempt=None)
    Job.objects.filter(run__approach__experiment=experiment, run__approach__name="LoRA").update(state=JobState.CANCELLED)
    comparison_store(experiment=experiment, split="validation", payload=build_table(experiment, "validation"), job=None)
    return experiment


def address(name, experiment):
    return reverse(name, args=["acme", experiment.pk])


def test_a_stopped_run_that_goes_on_is_not_called_stopped_and_no_report_is_urged(client_for, alice, stopped):
    client = client_for(alice)
    before = client.get(address("comparison-detail", stopped)).content.decode()

    client.post(reverse("run-retry", args=["acme", stopped.approaches.get(name="LoRA").runs.first().pk]))
    page = client.get(address("comparison-detail", stopped)).content.decode()

    assert "stopped before it ended" in before
    assert f'<a class="button" href="{address("report-create", stopped)}' in before
    assert "stopped before it ended" not in page
    assert "it goes on; the table is computed anew when it has ended" in page
    assert f'<a class="button secondary" href="{address("report-create", stopped)}' in page


def test_what_was_stopped_is_called_so_everywhere(client_for, alice, stopped):
    client = client_for(alice)
    run = stopped.approaches.get(name="LoRA").runs.first()
    pages = [client.get(address("comparison-state", stopped)), client.get(reverse("run-detail", args=["acme", run.pk]))]

    for page in (answer.content.decode() for answer in pages):
        assert re.search(r'<span class="badge">\s*<svg.*?</svg>\s*Stopped</span>', page, re.DOTALL)
        assert "ancelled" not in page


def test_all_stopped_runs_are_counted_and_go_on_by_one_click_outside_the_closed_list(client_for, alice, bob, stopped):
    client = client_for(alice)
    part = client.get(address("comparison-state", stopped)).content.decode()
    for_viewer = client_for(bob).get(address("comparison-state", stopped)).content.decode()

    answer = client.post(address("comparison-go-on", stopped))

    assert "2 runs stopped before the end." in part
    assert part.index("Go on with all of them") < part.index('id="run-list"')
    assert "2 runs stopped" in for_viewer
    assert "Go on" not in for_viewer
    assert answer.url == address("comparison-detail", stopped)
    assert {run.job.state for run in stopped.approaches.get(name="LoRA").runs.all()} == {JobState.QUEUED}
    assert 'id="stopped"' not in client.get(address("comparison-state", stopped)).content.decode()


def test_a_stopped_scoring_of_test_rows_goes_on_too(client_for, alice, finished):
    scoring = Evaluation.objects.filter(run__approach__experiment=finished, split="test").first()
    scoring.job = factories.make_job(finished.workspace, kind="evaluate", state="cancelled")
    scoring.save()
    client = client_for(alice)

    part = client.get(address("comparison-state", finished)).content.decode()
    client.post(address("comparison-go-on", finished))

    assert "1 run stopped before the end." in part
    assert Job.objects.get(pk=scoring.job_id).state == JobState.QUEUED


def test_going_on_where_nothing_was_stopped_says_so(client_for, alice, finished):
    page = client_for(alice).post(address("comparison-go-on", finished), follow=True).content.decode()

    assert "there is nothing to go on with" in page


def test_what_is_stopping_already_offers_no_stop(client_for, alice, finished):
    run = finished.approaches.get(method="lora").runs.first()
    jobs, client = Job.objects.filter(pk=run.job_id), client_for(alice)
    Experiment.objects.filter(pk=finished.pk).update(finished_at=None)
    Evaluation.objects.filter(run=run, split="test").delete()
    jobs.update(state=JobState.RUNNING)
    places = [address("comparison-detail", finished), reverse("run-detail", args=["acme", run.pk])]
    going_on = [client.get(place).content.decode() for place in places]

    jobs.update(cancel_requested_at=timezone.now())
    comparison, page = (client.get(place).content.decode() for place in places)

    assert f'id="stop-{run.pk}"' in going_on[0]
    assert "Stop the runs" in going_on[0]
    assert "Stop this run" in going_on[1]
    assert "Stopping" in comparison
    assert f'id="stop-{run.pk}"' not in comparison
    assert "Stop the runs" not in comparison
    assert "Stop this run" not in page
