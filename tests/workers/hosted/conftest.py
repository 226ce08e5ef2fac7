"""A hosted model whose endpoint is scripted, and a run of it that waits."""

import pytest

from experiments.endpoints import networks_of
from experiments.models import Backbone, Evaluation, Job, Run
from experiments.services.endpoints import EndpointWish, endpoint_register
from tests.factories import make_approach, make_experiment, make_job, make_run, make_template_version
from tests.workers.endpoint.server import serving
from tests.workers.hosted.answering import FACTS, KEY, by_message


@pytest.fixture
def server(settings, tmp_path):
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    settings.ENDPOINT_PRIVATE_NETWORKS = networks_of(["127.0.0.0/8"])
    settings.ENDPOINT_PATIENCE_SECONDS = 0.3
    with serving() as running:
        running.script = by_message
        yield running


@pytest.fixture
def hosted(workspace, server) -> Backbone:
    wish = EndpointWish(url=server.url, model="tiny", key=KEY, limits={"concurrency": 2, "timeout_seconds": 1})
    backbone = endpoint_register(workspace=workspace, name="Hosted", wish=wish, by=None)
    Backbone.objects.filter(pk=backbone.pk).update(facts=FACTS)
    backbone.refresh_from_db()
    return backbone


@pytest.fixture
def run(workspace, hosted) -> Run:
    experiment = make_experiment(workspace)
    approach = make_approach(experiment, backbone=hosted, family="hosted", template_version=make_template_version(workspace))
    run = make_run(approach, job=make_job(workspace, queue="hosted"))
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    Evaluation.objects.create(run=run, dataset_version=experiment.dataset_version, split="validation", job=run.job)
    return run
