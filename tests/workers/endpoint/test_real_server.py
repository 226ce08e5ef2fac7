"""Jobs of a hosted model against a server that is not ours: `transformers serve` with the bundled starter on loopback.

The starter has no chat template and the server fails on some stop texts, so the verification has to find its way.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from experiments.endpoints import networks_of
from experiments.models import Backbone, CallState, EndpointCall, Evaluation, Job, JobState, Workspace
from experiments.services.endpoints import EndpointWish, endpoint_register
from tests.factories import make_approach, make_experiment, make_job, make_run, make_template_version
from workers.tasks import execute_job

pytestmark = [pytest.mark.slow, pytest.mark.django_db, pytest.mark.xdist_group("endpoint")]
ROOT = Path(__file__).parents[3]
STARTER = str(ROOT / "workers" / "starter" / "model")
START_SECONDS = 120.0
FACTS = {"protocol": "completions", "token_field": "max_tokens", "has_temperature": True, "has_stop": False, "top_logprobs": 0}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", STARTER, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _await(address: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - loopback
            if answer.status == 200:
                return
        time.sleep(0.5)
    raise AssertionError("transformers serve did not start.")


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings, tmp_path):
    settings.ATTEMPTS_DIR = tmp_path / "attempts"
    settings.ENDPOINT_PRIVATE_NETWORKS = networks_of(["127.0.0.0/8"])
    settings.ENDPOINT_PATIENCE_SECONDS = 5.0


def register(workspace: Workspace, url: str, model: str = STARTER) -> Backbone:
    wish = EndpointWish(url=url, model=model, limits={"concurrency": 2, "answer_tokens": 8})
    return endpoint_register(workspace=workspace, name="Served", wish=wish, by=None)


def do(job: Job | None) -> Job:
    assert job is not None
    execute_job(str(job.pk))
    job.refresh_from_db()
    return job


def test_verification_finds_a_way_that_the_server_answers(workspace, url):
    backbone = register(workspace, url)

    job = do(backbone.job)

    backbone.refresh_from_db()
    assert (job.state, job.error, backbone.problem) == (JobState.SUCCEEDED, "", "")
    assert {name: backbone.facts[name] for name in FACTS} == FACTS
    assert backbone.facts["tells_usage"]


def test_run_is_answered_row_by_row_and_billed(workspace, url):
    backbone = register(workspace, url)
    Backbone.objects.filter(pk=backbone.pk).update(facts=FACTS)
    experiment = make_experiment(workspace)
    approach = make_approach(experiment, backbone=backbone, family="hosted", template_version=make_template_version(workspace))
    run = make_run(approach, job=make_job(workspace, queue="hosted"))
    Job.objects.filter(pk=run.job_id).update(payload={"run": str(run.pk)})
    evaluation = Evaluation.objects.create(run=run, dataset_version=experiment.dataset_version, split="validation", job=run.job)

    job = do(run.job)

    evaluation.refresh_from_db()
    assert (job.state, job.error) == (JobState.SUCCEEDED, "")
    rows = list(evaluation.predictions.all())
    assert len(rows) == evaluation.dataset_version.split_counts["validation"]
    assert all(row.text and not row.error and row.prompt_tokens and 0 < (row.completion_tokens or 0) <= 8 for row in rows)
    assert set(EndpointCall.objects.filter(job=job).values_list("state", flat=True)) == {CallState.ANSWERED}
    assert evaluation.summary["endpoint"]["billed"]["input"] == sum(row.prompt_tokens or 0 for row in rows) / len(rows)


def test_wrong_model_name_is_said_in_a_sentence(workspace, url):
    backbone = register(workspace, url, "nobody/nothing")

    job = do(backbone.job)

    backbone.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "127.0.0.1" in backbone.problem
    assert "nobody/nothing" in backbone.problem
