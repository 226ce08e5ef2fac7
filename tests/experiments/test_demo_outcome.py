"""The line that ends the demonstration: one for every way in which it can end, and none that ends the product with it."""

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from experiments.demo import outcome
from experiments.models import ComparisonTable, Evaluation, Experiment, Job, JobState, Run, Share
from experiments.services.removals import experiment_delete
from tests import factories
from tests.comparison_data import make_finished_experiment

BASE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_validation=12, num_test=12, seeds=(0,)))


@pytest.fixture
def demonstration(made, db):
    return Experiment.objects.get(pk=made.pk)


def told(experiment, by):
    return outcome.demonstration_outcome(experiment, by, BASE)


def test_a_finished_demonstration_ends_with_a_link_that_opens_without_an_account(demonstration, alice):
    line = told(demonstration, alice)

    assert line.startswith(f"Demonstration finished in 300 s: {BASE}/")
    assert Client().get(line.partition(BASE)[2]).status_code == 200


def test_with_links_switched_off_it_ends_with_the_report_of_members(demonstration, alice, client_for, settings):
    settings.SHARE_LINKS = False

    line = told(demonstration, alice)

    assert line.startswith("Demonstration finished in 300 s: ")
    assert client_for(alice).get(line.partition(BASE)[2]).status_code == 200
    assert not Share.objects.exists()


def test_a_failed_run_is_told_once_nothing_goes_on(demonstration, alice):
    Job.objects.filter(run=Run.objects.first()).update(state=JobState.FAILED, error="The model did not load.")
    goes_on = Job.objects.filter(run=Run.objects.last())

    goes_on.update(state=JobState.RUNNING)
    assert told(demonstration, alice) is None

    goes_on.update(state=JobState.SUCCEEDED)
    assert told(demonstration, alice) == "Demonstration failed: The model did not load."


def test_a_failed_test_evaluation_is_no_success(demonstration, alice):
    scored = Evaluation.objects.filter(split="test").first()
    Job.objects.filter(pk=scored.job_id).update(state=JobState.FAILED, error="No memory was left.")

    assert told(demonstration, alice) == "Demonstration failed: No memory was left."


def test_what_somebody_asked_of_a_run_afterwards_is_not_the_demonstration(demonstration, alice):
    failed = factories.make_job(demonstration.workspace, kind="evaluate", state="failed")
    factories.make_evaluation(Run.objects.earliest("pk"), split="train", job=failed)

    assert told(demonstration, alice).startswith("Demonstration finished")


def test_a_stopped_demonstration_says_so(demonstration, alice):
    ComparisonTable.objects.filter(split="test").delete()

    assert told(demonstration, alice) == "Demonstration failed: it was stopped."


def test_a_deleted_demonstration_says_so(demonstration, alice):
    experiment_delete(experiment=Experiment.objects.get(pk=demonstration.pk), by=alice)

    assert told(demonstration, alice) == "Demonstration failed: it was deleted."


def test_a_database_that_does_not_answer_is_asked_again(demonstration, alice, monkeypatch):
    def away(experiment):
        raise OperationalError("the server closed the connection")

    left: list[bool] = []
    with monkeypatch.context() as patched:
        patched.setattr(outcome, "compare_problem", away)
        # This test's own connection holds its rows, and PostgreSQL would forget them with it.
        patched.setattr(outcome, "close_old_connections", lambda: left.append(True))
        assert told(demonstration, alice) is None

    assert left == [True]
    assert told(demonstration, alice).startswith("Demonstration finished")


def test_while_it_goes_on_nothing_is_told(workspace, alice):
    experiment = factories.make_experiment(workspace, launched_at=timezone.now())
    factories.make_run(factories.make_approach(experiment), state="queued")

    assert told(experiment, alice) is None
