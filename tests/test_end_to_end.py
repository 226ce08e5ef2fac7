"""The main path in one process: a file becomes a dataset, approaches run on a real (tiny) model, the test set opens, a report is shared."""

import io
import json

import pytest
from django.test import Client
from django.urls import reverse

from experiments.intake.mapping import ColumnMapping
from experiments.intake.splits import Shares
from experiments.models import Evaluation, Experiment, Job, JobState, Prediction, Score
from experiments.planning.plans import ApproachPlan, ExperimentPlan
from experiments.reads.explanations import explanation_of
from experiments.services.datasets import dataset_create, dataset_upload, dataset_version_map
from experiments.services.launches import experiment_start
from experiments.services.reports import report_create, share_create
from tests import factories
from tests.workers.tiny_model import write_tiny_model
from workers.perform import slot
from workers.tasks import execute_job

pytestmark = pytest.mark.xdist_group("engine host")
SHORT = {"max_steps": 4, "evaluate_every": 2, "batch_size": 4, "warmup_steps": 1, "num_virtual_tokens": 4}
MESSAGES = {
    "refund": ["I want my money back for order {}", "please refund invoice {}", "return the amount of payment {}"],
    "delivery": ["where is parcel {}", "the courier did not bring box {}", "package {} is late again"],
}


@pytest.fixture
def tiny_backbone(tmp_path, settings, workspace):
    settings.MODEL_FOLDERS = [str(tmp_path)]
    return factories.make_backbone(workspace, name="Tiny", kind="local", source=str(write_tiny_model(tmp_path / "tiny")))


@pytest.fixture(scope="session", autouse=True)
def warm_host():
    """Both whole paths (this one and that of free answers) share a warm engine host, as jobs of a worker do."""
    yield
    slot().close()
    slot.cache_clear()


def csv_file() -> io.BytesIO:
    lines = ["message,queue"]
    lines += [f"{text.format(number)},{label}" for number in range(20) for label, texts in MESSAGES.items() for text in texts]
    return io.BytesIO("\n".join(lines).encode())


def work_off_all_jobs() -> None:
    """What workers do with hints, here one job after the other."""
    while job := Job.objects.filter(state=JobState.QUEUED).first():
        execute_job(str(job.pk))
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED, f"{job.kind}: {job.error} {job.error_detail}"


def check_explanation(experiment, client) -> None:
    """A person asks what a soft prompt has learned; a worker measures it, and the page shows each token."""
    run = experiment.approaches.get(method="prompt_tuning").runs.first()
    assert run.result["forgetting"]["before"] != run.result["forgetting"]["after"]

    for _ in range(2):  # asked twice, done once
        client.post(reverse("run-explain", args=[experiment.workspace.slug, run.pk]))
    assert Job.objects.filter(kind="explain").count() == 1
    work_off_all_jobs()

    found = explanation_of(run)
    assert found.rows == experiment.dataset_version.split_counts["validation"]
    assert [token.place for token in found.tokens] == [1, 2, 3, 4]
    assert all(token.change.value == pytest.approx((token.won - token.lost) / found.rows) for token in found.tokens)
    page = client.get(reverse("run-detail", args=[experiment.workspace.slug, run.pk])).content.decode()
    assert page.count('class="near-word"') == 4 * 5
    assert "Without it" in page


def make_data(workspace, by, file=None, mapping=None):
    dataset = dataset_create(workspace=workspace, by=by, name="Mail")
    version = dataset_upload(dataset=dataset, by=by, file=file or csv_file(), name="mail.csv")
    work_off_all_jobs()
    version.refresh_from_db()
    dataset_version_map(version=version, by=by, mapping=mapping or ColumnMapping(("message",), "queue", shares=Shares(0.5, 0.2, 0.3)))
    work_off_all_jobs()
    version.refresh_from_db()
    return version


@pytest.mark.django_db(transaction=True)
def test_from_a_file_to_a_shared_report(workspace, alice, tiny_backbone, client_for):
    version = make_data(workspace, alice)
    template = factories.make_template_version(workspace, user="Which queue?\n{{message}}")
    recipes = [("zero_shot", {}), ("soft_prompt", SHORT), ("majority", {}), ("tfidf_logreg", {})]
    plan = ExperimentPlan(
        name="Which way?",
        dataset_version=version,
        approaches=tuple(ApproachPlan(recipe, tiny_backbone, template, options) for recipe, options in recipes),
        seeds=(0, 1),
        open_test_when_finished=True,
    )

    experiment = experiment_start(workspace=workspace, by=alice, plan=plan, key="once")
    assert experiment_start(workspace=workspace, by=alice, plan=plan, key="once") == experiment
    work_off_all_jobs()

    experiment = Experiment.objects.get(pk=experiment.pk)
    assert experiment.finished_at
    evaluations = Evaluation.objects.filter(run__approach__experiment=experiment)
    assert evaluations.count() == 2 * 5  # validation and test, of three single runs and two seeds
    for evaluation in evaluations:
        rows = version.split_counts[evaluation.split]
        assert Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt).count() == rows
        accuracy = Score.objects.get(evaluation=evaluation, metric="accuracy")
        correct = Prediction.objects.filter(evaluation=evaluation, attempt=evaluation.attempt, correct=True).count()
        assert accuracy.n == rows
        assert accuracy.value == pytest.approx(correct / rows)
    table = experiment.tables.get(split="test").payload
    json.dumps(table, allow_nan=False)

    page = client_for(alice).get(reverse("comparison-detail", args=[workspace.slug, experiment.pk]))
    assert page.status_code == 200
    assert "Forgetting" in page.content.decode()

    check_explanation(experiment, client_for(alice))

    report = report_create(experiment=experiment, by=alice)
    _, token = share_create(report=report, by=alice)
    shared = Client().get(reverse("share-open", args=[token]))
    assert shared.status_code == 200
    assert "TF-IDF" in shared.content.decode()
